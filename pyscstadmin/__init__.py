# SPDX-License-Identifier: GPL-2.0-or-later
"""Administration of the scst kernel modules.

A room per folder, on floors; a room knows only what is below it. From the ground: `errors`; `config`, what is
wanted, pure; `kernel` and `store`, which do I/O and no thinking; `sim`, the simulated tree; `admin`, where
programs start; `cli`, which shows; `shell` and `watch`. Importing any module has no side effect.
"""

from __future__ import annotations

__version__ = "0.1.0"
