# SPDX-License-Identifier: GPL-2.0-or-later
"""Chip models: registers, mailbox commands and IOCBs of the ISP2200, 2300, 2312, 2432 and 2532."""
