# SPDX-License-Identifier: GPL-2.0-or-later
"""A simulated tree that answers as the kernel does."""
