# SPDX-License-Identifier: GPL-2.0-or-later
"""The disk that is booted from. In order: GRUB, a kernel, its first root, a partition with the root.

GRUB reads by the BIOS, which is iPXE's there. The kernel knows from iPXE's table in memory (iBFT) what it was
booted from, and logs in itself.
"""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import tempfile
from pathlib import Path

from tests.vm import bootimage
from tests.vm.bootimage import Archive

SECTOR = 512
ALIGNED = 2048  # sectors
ROOT_MIB = 16
PACKAGES = Path("build/packages")
GRUB = PACKAGES / "grub-pc-bin/usr/lib/grub/i386-pc"
MKIMAGE = PACKAGES / "grub-common/usr/bin/grub-mkimage"
START = PACKAGES / "open-iscsi/sbin/iscsistart"
LIBRARY = PACKAGES / "libopeniscsiusr/usr/lib/x86_64-linux-gnu"
MODULES = ("e1000", "iscsi_ibft", "crc32c_generic", "iscsi_tcp", "sd_mod", "ext4")
GRUB_MODULES = ("biosdisk", "serial", "terminal", "echo", "sleep", "linux", "boot")
PLACE = 446  # of the table of partitions
LINUX = 0x83

# `{pause}`: seconds in which nobody asks the BIOS for anything.
GRUB_CONFIG = """serial --unit=0 --speed=115200
terminal_output serial
echo netboot: GRUB
sleep {pause}
linux (hd0){kernel} {words}
initrd (hd0){first}
boot
"""
WORDS = (
    "console=ttyS0 loglevel=4 panic=-1 mitigations=off nokaslr norandmaps clocksource=tsc tsc=reliable "
    "no_timer_check random.trust_cpu=on net.ifnames=0"
)
# The first root: it has no disk, finds one by what the firmware says, and goes there.
INIT = """#!/bin/busybox sh
export PATH=/bin:/sbin
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
while read -r module; do busybox insmod "/modules/$module"; done </modules/order
table=/sys/firmware/ibft
echo "netboot: iBFT: $(busybox cat $table/target0/target-name)"
busybox ifconfig lo 127.0.0.1 up
busybox ifconfig eth0 "$(busybox cat $table/ethernet0/ip-addr)" \\
	netmask "$(busybox cat $table/ethernet0/subnet-mask)" up
iscsistart -b || exit 1
until [ -b /dev/sda1 ]; do busybox sleep 0.2; done
busybox mount -t ext4 /dev/sda1 /root
exec busybox switch_root /root /sbin/init
"""
# The root on the disk.
ROOT_INIT = """#!/bin/busybox sh
export PATH=/bin:/sbin
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
busybox mount -o remount,rw /
echo netboot: shell
exec busybox setsid busybox cttyhack busybox sh
"""


def make(target: Path, release: str, pause: int) -> int:
    """Write the image; returns where the root begins, in bytes."""
    kernel = Path(f"/boot/vmlinuz-{release}").read_bytes()
    first = gzip.compress(first_root(release), 1)
    at_first = aligned(ALIGNED + sectors(kernel))
    at_root = aligned(at_first + sectors(first))
    core = grub(
        GRUB_CONFIG.format(
            pause=pause,
            words=WORDS,
            kernel=f"{ALIGNED}+{sectors(kernel)}",
            first=f"{at_first}+{sectors(first)}",
        )
    )
    assert 1 + sectors(core) <= ALIGNED
    with target.open("wb") as image:
        image.truncate(at_root * SECTOR + (ROOT_MIB << 20))
        image.write(with_partition((GRUB / "boot.img").read_bytes(), at_root, ROOT_MIB << 11))
        for at, data in ((1, core), (ALIGNED, kernel), (at_first, first)):
            image.seek(at * SECTOR)
            image.write(data)
    make_root(target, at_root * SECTOR)
    return at_root * SECTOR


def sectors(data: bytes) -> int:
    """How many it needs."""
    return -(-len(data) // SECTOR)


def aligned(at: int) -> int:
    """The next place where something may begin."""
    return -(-at // ALIGNED) * ALIGNED


def with_partition(boot: bytes, at: int, count: int) -> bytes:
    """GRUB's first sector, with one partition in its table."""
    entry = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", LINUX, b"\xfe\xff\xff", at, count)
    assert len(boot) == SECTOR
    return boot[:PLACE] + entry.ljust(64, b"\0") + b"\x55\xaa"


def grub(config: str) -> bytes:
    """What stands behind the first sector: GRUB, with these commands in it."""
    with tempfile.TemporaryDirectory() as folder:
        file, made = Path(folder, "config"), Path(folder, "core")
        file.write_text(config)
        argv = [str(MKIMAGE), "--format=i386-pc", f"--directory={GRUB}", "--prefix=(hd0)"]
        argv += [f"--config={file}", f"--output={made}", *GRUB_MODULES]
        subprocess.run(argv, check=True)
        return made.read_bytes()


def first_root(release: str) -> bytes:
    """busybox, drivers, and open-iscsi's program for this."""
    archive = Archive()
    for name in ("bin", "sbin", "lib", "lib64"):
        archive.link(f"/{name}", os.readlink(f"/{name}"))
    for name in ("/proc", "/sys", "/dev", "/root", "/etc/iscsi", "/run/lock/iscsi", "/var/lib/iscsi"):
        archive.folder(name)
    archive.node("/dev/console", 5, 1)
    archive.host_file(str(bootimage.BUSYBOX))
    bootimage.add_modules(archive, bootimage.module_files(release, MODULES))
    own = sorted(LIBRARY.glob("*.so.*"))
    for library in own:
        archive.data(f"/usr/lib/x86_64-linux-gnu/{library.name}", library.read_bytes(), 0o755)
    for path in bootimage.shared_libraries(map(str, (START, *own))):
        archive.host_file(path)
    archive.data("/usr/sbin/iscsistart", START.read_bytes(), 0o755)
    archive.data("/init", INIT.encode(), 0o755)
    return archive.pack()


def make_root(image: Path, at: int) -> None:
    """A file system with a shell in it, there."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("bin", "sbin", "proc", "sys", "dev"):
            (root / name).mkdir()
        (root / "bin/busybox").write_bytes(bootimage.BUSYBOX.read_bytes())
        (root / "bin/busybox").chmod(0o755)
        (root / "sbin/init").write_text(ROOT_INIT)
        (root / "sbin/init").chmod(0o755)
        root.chmod(0o755)
        argv = ["mke2fs", "-q", "-F", "-t", "ext4", "-d", folder, "-E", f"offset={at},root_owner=0:0"]
        subprocess.run([*argv, str(image), f"{ROOT_MIB}M"], check=True)
