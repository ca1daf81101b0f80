# SPDX-License-Identifier: GPL-2.0-or-later
"""Fibre Channel: frames, ports with exchanges and logins, a switch, an arbitrated loop, scripted ports."""
