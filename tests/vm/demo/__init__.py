# SPDX-License-Identifier: GPL-2.0-or-later
"""The main job end to end in a virtual machine, with a verdict: `python -m tests.vm.demo`."""
