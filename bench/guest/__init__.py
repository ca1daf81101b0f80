# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of the measurements that runs inside the VM."""
