# SPDX-License-Identifier: GPL-2.0-or-later
"""vfio-user: a PCI device offered to QEMU over a UNIX socket."""
