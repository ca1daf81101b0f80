# SPDX-License-Identifier: GPL-2.0-or-later
"""Real files on a disk: the guest's own programs and modules, copied and compared."""

from __future__ import annotations

from typing import NamedTuple

from .machine import Machine

LIST = "find {places} -type f ! -path './lost+found/*' -exec sha256sum {{}} + | sort"
PLACES = "./bin ./modules ./lib.sh ./scst.sh ./init"
COPY = f"""set -e
/bin/mke2fs -q -F -t ext4 DISK
mount -t ext4 DISK /mnt
cp -a /bin /modules /*.sh /init /mnt
(cd / && {LIST.format(places=PLACES)}) >/tmp/sums
umount /mnt
echo 3 >/proc/sys/vm/drop_caches
mount -t ext4 -o ro DISK /mnt
(cd /mnt && {LIST.format(places=".")}) >/tmp/back
cmp /tmp/sums /tmp/back
echo $(wc -l </tmp/sums) $(du -sm /mnt | cut -f1) $(sha256sum </tmp/sums | cut -d' ' -f1)
umount /mnt
"""
SUM = f"""set -e
mount -t ext4 -o ro,noloadMORE DISK /mnt
(cd /mnt && {LIST.format(places=".")}) | sha256sum | cut -d' ' -f1
umount /mnt
"""


class Copied(NamedTuple):
    """What was copied: so many files and MiB, and a checksum of all names and contents."""

    files: int
    mib: int
    sum: str


def copy_and_compare(machine: Machine, disk: str) -> Copied:
    """ext4 on a disk, with real files; they are read back past the cache, each compared with its source."""
    files, mib, total = machine.run(COPY.replace("DISK", disk), timeout=300).split()
    machine.run(f"e2fsck -fn {disk}")
    return Copied(int(files), int(mib), total)


def contents(machine: Machine, disk: str, more: str = "") -> str:
    """The checksum of what is on a disk, or with ``more`` of ``,loop`` in a file; mounted read-only."""
    return machine.run(SUM.replace("DISK", disk).replace("MORE", more), timeout=200).strip()
