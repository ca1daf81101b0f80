# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin that counts in the emulator, driven by a stand-in for QEMU, and what is made of its file."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from bench import counts, profile
from bench.counts import HEADER, SLOT, SOURCES, USER, Count, NoPlugins, Symbol, Symbols
from bench.guest.counted import Plugin

KERNEL = 0xFFFF_FFFF_8100_0000
KALLSYMS = """\
ffffffff81000000 T first
ffffffff81000100 t second
ffffffff81000180 d data
ffffffffc0000000 t third	[scst]
"""

# Stands for QEMU: keeps the callbacks, and has translation blocks of so many instructions.
QEMU = """
#include "qemu.h"
static qemu_plugin_tb_cb translated; static qemu_plugin_exec_cb exec; static qemu_plugin_mem_cb mem;
static void *exec_data, *mem_data; static uint64_t pc; static size_t nr = 1;
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, qemu_plugin_tb_cb fn) { translated = fn; }
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, qemu_plugin_exec_cb fn,
	enum qemu_plugin_cb_flags flags, void *data) { exec = fn; exec_data = data; }
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, qemu_plugin_mem_cb fn,
	enum qemu_plugin_cb_flags flags, enum qemu_plugin_mem_rw which, void *data) { mem = fn; mem_data = data; }
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb) { return nr; }
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i)
{ return (void *)&pc; }
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn) { return pc; }
bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t info) { return info; }
struct qemu_plugin_hwaddr *qemu_plugin_get_hwaddr(qemu_plugin_meminfo_t info, uint64_t at)
{ return (void *)(at + 1); }
bool qemu_plugin_hwaddr_is_io(const struct qemu_plugin_hwaddr *hwaddr) { return false; }
uint64_t qemu_plugin_hwaddr_phys_addr(const struct qemu_plugin_hwaddr *hwaddr)
{ return (uint64_t)hwaddr - 1; }
#define PUBLIC __attribute__((visibility("default")))
PUBLIC void run(unsigned int cpu, uint64_t at, size_t instructions)
{ pc = at; nr = instructions; translated(0, (void *)&pc); exec(cpu, exec_data); }
PUBLIC void touch(unsigned int cpu, uint64_t at, uint64_t address, bool store)
{ pc = at; translated(0, (void *)&pc); mem(cpu, store, address, mem_data); }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin and the stand-in in one library."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    return compiled(tmp_path_factory.mktemp("plugin"))


def compiled(folder: Path, *words: str) -> Path:
    """The same, in a folder, with more words for the compiler."""
    (folder / "stand_in.c").write_text(QEMU + '#include "counter.c"\n')
    command = ["gcc", *counts.CFLAGS, *words, f"-I{SOURCES[0].parent}", "-o", "lib.so", "stand_in.c"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "lib.so"


class Machine:
    """A machine in which one of the plugin's ways of counting is at work."""

    def __init__(self, library: Path, folder: Path, what: str) -> None:
        copy = folder / f"{what}.so"
        shutil.copy(library, copy)  # a library is loaded once, and keeps its state
        self._plugin = ctypes.CDLL(str(copy))
        self._switch = Plugin(self._installed(folder, what))

    def _installed(self, folder: Path, what: str) -> Path:
        words = [f"out={folder / counts.COUNTS}", f"what={what}", "mib=64"]
        argv = (ctypes.c_char_p * len(words))(*map(str.encode, words))
        assert self._plugin.qemu_plugin_install(ctypes.c_uint64(1), None, len(words), argv) == 0
        self._folder = folder
        return folder

    def run(self, phase: int, cpu: int, pc: int, instructions: int = 1) -> None:
        """Execute a block."""
        with self._switch.counting(phase):
            self._plugin.run(cpu, ctypes.c_uint64(pc), ctypes.c_size_t(instructions))

    def touch(self, phase: int, *accesses: tuple[int, int, bool], pc: int = KERNEL) -> None:
        """Access memory: CPU, address, and whether it is a store."""
        with self._switch.counting(phase):
            for cpu, address, store in accesses:
                self._plugin.touch(cpu, ctypes.c_uint64(pc), ctypes.c_uint64(address), store)

    def counts(self) -> list[Count]:
        """What the plugin has counted."""
        return sorted(counts.counts((self._folder / counts.COUNTS).read_bytes()))


@pytest.fixture
def lines(library: Path, tmp_path: Path) -> Machine:
    return Machine(library, tmp_path, "lines")


def moved(machine: Machine) -> tuple[int, int]:
    """Lines read from, and taken away from, other CPUs."""
    found = machine.counts()
    return sum(count.reads for count in found), sum(count.writes for count in found)


def test_instructions_are_counted_by_phase_and_address(library: Path, tmp_path: Path) -> None:
    machine = Machine(library, tmp_path, "instructions")
    for phase, pc in ((1, KERNEL), (1, KERNEL), (1, KERNEL + 4), (2, KERNEL), (2, 0x401000), (2, 0x402000)):
        machine.run(phase, 0, pc)
    assert machine.counts() == [
        Count(1, KERNEL, 2, 0, 0),
        Count(1, KERNEL + 4, 1, 0, 0),
        Count(2, 0, 2, 0, 0),  # all of user space
        Count(2, KERNEL, 1, 0, 0),
    ]


def test_a_block_is_counted_where_it_begins(library: Path, tmp_path: Path) -> None:
    machine = Machine(library, tmp_path, "instructions")
    machine.run(1, 0, KERNEL, instructions=5)
    machine.run(1, 0, KERNEL, instructions=5)
    assert machine.counts() == [Count(1, KERNEL, 10, 0, 0)]


def test_a_full_table_is_told(library: Path, tmp_path: Path) -> None:
    machine = Machine(compiled(tmp_path, "-DSLOT_BITS=4"), tmp_path, "instructions")
    for number in range(14):
        machine.run(1, 0, KERNEL + 4 * number)
    assert len(machine.counts()) == 14
    machine.run(1, 0, KERNEL)  # has its slot
    machine.run(2, 0, KERNEL)
    machine.run(3, 0, KERNEL)
    with pytest.raises(ValueError, match="2 counts are missing"):
        machine.counts()


def test_nothing_is_counted_without_a_phase(lines: Machine) -> None:
    lines.touch(0, (0, 64, True), (1, 64, True))
    assert lines.counts() == []


def test_a_line_that_nobody_has_does_not_move(lines: Machine) -> None:
    lines.touch(1, (0, 64, False), (0, 64, True), (1, 128, True), (1, 191, False))
    assert moved(lines) == (0, 0)


def test_readers_share_a_line(lines: Machine) -> None:
    lines.touch(1, (0, 64, True), (1, 64, False), (2, 70, False), (0, 64, False), (1, 64, False))
    assert moved(lines) == (2, 0)


def test_a_writer_takes_a_line_from_all(lines: Machine) -> None:
    lines.touch(
        1, (0, 64, False), (1, 64, False), (0, 64, True), (0, 64, True), (1, 64, True), (0, 64, False)
    )
    assert moved(lines) == (2, 2)


def test_a_read_before_the_write_is_a_move_of_its_own(lines: Machine) -> None:
    lines.touch(1, (0, 64, True), (1, 64, False), (1, 64, True))
    assert moved(lines) == (1, 1)


def test_each_phase_begins_with_empty_caches(lines: Machine) -> None:
    lines.touch(1, (0, 64, True))
    lines.touch(2, (1, 64, True))
    assert moved(lines) == (0, 0)


def test_the_line_is_told(lines: Machine) -> None:
    lines.touch(1, (0, 200, True), (1, 201, True))
    assert lines.counts() == [Count(1, KERNEL, 0, 1, 192)]


def test_memory_beyond_what_is_watched_is_left_out(lines: Machine) -> None:
    beyond = 65 << 20
    lines.touch(1, (0, beyond, True), (1, beyond, True))
    assert lines.counts() == []


def packed(*slots: tuple[int, int, int, int], lost: int = 0) -> bytes:
    """A file of the plugin's."""
    return HEADER.pack(lost) + b"".join(SLOT.pack(*slot) for slot in slots)


def test_a_full_table_is_no_result() -> None:
    with pytest.raises(ValueError, match="3 counts are missing"):
        list(counts.counts(packed((0, 0, 0, 0), lost=3)))


def test_symbols() -> None:
    symbols = Symbols(KALLSYMS)
    assert symbols.at(KERNEL) == symbols.at(KERNEL + 0xFF) == Symbol("first")
    assert symbols.at(KERNEL + 0x1FF) == Symbol("second")  # data is no function
    assert symbols.at(0xFFFF_FFFF_C000_0010) == Symbol("third", "scst")
    assert symbols.at(0x401000) == USER


def test_sums_by_symbol(tmp_path: Path) -> None:
    mask = (1 << 56) - 1
    (tmp_path / counts.SYMBOLS).write_text(KALLSYMS)
    slots = [
        (1 << 56 | (KERNEL + 4) & mask, 2, 1, 0),
        (1 << 56 | (KERNEL + 8) & mask, 4, 0, 0),
        (2 << 56 | 1, 5, 0, 0),
    ]
    (tmp_path / counts.COUNTS).write_bytes(packed((0, 0, 0, 0), *slots))
    assert counts.read(tmp_path) == {1: {Symbol("first"): 7}, 2: {USER: 5}}


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def tool(folder: Path, name: str, script: str) -> None:
    """A program that is a shell script."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_no_compiler(tools: Path, tmp_path: Path) -> None:
    with pytest.raises(NoPlugins, match="gcc is not installed"):
        counts.build(tmp_path / "counter.so")


def test_a_qemu_without_plugins(tools: Path, tmp_path: Path) -> None:
    tool(tools, "gcc", "exit 0")
    tool(tools, counts.QEMU, "echo qemu: -plugin: invalid option >&2; exit 1")
    with pytest.raises(NoPlugins, match="plugin: invalid option"):
        counts.build(tmp_path / "counter.so")


@pytest.mark.skipif(not shutil.which("gcc") or not shutil.which(counts.QEMU), reason="needs gcc and QEMU")
def test_this_qemu_takes_the_plugin(tmp_path: Path) -> None:
    plugin = counts.build(tmp_path / "counter.so")
    made = plugin.stat().st_mtime_ns
    assert counts.build(plugin).stat().st_mtime_ns == made


def test_profile_difference() -> None:
    ours = {Symbol("a"): 100.0, Symbol("b"): 10.0, Symbol("c"): 1.0}
    found = profile.difference(ours, {Symbol("b"): 60.0, Symbol("c"): 1.0}, 2).splitlines()
    assert [line.split()[1:4:2] for line in found[2:]] == [["a", "+100.0"], ["b", "-50.0"]]


def test_profile_top() -> None:
    lines = profile.top({Symbol("small"): 1.0, Symbol("large", "scst"): 2000.0}, 1).splitlines()
    assert len(lines) == 3
    assert lines[2].split() == ["|", "large", "[scst]", "|", "2,000.0", "|"]


def test_profile_modules() -> None:
    text = profile.modules({Symbol("a", "scst"): 1.0, Symbol("b", "scst"): 2.0, Symbol("c"): 4.0})
    assert [line.split()[1:4:2] for line in text.splitlines()[2:]] == [["kernel", "4.0"], ["scst", "3.0"]]
