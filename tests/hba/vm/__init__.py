# SPDX-License-Identifier: GPL-2.0-or-later
"""Virtual machines with emulated HBAs.

Packages, initial RAM disk, QEMU, guest shell, and the tests run in them.
"""
