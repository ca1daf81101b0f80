# SPDX-License-Identifier: GPL-2.0-or-later
"""Administration of the scst kernel modules.

The pure core (`model`, `schema`, `plan`, `acl`, `names`, `layout`) does no I/O; `cfs`, `sim`, `read`,
`apply`, `save` and `sessions` do I/O and no thinking; `cli`, `render` (and the shell) show. Programs start at
`pyscstadmin.admin.Admin`. Importing any module has no side effect.
"""

from __future__ import annotations

__version__ = "0.1.0"
