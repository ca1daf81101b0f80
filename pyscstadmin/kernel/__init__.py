# SPDX-License-Identifier: GPL-2.0-or-later
"""The tree of the kernel: read whole, written by difference."""
