# SPDX-License-Identifier: GPL-2.0-or-later
"""Every program of Debian's sg3-utils and ddpt that means something to a disk, with expected answers.

The command lines are in :mod:`tests.vm.guest.sg3_lines`. What they send is seen by the target's trace points;
each is held to what REPORT SUPPORTED OPERATION CODES tells.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm.guest import alua, scsi, sg3, tree
from tests.vm.guest import sg3_lines as lines
from tests.vm.guest.sg3 import (
    BLOCK,
    BLOCKS,
    NO_SUCH_FIELD,
    NO_SUCH_OPCODE,
    PATTERN,
    Op,
    Refused,
    Rig,
    Row,
    Write,
    Wrong,
    unit_of,
)

SCST_MODULES = ("scst", "scst_fileio", "scst_local", "sg")

# What a program says of an answer that it can't read.
NONSENSE = (
    r"malformed|(?<!mapped \(or )unknown|[Uu]nexpected|too short|too long"
    r"|bad response|invalid VPD|truncated|[Uu]ndecoded"
)


@pytest.fixture(scope="module")
def made(ext4: Path, file_tree: None) -> Iterator[Rig]:
    """The units."""
    with sg3.rig(ext4) as made:
        yield made


@pytest.fixture
def rig(made: Rig) -> Rig:
    """The units, with nothing pending."""
    made.quiet()
    return made


# --- what is done ---


@pytest.mark.parametrize("row", lines.DONE, ids=lambda row: row.words)
def test_done(rig: Rig, row: Row) -> None:
    """Each ends well, and says what is so."""
    assert not re.search(NONSENSE, row.check(rig).text)


# --- what writes ---


@pytest.mark.parametrize("row", lines.WRITES, ids=lambda row: row.words)
def test_writes(rig: Rig, row: Write) -> None:
    """On the medium is what was sent, and next to it what was there."""
    path = rig.files[unit_of(row.words)]
    expected = bytearray(path.read_bytes())
    for lba, data in row.changes:
        expected[lba * BLOCK : lba * BLOCK + len(data)] = data
    done = row.check(rig)
    assert {(one.status, one.sense) for one in done.sent} == {("GOOD", "NO_SENSE/00/00")}, done
    assert path.read_bytes() == bytes(expected), done


@pytest.mark.parametrize("row", lines.READS, ids=lambda row: row.words)
def test_reads(rig: Rig, row: Row) -> None:
    """What is on the medium."""
    out = rig.folder / "out"
    out.unlink(missing_ok=True)
    rig.files["B"].write_bytes(b"".join(struct.pack(">Q", lba) * (BLOCK // 8) for lba in range(BLOCKS)))
    row.check(rig)
    assert out.read_bytes() == rig.files["B"].read_bytes()[7 * BLOCK : 16 * BLOCK]


# --- copies ---


@pytest.mark.parametrize("row", lines.COPIES, ids=lambda row: row.words)
def test_copies(rig: Rig, row: Row) -> None:
    """From one unit to another, and nothing beside it."""
    source = b"".join(struct.pack(">Q", ~lba & 2**64 - 1) * (BLOCK // 8) for lba in range(BLOCKS))
    rig.files["B"].write_bytes(source)
    rig.files["A"].write_bytes(PATTERN * BLOCKS)
    row.check(rig)
    expected = PATTERN * 9 + source[7 * BLOCK : 507 * BLOCK] + PATTERN * (BLOCKS - 509)
    assert rig.files["A"].read_bytes() == expected
    assert rig.files["B"].read_bytes() == source


def test_results_of_a_copy(rig: Rig) -> None:
    """Of a list identifier, once."""
    for row in lines.RESULTS:
        row.check(rig)
    assert rig.run(lines.RESULTS[-1].words).of((0x84, 0))[0].sense == NO_SUCH_FIELD


# --- what is refused ---


@pytest.mark.parametrize("row", lines.REFUSED, ids=lambda row: row.words)
def test_refused(rig: Rig, row: Refused) -> None:
    """It is not told of.

    INVALID COMMAND OPERATION CODE; INVALID FIELD IN CDB for a service action beside others (SPC-4 4.3.4).
    """
    done, listed = rig.run(row.words), rig.listed(unit_of(row.words))
    assert row.op not in listed
    opcode = row.op[0] not in {op[0] for op in listed}
    answers = {(one.status, one.sense) for one in done.of(row.op)}
    assert answers == {("CHECK_CONDITION", NO_SUCH_OPCODE if opcode else NO_SUCH_FIELD)}, done
    assert done.status == (sg3.INVALID_OP if opcode else sg3.ILLEGAL), done
    if not opcode and "-vv" in row.words:
        done.says("Error in Command: byte 1 bit 4")


@pytest.mark.parametrize("row", lines.WRONG, ids=lambda row: row.words)
def test_wrong(rig: Rig, row: Wrong) -> None:
    """The field is named, and nothing changes."""
    before = {name: path.read_bytes() for name, path in rig.files.items()}
    done = row.check(rig)
    assert done.of(row.op)[-1].sense == row.sense, done
    assert {name: path.read_bytes() for name, path in rig.files.items()} == before


def test_odx(rig: Rig) -> None:
    """ddpt looks for limits, has a token made, asks for it, has a unit written, and asks how that was."""
    done = rig.run("ddpt --odx if={B} of={A} bs=512 skip=1,2 seek=4,2")
    found = [(one.cdb[0], one.cdb[1] & 0x1F) for one in done.sent if one.cdb[0] in (0x83, 0x84)]
    assert found == [(0x83, 0x10), (0x84, 0x07), (0x83, 0x11), (0x84, 0x07)], done
    assert not done.status, done


# --- identity ---


def fields(text: str) -> dict[str, str]:
    """Lines of a name and a value."""
    found = re.findall(r"^\s*([A-Za-z][^:=\n]*?)\s*[:=]\s*(.*?)\s*$", text, re.M)
    return dict(found)


def test_standard_inquiry(rig: Rig) -> None:
    """What the tree says of identity; TPGS only where there are groups."""
    for unit, tpgs, removable in (("A", 3, 0), ("B", 0, 0), ("R", 0, 1)):
        text = rig.good(f"sg_inq {{{unit}}}").text
        shown, folder = fields(text), rig.devices[unit].path / "id"
        assert shown["Vendor identification"] == tree.read(folder / "vendor").strip()
        assert shown["Product identification"] == tree.read(folder / "product").strip()
        assert shown["Product revision level"] == tree.read(folder / "revision").strip()
        assert shown["Unit serial number"] == tree.read(folder / "serial")
        bits = dict(re.findall(r"\b([A-Za-z0-9_]+)=(\w+)", text))
        wanted = {"PQual": 0, "PDT": 0, "RMB": removable, "HiSUP": 1, "TPGS": tpgs, "3PC": 1, "CmdQue": 1}
        assert {name: int(bits[name]) for name in wanted} == wanted
        assert bits["version"] == "0x06"
    rig.good("sg_inq --descriptors {A}", "SAM-5", "SPC-4", "SBC-3")


def test_vpd_pages(rig: Rig) -> None:
    """Each page that is listed is read by both programs without a complaint, and says what the tree says."""
    listed = rig.units["A"].good(scsi.inquiry(page=0), 255)[4:]
    assert list(listed) == sorted(lines.PAGES)
    folder = rig.devices["A"].path / "id"
    known = {
        "serial": tree.read(folder / "serial"),
        "naa": tree.read(folder / "naa"),
        "port": rig.numbers()[0],
    }
    for page, says in lines.PAGES.items():
        done = rig.good(f"sg_vpd --page={page:#x} {{A}}", *(text.format(**known) for text in says))
        assert not re.search(NONSENSE, done.text), done
        # Its own words: it has no decoding of 8Fh and B2h, and sg_vpd has.
        other = rig.good(f"sg_inq --page={page:#x} {{A}}")
        assert not re.search(NONSENSE, other.text), other
        assert ("Only hex output supported" in other.text) == (page in (0x8F, 0xB2)), other
    every = rig.good("sg_vpd --all {A}").text
    assert len(re.findall(r"VPD page( \(SBC\))?:$", every, re.M)) == len(lines.PAGES), every
    rig.good("sg_vpd --page=lbpv {B}", "\\(LBPU\\): 0", "\\(LBPWS\\): 0", "Provisioning type: 0 ")
    rig.good("sg_vpd --page=bl {B}", "Maximum unmap LBA count: 0 ")


# --- mode pages ---


def mode_pages(text: str) -> dict[str, bytes]:
    """What sg_modes prints of each page, by its name."""
    found = {}
    for name, dump in re.findall(r"^>> (.*?), page_control: .*\n((?: [0-9a-f]+ .*\n?)+)", text, re.M):
        rows = (line[4:].split() for line in dump.splitlines())
        found[name] = bytes(int(byte, 16) for row in rows for byte in row)
    return found


def mask(name: str) -> bytes:
    """Which bits of a page can be changed."""
    page = lines.MODES[name]
    head = 4 if page[0] & 0x40 else 2
    bits = lines.CHANGEABLE.get(name, {})
    return page[:head] + bytes(bits.get(at, 0) for at in range(head, len(page)))


def test_mode_pages(rig: Rig) -> None:
    """Current, changeable, default values, by both commands and both forms of the descriptor."""
    plain = {name: page for name, page in lines.MODES.items() if not page[0] & 0x40}
    for option in ("", "--six ", "--llbaa "):
        done = rig.good(f"sg_modes {option}--all {{A}}", "WP=0, DpoFua=1", f"longlba={int('ll' in option)}")
        assert mode_pages(done.text) == plain, done
        dump = f"{BLOCKS:016x}{0:08x}{BLOCK:08x}" if "ll" in option else f"{BLOCKS:08x}{BLOCK:08x}"
        assert dump in re.sub(r"(?m)^ [0-9a-f]{2} |\s", "", done.text), done
        assert done.of((0x1A,) if "six" in option else (0x5A,))
    for control, wanted in (
        (0, lines.MODES),
        (1, {name: mask(name) for name in lines.MODES}),
        (2, lines.MODES),
    ):
        done = rig.good(f"sg_modes --page=0x3f,0xff --control={control} {{A}}")
        assert mode_pages(done.text) == wanted, done
    shown = rig.good("sginfo -a {A}").text
    assert re.search(r"Write Cache Enabled\s+1$", shown, re.M), shown
    assert re.search(r"Queue Algorithm Modifier\s+1$", shown, re.M), shown


def test_modes_are_found_by_asking(rig: Rig) -> None:
    """One by one. Its status is that of the last page, which is not there (sg_modes.c: examine_pages())."""
    done = rig.run("sg_modes --examine {A}")
    assert done.status == sg3.ILLEGAL
    named = {name for name, page in lines.MODES.items() if not page[0] & 0x40}
    shown = done.text.partition("Discovered mode pages:\n")[2].splitlines()
    assert {line.strip() for line in shown} == named


def test_mode_select(rig: Rig) -> None:
    """What is written is read, and told to all others."""
    for row, value in zip(lines.MODE_SELECTS, (0, 4), strict=True):
        row.check(rig)
        assert mode_pages(rig.good("sg_modes --page=8 {A}").text)["Caching"][2] == value
        assert rig.units["A2"].attentions() == [scsi.MODE_CHANGED]
        assert rig.units["A"].attentions() == []


def test_log_pages(rig: Rig) -> None:
    """All that are listed are decoded."""
    done = rig.good(
        "sg_logs --All {A}", "0x00,0xff Supported log pages and subpages", "IE asc = 0x0, ascq = 0x0"
    )
    assert not re.search(NONSENSE, done.text), done
    assert len(re.findall(r"^(?:Supported|Logical block|Informational).*\[0x", done.text, re.M)) == 4, done


# --- what is told of commands ---


# What a name of a command is not.
NAMELESS = r"Opcode=|[Uu]nknown|[Rr]eserved|[Vv]endor"
# Bytes of a CDB, by the group of its opcode.
LENGTHS = {0: 6, 1: 10, 2: 10, 4: 16, 5: 12}


def op_of(opcode: str, action: str) -> Op:
    """As sg_opcodes prints them."""
    return (int(opcode, 16), int(action, 16)) if action else (int(opcode, 16),)


def test_opcodes(rig: Rig) -> None:
    """All of them, with names that the tool knows, lengths, no time promised, and bits of each."""
    for unit in ("A", "B", "R"):
        listed = rig.listed(unit)
        for option in ("", "--rctd "):
            text = rig.good(f"sg_opcodes {option} {{{unit}}}").text
            rows = re.findall(
                r"^ ([0-9a-f]{2}) {2,}(?:([0-9a-f]{1,2}) +)?(\d+) +(?:0,0|- +-) +(.*)$", text, re.M
            )
            assert {op_of(*row[:2]) for row in rows} == listed, text
            assert all(int(length) == LENGTHS[int(opcode, 16) >> 5] for opcode, _, length, _ in rows), text
            assert not [name for *_, name in rows if re.search(NAMELESS, name)], text
    text = rig.good("sg_opcodes --mask {A}").text
    masks = {
        tuple(bytes.fromhex(found)) for found in re.findall(r"cdb usage: ((?:[0-9a-f]{2} ?)+)$", text, re.M)
    }
    assert len(masks) == len(rig.listed()), text


# No time is promised for any of them.
UNTIMED = {f"{name}TS=0" for name in ("AT", "ATS", "CACA", "CTS", "LUR", "QT", "QAE", "QTS", "ITNR")}
# By byte and bit of the answer.
FUNCTIONS = {
    (0, 7): "abort task",
    (0, 6): "abort task set",
    (0, 5): "clear aca",
    (0, 4): "clear task set",
    (0, 3): "logical unit reset",
    (0, 2): "query task",
    (0, 1): "target reset",
    (1, 2): "query asynchronous event",
    (1, 1): "query task set",
    (1, 0): "i_t nexus reset",
}


def test_task_management_functions(rig: Rig) -> None:
    """Those there are, by their names."""
    bits = rig.units["A"].good(scsi.report_tmfs(), 16)
    wanted = {name for (byte, bit), name in FUNCTIONS.items() if bits[byte] >> bit & 1}
    assert len(wanted) >= 8
    for option in ("", "--repd "):
        text = rig.good(f"sg_opcodes --tmf {option} {{A}}").text
        names = re.findall(r"^    ([A-Z]\w+ \w[\w ]*?)(?: \(obsolete\))?$", text, re.M)
        assert {name.lower() for name in names} == wanted, text
        assert set(re.findall(r"\w+TS=\d|timeout: \d+", text)) <= {*UNTIMED, "timeout: 0"}, text


# --- sequences ---


@pytest.mark.parametrize(
    "rows",
    [lines.TIMESTAMP, lines.OPCODES, lines.IDENT, lines.BUFFERS, lines.MEDIUM],
    ids=["timestamp", "opcodes", "ident", "buffers", "medium"],
)
def test_one_after_the_other(rig: Rig, rows: tuple[Row, ...]) -> None:
    """What one changes, the next finds."""
    for row in rows:
        row.check(rig)


@pytest.mark.parametrize("reset", lines.RESETS, ids=lambda reset: reset[0])
def test_resets(rig: Rig, reset: tuple[str, ...]) -> None:
    """Everybody who sees one of the units is told, once."""
    words, *told = reset
    rig.good(words)
    attentions = {name: unit.attentions() for name, unit in rig.units.items()}
    assert attentions == {name: [scsi.RESET] if name in told else [] for name in rig.units}


# --- target port groups ---


def groups(text: str) -> list[tuple[int, bool, str, list[int]]]:
    """What sg_rtpg has printed: group, preferred, state, ports."""
    found = []
    for part in text.split("target port group id : ")[1:]:
        group, preferred = re.findall(r"^(0x\w+) , Pref=(\d)", part)[0]
        state = re.findall(r"access state : \S+ \((.*?)\)", part)[0]
        ports = [int(port, 16) for port in re.findall(r"^\s+(0x\w+)$", part, re.M)]
        found.append(
            (int(group, 16), preferred == "1", state.replace("non optimized", "non-optimized"), ports)
        )
    return found


def test_target_port_groups(rig: Rig) -> None:
    """sg_rtpg prints what the tree says, through both ports and with both headers; sg_stpg changes it."""
    tpgs = [alua.Tpg(rig.group.path / "target_port_groups" / target.name) for target in rig.targets]
    tpgs[1].set("preferred", True)
    tree.write(rig.group.path / "transition_time", 7)
    rig.quiet()
    for row in lines.ALUA:
        row.check(rig)
        states = [tpg.state for tpg in tpgs]
        if "stpg" in row.words:
            names = {"s": alua.STANDBY, "an": alua.NONOPTIMIZED, "ao": alua.OPTIMIZED, "u": alua.UNAVAILABLE}
            assert states == [names[word] for word in row.words.split("=")[2].split()[0].split(",")]
        for words in ("sg_rtpg --decode {A}", "sg_rtpg --decode --extended {A2}"):
            rig.quiet()
            done = rig.good(words)
            one, two = rig.numbers()
            assert groups(done.text) == [(10, False, states[0], [one]), (20, True, states[1], [two])], done
            assert ("Implicit transition time: 7" in done.text) == ("extended" in words), done
    tpgs[1].set("preferred", False)


# --- persistent reservations ---


def test_persistent_reservations(rig: Rig) -> None:
    """Two initiators, each by its port, through all service actions."""
    for row in lines.RESERVATIONS:
        row.check(rig)


def test_types_of_reservations(rig: Rig) -> None:
    """What who is not registered may do beside each; it is named; and it can be released."""
    rig.good("sg_persist --no-inquiry --out --register-ignore --param-sark=1 {A}")
    for number, name in lines.TYPES.items():
        rig.good(f"sg_persist --no-inquiry --out --reserve --param-rk=1 --prout-type={number} {{A}}")
        rig.good("sg_persist --no-inquiry --read-reservation {A2}", f"scope: LU_SCOPE, type: {name}$")
        reads = rig.run("sg_raw -r 512 {A2} 28 00 00 00 00 00 00 00 01 00")
        writes = rig.run("sg_raw -s 512 -i {T}/x {A2} 2a 00 00 00 00 00 00 00 01 00")
        assert reads.status == (0 if "Write" in name else sg3.CONFLICT), reads
        assert writes.status == sg3.CONFLICT, writes
        rig.good(f"sg_persist --no-inquiry --out --release --param-rk=1 --prout-type={number} {{A}}")
    rig.good("sg_persist --no-inquiry --out --clear --param-rk=1 {A}")


# --- all of it ---


def test_every_command_has_a_line(rig: Rig) -> None:
    """What REPORT SUPPORTED OPERATION CODES tells of is in the tables, command by command."""
    tried = {row.op for table in lines.ALL for row in table}
    listed = rig.listed("A") | rig.listed("B") | rig.listed("R")
    # COPY OPERATION ABORT has nothing to end here but what is in WRONG: see test_copy_token_stop.py.
    assert listed - tried == {(0x83, 0x1C)} <= {row.op for row in lines.WRONG}


def test_no_program_is_left_out() -> None:
    """What the packages have installed is in the tables, or is named with a reason."""
    installed = {
        Path(line).name
        for package in ("sg3-utils", "ddpt")
        for line in Path(f"/var/lib/dpkg/info/{package}.list").read_text().splitlines()
        if "/bin/" in line
    }
    text = Path(__file__).read_text() + Path(lines.__file__).read_text()
    used = set(re.findall(r'"(\w+) [^"]*\{', text))
    assert {"sg_inq", "ddpt"} <= installed
    assert installed - used == set(lines.ELSEWHERE)
