# SPDX-License-Identifier: GPL-2.0-or-later
"""Sets up, inside the VM, iSCSI targets and Linux's initiator, which reaches them over loopback.

Systems: ``scst`` (this project, logins by its daemon), ``lio``, and as a reference ``nvmet``: NVMe over TCP
by the kernel's own target and host, on a null_blk device.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.guest import systems
from bench.guest.systems import CONFIGFS, HUGE_PAGES, LIO, NULL_MIB, SCST, Disk, modprobe, write
from bench.pattern import DIGEST
from tests.vm.guest import openiscsi, tree
from tests.vm.guest.lio import Lio
from tests.vm.guest.openiscsi import Initiator, Login

ADDRESS = "127.0.0.1"
OURS_PORTAL, LIO_PORTAL, NVME_PORT = f"{ADDRESS}:3260", f"{ADDRESS}:3261", "4420"
OURS_NAME, LIO_NAME = "iqn.2026-11.com.example:bench", "iqn.2003-01.org.linux-iscsi.bench:x"
NVME_NAME = "bench"
NVMET = CONFIGFS / "nvmet"
BACKENDS = ("null", "file")
DIGESTS = {f"node.conn[0].iscsi.{name}Digest": "CRC32C" for name in ("Header", "Data")}
SETTINGS = {"node.session.cmds_max": 128, "node.session.queue_depth": systems.QUEUE_DEPTH}
PATIENCE = 120.0


def serve_scst(file_mib: int) -> Path:
    """Our target; returns its portal's folder. Nobody lets in yet."""
    for module in ("scst_nullio", "scst_fileio", "scst_iscsi"):
        modprobe(module)
    devices = (
        systems.scst_device("nullio", "null", size=str(NULL_MIB << 20)),
        systems.scst_device("fileio", "file", path=str(systems.make_file("scst.img", file_mib))),
    )
    portal, target = SCST / "drivers/iscsi/portals/p", SCST / "targets/iscsi" / OURS_NAME
    portal.mkdir()
    write(portal / "address", ADDRESS)
    target.mkdir()
    for lun, device in enumerate(devices):
        (target / f"luns/{lun}").mkdir()
        (target / f"luns/{lun}/device").symlink_to(device)
    (target / "portals/p").symlink_to(portal)
    write(target / "enabled", "1")
    return portal


def serve_lio(file_mib: int) -> None:
    """LIO's target."""
    for module in ("target_core_mod", "target_core_file", "iscsi_target_mod"):
        modprobe(module)
    file = systems.make_file("lio.img", file_mib)
    stores = (
        systems.lio_store("rd_mcp", "null", f"rd_pages={NULL_MIB * 256},rd_nullio=1"),
        systems.lio_store(
            "fileio", "file", f"fd_dev_name={file},fd_dev_size={file_mib << 20},fd_buffered_io=1"
        ),
    )
    (LIO / "iscsi").mkdir(exist_ok=True)
    target = Lio(LIO_NAME, LIO_PORTAL)
    target.make()
    for lun, store in enumerate(stores):
        write(store / "enable", "1")
        folder = target.group / f"lun/lun_{lun}"
        folder.mkdir()
        (folder / "store").symlink_to(store)


def serve_nvme() -> Disk:
    """The kernel's NVMe target over TCP on a null_blk device, and its host, which has one path."""
    modprobe("nvme_core", "multipath=N")
    for module in ("nvmet_tcp", "nvme_tcp"):
        modprobe(module)
    subsystem, port = NVMET / "subsystems" / NVME_NAME, NVMET / "ports/1"
    subsystem.mkdir()
    write(subsystem / "attr_allow_any_host", "1")
    (subsystem / "namespaces/1").mkdir()
    write(subsystem / "namespaces/1/device_path", str(systems.make_null_blk("nbnvme")))
    write(subsystem / "namespaces/1/enable", "1")
    port.mkdir()
    for name, value in (("trtype", "tcp"), ("adrfam", "ipv4"), ("traddr", ADDRESS), ("trsvcid", NVME_PORT)):
        write(port / f"addr_{name}", value)
    (port / "subsystems" / NVME_NAME).symlink_to(subsystem)
    write(Path("/dev/nvme-fabrics"), f"transport=tcp,traddr={ADDRESS},trsvcid={NVME_PORT},nqn={NVME_NAME}")
    node = Path("/dev/nvme0n1")
    tree.wait_for(str(node), node.exists, PATIENCE)
    return Disk("nvmet", "null", node.name)


@contextmanager
def daemon(portal: Path) -> Iterator[None]:
    """Who lets initiators in to our target."""
    with subprocess.Popen([sys.executable, "-m", "pyscstadmin.iscsi.daemon"]) as process:
        try:
            tree.wait_for("a portal", lambda: tree.read(portal / "state") == "listening", PATIENCE)
            yield
        finally:
            process.terminate()


def attach(system: str, initiator: Initiator, digests: bool = False) -> Login:
    """A session with a system's target."""
    name, portal = (OURS_NAME, OURS_PORTAL) if system == "scst" else (LIO_NAME, LIO_PORTAL)
    return initiator.login(name, portal, {**SETTINGS, **(DIGESTS if digests else {})})


def disks_of(system: str, plain: Initiator, careful: Initiator) -> Iterator[Disk]:
    """The disks of a system's sessions, with and without digests."""
    host, checked = attach(system, plain).number, attach(system, careful, digests=True).number
    for lun, backend in enumerate(BACKENDS):
        yield Disk(system, backend, systems.find_disk(str(host), lun))
    yield Disk(system, DIGEST, systems.find_disk(str(checked), 0))


@contextmanager
def serving(file_mib: int) -> Iterator[None]:
    """Both targets, and Linux's initiator."""
    portal = serve_scst(file_mib)
    serve_lio(file_mib)
    with openiscsi.running(), daemon(portal):
        yield


def initiator(name: str) -> Initiator:
    """One of that name."""
    return Initiator(name, f"iqn.2026-11.com.example:{name}").make()


def keep_on(host: int | None, cpu: int) -> None:
    """Have a session's requests sent by that CPU, whoever makes them."""
    write(Path(f"/sys/devices/virtual/workqueue/iscsi_q_{host}/cpumask"), f"{1 << cpu:x}")


@contextmanager
def served_by_cpu(cpus: Iterable[int]) -> Iterator[dict[str, list[Disk]]]:
    """A session of each system for each CPU, which stays there: their null disks, by system."""
    with serving(1):
        found: dict[str, list[Disk]] = {"scst": [], "lio": []}
        for cpu in cpus:
            one = initiator(f"cpu{cpu}")
            for system, disks in found.items():
                host = attach(system, one).number
                keep_on(host, cpu)
                disks.append(Disk(system, "null", systems.find_disk(str(host), 0)))
                systems.tune(disks[-1])
        yield found


@contextmanager
def served(file_mib: int) -> Iterator[list[Disk]]:
    """Everything, set up and logged in to: the disks, in the order in which a cell is measured."""
    modprobe("null_blk", "nr_devices=0")
    write(Path("/proc/sys/vm/nr_hugepages"), str(HUGE_PAGES))
    with serving(file_mib):
        plain, careful = initiator("plain"), initiator("careful")
        disks = [disk for system in ("lio", "scst") for disk in disks_of(system, plain, careful)]
        for disk in disks:
            systems.tune(disk)
        yield [*disks, serve_nvme()]
