# SPDX-License-Identifier: GPL-2.0-or-later
"""Where programs start: what there is to be done, and in which order."""

from __future__ import annotations

from pyscstadmin.admin.provision import Admin, Rebound, Resized, Use, Who

__all__ = ["Admin", "Rebound", "Resized", "Use", "Who"]
