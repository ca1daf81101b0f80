# SPDX-License-Identifier: GPL-2.0-or-later
"""An iSCSI initiator for tests: raw sockets, blocking, with a codec of its own.

It shares no code with what it is used on, and sends whatever it is told to, right or wrong.
"""
