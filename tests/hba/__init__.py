# SPDX-License-Identifier: GPL-2.0-or-later
"""Fibre Channel without hardware.

Emulated QLogic HBAs on an emulated fabric, attached to QEMU over vfio-user.
"""
