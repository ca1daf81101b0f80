# SPDX-License-Identifier: GPL-2.0-or-later
"""Logging iSCSI initiators in: what is text and policy of RFC 7143. The commands are the kernel's.

The core computes: `pdu` (formats), `keys` (the table), `negotiate`, `chap`, `login`, `discovery`, `names`,
`policy` (what there is to log in to), `isns` and `registration` (what an iSNS server is told). Around it,
thin: `device` (the kernel's), `source` (the policy, read from configfs), `portals` (where to listen), `serve`
(connections), `registrar` (the iSNS server), `daemon` (the program `scst-iscsid`).
"""
