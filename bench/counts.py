# SPDX-License-Identifier: GPL-2.0-or-later
"""What a plugin of QEMU's emulator counts in a VM, by address, and the symbols behind the addresses.

The plugin (``bench/plugin``) is compiled at need. QEMU's own package is enough: what of its interface is
used is declared there.
"""

from __future__ import annotations

import bisect
import mmap
import struct
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

REPO = Path(__file__).resolve().parents[1]
SOURCES = (REPO / "bench/plugin/counter.c", REPO / "bench/plugin/qemu.h")
PLUGIN = REPO / "build/bench/counter.so"
CFLAGS = "-O2 -Wall -Wextra -Wno-unused-parameter -Werror -shared -fPIC -fvisibility=hidden".split()
QEMU = "qemu-system-x86_64"
HELLO = '{"execute": "qmp_capabilities"}\n{"execute": "quit"}\n'
SECONDS = 60
# A run leaves these in its folder; the first is where the plugin counts.
COUNTS, SYMBOLS = "counts", "kallsyms"
HEADER, SLOT = struct.Struct("<8xQ112x"), struct.Struct("<4Q")
PHASE_SHIFT = 56
KERNEL_HALF = 0xFF << PHASE_SHIFT


class NoPlugins(RuntimeError):
    """Nothing can be counted with this QEMU, or compiler; the text says why."""


class Symbol(NamedTuple):
    """A function of the kernel or of a module (empty: the kernel itself); user space is one symbol."""

    name: str
    module: str = ""

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.name} [{self.module}]" if self.module else self.name


USER = Symbol("user space", "user")


def call(*words: str, stdin: str = "") -> None:
    """Run a program. Raises NoPlugins with its words when it fails or is not there."""
    try:
        subprocess.run(
            words,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
            timeout=SECONDS,
        )
    except FileNotFoundError:
        raise NoPlugins(f"{words[0]} is not installed") from None
    except subprocess.CalledProcessError as error:
        raise NoPlugins(f"{words[0]}: {error.stdout.strip()}") from None


def build(plugin: Path = PLUGIN, qemu: Sequence[str] = (QEMU,)) -> Path:
    """The plugin, compiled if it is older than its source, and tried out with a QEMU. Raises NoPlugins."""
    if not plugin.exists() or plugin.stat().st_mtime < max(path.stat().st_mtime for path in SOURCES):
        plugin.parent.mkdir(parents=True, exist_ok=True)
        call("gcc", *CFLAGS, "-o", str(plugin), str(SOURCES[0]))
    with tempfile.NamedTemporaryFile() as file:
        machine = ("-M", "none", "-nodefaults", "-display", "none", "-qmp", "stdio")
        call(*qemu, *machine, *arguments(plugin, Path(file.name), "instructions"), stdin=HELLO)
    return plugin


def arguments(plugin: Path, result: Path, what: str, memory_mib: int = 0) -> list[str]:
    """Words for QEMU: count ``instructions``, or cache ``lines`` in a machine with that much memory."""
    return ["-plugin", f"{plugin},out={result},what={what},mib={memory_mib}"]


class Symbols:
    """The functions of a kernel, by address."""

    def __init__(self, text: str) -> None:
        """*text*: that of /proc/kallsyms."""
        rows = (line.split() for line in text.splitlines())
        functions = sorted((int(row[0], 16), row[2], row[3:]) for row in rows if row[1] in "tTwW")
        self._starts = [start for start, _, _ in functions]
        self._symbols = [
            Symbol(name, module[0].strip("[]") if module else "") for _, name, module in functions
        ]

    def at(self, address: int) -> Symbol:
        """The function that an address is in."""
        number = bisect.bisect_right(self._starts, address) - 1
        return self._symbols[number] if number >= 0 else USER


class Count(NamedTuple):
    """What the instruction at an address did in a phase: reads (or executions), and writes."""

    phase: int
    address: int
    reads: int
    writes: int
    line: int


def counts(data: bytes) -> Iterator[Count]:
    """What the plugin has counted. ValueError if that is not all."""
    (lost,) = HEADER.unpack_from(data)
    if lost:
        raise ValueError(f"the plugin's table is full: {lost} counts are missing")
    for key, reads, writes, line in SLOT.iter_unpack(memoryview(data)[HEADER.size :]):
        if key:
            low = key & ~KERNEL_HALF
            # The plugin gives user space one small address.
            yield Count(key >> PHASE_SHIFT, low | KERNEL_HALF if low >> 8 else 0, reads, writes, line)


def by_symbol(found: Iterable[Count], symbols: Symbols) -> dict[int, Counter[Symbol]]:
    """Sums of reads and writes per phase and symbol."""
    sums: dict[int, Counter[Symbol]] = defaultdict(Counter)
    for count in found:
        sums[count.phase][symbols.at(count.address)] += count.reads + count.writes
    return sums


def read(folder: Path) -> dict[int, Counter[Symbol]]:
    """Sums per phase and symbol of a run that left its files in *folder*."""
    symbols = Symbols((folder / SYMBOLS).read_text())
    with (folder / COUNTS).open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        return by_symbol(counts(bytes(data)), symbols)
