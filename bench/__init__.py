# SPDX-License-Identifier: GPL-2.0-or-later
"""Side-by-side measurements: this target, LIO, and what the path costs without any target."""
