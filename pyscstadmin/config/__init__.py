# SPDX-License-Identifier: GPL-2.0-or-later
"""What is wanted: values, names, the file format, checks, access, the plan. Pure: no I/O."""
