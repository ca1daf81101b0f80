# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux's own iSCSI target (LIO), by configfs: what the instruments are tried on, and compared with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.vm.guest import tree
from tests.vm.guest_plugin import command

ROOT = Path("/sys/kernel/config/target")
MODULES = ("target_core_mod", "target_core_file", "iscsi_target_mod")
NAME = "iqn.2003-01.org.linux-iscsi.test:lio"
PORTAL = "127.0.0.1:3260"
# Everybody may log in and write: what it calls demo mode.
OPEN = {
    "authentication": 0,
    "generate_node_acls": 1,
    "cache_dynamic_acls": 1,
    "demo_mode_write_protect": 0,
    "prod_mode_write_protect": 0,
}


@dataclass(slots=True)
class Lio:
    """A target with its LUNs."""

    name: str
    portal: str
    stores: list[Path] = field(default_factory=list)

    @property
    def group(self) -> Path:
        """Its portal group."""
        return ROOT / "iscsi" / self.name / "tpgt_1"

    def make(self) -> None:
        """Without LUNs; it can be logged in to."""
        self.group.mkdir(parents=True)
        (self.group / "np" / self.portal).mkdir()
        for name, value in OPEN.items():
            tree.write(self.group / "attrib" / name, value)
        tree.write(self.group / "enable", "1")

    def add(self, path: Path, thin: bool = True) -> None:
        """A file as its next LUN."""
        number = len(self.stores)
        store = ROOT / "core/fileio_0" / f"f{number}"
        store.mkdir(parents=True)
        tree.write(
            store / "control", f"fd_dev_name={path},fd_dev_size={path.stat().st_size},fd_buffered_io=1"
        )
        tree.write(store / "enable", "1")
        if thin:
            tree.write(store / "attrib/emulate_tpu", 1)
            tree.write(store / "attrib/emulate_tpws", 1)
        self.stores.append(store)
        lun = self.group / "lun" / f"lun_{number}"
        lun.mkdir()
        (lun / "store").symlink_to(store)

    def remove(self) -> None:
        """All of it."""
        tree.write(self.group / "enable", "0")
        for number, store in enumerate(self.stores):
            lun = self.group / "lun" / f"lun_{number}"
            (lun / "store").unlink()
            lun.rmdir()
            store.rmdir()
        (self.group / "np" / self.portal).rmdir()
        self.group.rmdir()
        self.group.parent.rmdir()
        (ROOT / "iscsi").rmdir()
        if self.stores:
            (ROOT / "core/fileio_0").rmdir()


@contextmanager
def served(*files: Path, portal: str = PORTAL) -> Iterator[Lio]:
    """A target with these files as LUNs from 0 on.

    Its modules stay: they may be unloaded while threads of connections still run in them (Linux 6.1).
    """
    for module in MODULES:
        command("modprobe", module)
    (ROOT / "iscsi").mkdir(exist_ok=True)
    made = Lio(NAME, portal)
    made.make()
    for file in files:
        made.add(file)
    try:
        yield made
    finally:
        made.remove()
