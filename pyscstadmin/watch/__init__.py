# SPDX-License-Identifier: GPL-2.0-or-later
"""Following devices that come and go."""
