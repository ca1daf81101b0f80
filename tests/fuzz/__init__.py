# SPDX-License-Identifier: GPL-2.0-or-later
"""What reads bytes from the wire and from files, given any bytes: kernel code built in user space."""
