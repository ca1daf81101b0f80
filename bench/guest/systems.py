# SPDX-License-Identifier: GPL-2.0-or-later
"""Sets up, inside the VM, the systems that are compared, on equal backing stores.

Backends: ``null`` (no data kept), ``file`` (a file on tmpfs, page cache), ``blk`` (a null_blk device),
``far`` (a virtio disk of one queue). Systems: ``scst`` (this project, driver ``local``), ``lio``
(tcm_loop), and the floors ``scsi_debug`` (the SCSI mid-layer above a driver that does nothing),
``null_blk`` and ``virtio`` (no SCSI).
"""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from bench.pattern import BACKENDS, FAR

CONFIGFS = Path("/sys/kernel/config")
SCST = CONFIGFS / "scst"
LIO = CONFIGFS / "target"
NULLB = CONFIGFS / "nullb"
FILES = Path("/run/bench")
NULL_MIB = 1024
QUEUE_DEPTH = 64
HUGE_PAGES = 16
APPEAR_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Disk:
    """A block device to measure; *name* is the kernel's (``sda``)."""

    system: str
    backend: str
    name: str


def write(path: Path, text: str) -> None:
    """Write one value to a kernel file; OSError names the file."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        raise OSError(error.errno, f"writing {text!r}: {os.strerror(error.errno or 0)}", str(path)) from None
    finally:
        os.close(fd)


def modprobe(*words: str) -> None:
    """Load one module with parameters."""
    subprocess.run(["modprobe", *words], check=True)


def make_null_blk(name: str) -> Path:
    """Make a memory-less null_blk device that completes in the caller's softirq; returns its node."""
    folder = NULLB / name
    folder.mkdir()
    values = {
        "size": NULL_MIB,
        "blocksize": 512,
        "irqmode": 1,
        "queue_mode": 2,
        "memory_backed": 0,
        "submit_queues": os.cpu_count() or 1,
        "power": 1,
    }
    for attribute, value in values.items():
        write(folder / attribute, str(value))
    return Path("/dev") / name


def make_file(name: str, size_mib: int) -> Path:
    """Make a file of zeroes, with all its pages allocated, on a tmpfs."""
    if not FILES.exists():
        FILES.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80%", "tmpfs", str(FILES)], check=True)
    path = FILES / name
    block = bytes(1 << 20)
    with path.open("wb") as file:
        for _ in range(size_mib):
            file.write(block)
    return path


def find_disk(host: str, lun: int) -> str:
    """Name of the disk with that LUN behind channel 0, target 0 (or what *host* says: ``H:C:T``)."""
    address = host if ":" in host else f"{host}:0:0"
    folder = Path(f"/sys/bus/scsi/devices/{address}:{lun}/block")
    end = time.monotonic() + APPEAR_SECONDS
    while time.monotonic() < end:
        if folder.is_dir() and (names := os.listdir(folder)) and Path("/dev", names[0]).exists():
            return names[0]
        time.sleep(0.05)
    raise TimeoutError(f"no disk at SCSI address {address}:{lun} within {APPEAR_SECONDS:g} s")


def scst_device(handler: str, name: str, **values: str) -> Path:
    """Make and enable a device; returns its folder."""
    folder = SCST / "devices" / handler / name
    folder.mkdir()
    for attribute, value in values.items():
        write(folder / attribute, value)
    write(folder / "enabled", "1")
    return folder


def find_far(system: str) -> Path:
    """Node of the ``far`` disk that a system is to use, see `bench.sharing.disks`."""
    for serial in Path("/sys/block").glob("vd*/serial"):
        if serial.read_text().strip() == f"{FAR}-{system}":
            return Path("/dev", serial.parent.name)
    raise FileNotFoundError(f"no disk with the serial number {FAR}-{system}")


def setup_scst(file_mib: int, far: bool) -> list[Disk]:
    """Devices as LUN 0, 1 ... of a target of the local driver, seen by one initiator."""
    for module in ("scst_nullio", "scst_fileio", "scst_blockio", "scst_local"):
        modprobe(module)
    devices = [
        scst_device("nullio", "null", size=str(NULL_MIB << 20)),
        scst_device("fileio", "file", path=str(make_file("scst.img", file_mib))),
        scst_device("blockio", "blk", path=str(make_null_blk("nbscst"))),
    ]
    if far:
        devices.append(scst_device("blockio", FAR, path=str(find_far("scst"))))
    target = SCST / "targets/local/bench"
    target.mkdir()
    (target / "hosts/initiator").mkdir()
    for lun, device in enumerate(devices):
        (target / f"luns/{lun}").mkdir()
        (target / f"luns/{lun}/device").symlink_to(device)
    write(target / "enabled", "1")
    host = (target / "hosts/initiator/host").read_text().strip()
    return found("scst", host, len(devices))


def found(system: str, host: str, count: int) -> list[Disk]:
    """The disks behind a host's first LUNs, by backend."""
    backends = (*BACKENDS, FAR)[:count]
    return [Disk(system, backend, find_disk(host, lun)) for lun, backend in enumerate(backends)]


def lio_store(plugin: str, name: str, control: str) -> Path:
    """Make and enable a LIO backstore; returns its folder."""
    folder = LIO / "core" / f"{plugin}_0" / name
    folder.mkdir(parents=True)
    write(folder / "wwn/vpd_unit_serial", str(uuid.uuid4()))
    write(folder / "control", control)
    return folder


def lio_block(name: str, node: Path) -> Path:
    """Make and enable a LIO backstore on a block device; returns its folder."""
    store = lio_store("iblock", name, f"udev_path={node}")
    write(store / "udev_path", str(node))
    return store


def setup_lio(file_mib: int, queues: int | None, far: bool) -> list[Disk]:
    """Backstores as LUN 0, 1 ... of a tcm_loop target; *queues*: hardware queues, None: the default."""
    for module in ("target_core_mod", "target_core_file", "target_core_iblock"):
        modprobe(module)
    modprobe("tcm_loop", *([] if queues is None else [f"nr_hw_queues={queues}"]))
    file = make_file("lio.img", file_mib)
    stores = [
        lio_store("rd_mcp", "null", f"rd_pages={NULL_MIB * 256},rd_nullio=1"),
        lio_store("fileio", "file", f"fd_dev_name={file},fd_dev_size={file_mib << 20},fd_buffered_io=1"),
        lio_block("blk", make_null_blk("nblio")),
    ]
    if far:
        stores.append(lio_block(FAR, find_far("lio")))
    for store in stores:
        write(store / "enable", "1")
    portal = LIO / "loopback/naa.6001405aaaaaaaa1/tpgt_1"
    portal.mkdir(parents=True)
    write(portal / "nexus", "naa.6001405aaaaaaaa2")
    for lun, store in enumerate(stores):
        (portal / f"lun/lun_{lun}").mkdir()
        (portal / f"lun/lun_{lun}/store").symlink_to(store)
    host = (portal / "address").read_text().strip()
    return found("lio", host, len(stores))


def setup_floors(far: bool) -> list[Disk]:
    """scsi_debug without data or delay, a bare null_blk, a bare virtio disk."""
    modprobe("scsi_debug", "fake_rw=1", "delay=0", "virtual_gb=1", "max_queue=192")
    (host,) = Path("/sys/bus/pseudo/devices/adapter0").glob("host*")
    debug = find_disk(host.name.removeprefix("host"), 0)
    bare = [Disk("null_blk", "blk", make_null_blk("nbraw").name)]
    if far:
        bare.append(Disk("virtio", FAR, find_far("virtio").name))
    return [Disk("scsi_debug", "null", debug), *bare]


def tune(disk: Disk) -> None:
    """The same queue settings for every SCSI disk; the bare floors stay as they are."""
    if disk.system in ("null_blk", "virtio"):
        return
    queue = Path("/sys/block", disk.name, "queue")
    for path, value in (
        (queue / "scheduler", "none"),
        (queue / "nomerges", "2"),
        (queue / "add_random", "0"),
        (queue.parent / "device/queue_depth", str(QUEUE_DEPTH)),
    ):
        write(path, value)


def setup(file_mib: int, queues: int | None = None, far: bool = False) -> list[Disk]:
    """Set up everything; returns the disks, in the order in which a cell is measured.

    *queues*: hardware queues of tcm_loop, None: the default. *far*: that backend, too.
    """
    modprobe("null_blk", "nr_devices=0")
    write(Path("/proc/sys/vm/nr_hugepages"), str(HUGE_PAGES))
    disks = setup_lio(file_mib, queues, far) + setup_scst(file_mib, far) + setup_floors(far)
    for disk in disks:
        tune(disk)
    return disks
