# SPDX-License-Identifier: GPL-2.0-or-later
"""rtslib's way of making a configuration, saving, removing and restoring it: ``rtslib_steps 100x10``.

Prints ``step seconds`` lines as the steps end, so that whoever ends this process early has what was done.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from bench.scale import Scale

NAME = "iqn.2003-01.org.linux-iscsi.bench:scale"
FILE = "/tmp/bench-lio.json"


def timed(step: str, work: Callable[[], Any]) -> Any:
    """Do the work and print its time."""
    start = time.monotonic()
    made = work()
    print(step, f"{time.monotonic() - start:.6f}", flush=True)
    return made


def create(scale: Scale) -> tuple[Any, Any]:
    """Backstores, target, LUNs, node ACLs, mapped LUNs; returns the last ACL and the target's first LUN."""
    import rtslib

    stores = [rtslib.RDMCPStorageObject(name, size=1 << 20, nullio=True) for name in scale.devices()]
    group = rtslib.TPG(rtslib.Target(rtslib.FabricModule("iscsi"), NAME), 1)
    luns = [rtslib.LUN(group, number, store) for number, store in enumerate(stores)]
    acls = [rtslib.NodeACL(group, name) for name in scale.initiators()]
    for acl in acls:
        for number, lun in enumerate(luns):
            rtslib.MappedLUN(acl, number, lun)
    group.enable = True
    return acls[-1], luns[0]


def one_lun(acl: Any, lun: Any) -> None:
    """One more mapped LUN."""
    import rtslib

    rtslib.MappedLUN(acl, 255, lun)


def main(argument: str) -> int:
    """Entry point."""
    import rtslib

    scale = Scale.parse(argument)
    root = rtslib.RTSRoot()
    acl, lun = timed("create", lambda: create(scale))
    timed("one_lun", lambda: one_lun(acl, lun))
    timed("save", lambda: root.save_to_file(FILE))
    timed("clear", lambda: root.clear_existing(confirm=True))
    timed("restore", lambda: root.restore_from_file(FILE))
    root.clear_existing(confirm=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
