# SPDX-License-Identifier: GPL-2.0-or-later
"""Configurations of other target stacks."""
