# SPDX-License-Identifier: GPL-2.0-or-later
"""Models: what the standards say, written to be read, for comparison with what the modules do."""
