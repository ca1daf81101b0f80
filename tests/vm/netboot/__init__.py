# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine without a disk boots from the target in another one, by iPXE: `python -m tests.vm.netboot`."""
