# SPDX-License-Identifier: GPL-2.0-or-later
"""What reads bytes for persistent reservations (kmod/core/pr-parse.c, transport-id.c, pr-record.c), built
with AddressSanitizer and UndefinedBehaviorSanitizer and fed with inputs of all lengths, beside a reader that
was written from the standard.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS
from tests.model.pr import Action, Command, Nexus, Sense
from tests.model.transport_id import FIBRE_CHANNEL, SAS, SRP, fixed, iscsi, parse, refusal
from tests.unit.pr_kernel import Kernel, State, resealed, to_nexus, wire

SEED = int(os.environ.get("SCST_SEED", "20261126"))
INPUTS = int(os.environ.get("SCST_PR_INPUTS", "30000"))
NONE, WHOLE, TORN, DAMAGED, NEWER = range(5)
LIKELY = (0, 1, 4, 5, 0x2C, 0x45, 0xFF)
LENGTHS = (*range(64), 100, 244, 248, 252, 255, 256, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 28, 2**32 - 1)
IDS = (
    fixed(FIBRE_CHANNEL, bytes.fromhex("2100001b32000001")),
    fixed(SAS, bytes.fromhex("5000c50012345678")),
    fixed(SRP, bytes(range(16))),
    iscsi("iqn.2026-11.test:a"),
    iscsi("iqn.2026-11.test:b", "23d000000001"),
    iscsi("iqn.2026-11.test:" + "c" * 206, "ffffffffffff"),
)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("pr") / "driver"
    return next(one for one in TARGETS if one.name == "reservations").build_replay(program)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    return Kernel(tmp_path_factory.mktemp("pr"))


def run(driver: Path, inputs: Iterable[bytes]) -> list[str]:
    """What the driver says of each input."""
    data = b"".join(len(one).to_bytes(4, "little") + one for one in inputs)
    done = subprocess.run([driver], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-4000:]
    return done.stdout.decode().splitlines()


def expected(data: bytes) -> str:
    """What it should say, but for the record."""
    found = parse(data)
    line = f"{len(data)} id {found[1]} {found[0].hex()}" if found else f"{len(data)} id 0 "
    return line + list_line(data[:10], data[10:]) if len(data) >= 10 else line


def list_line(cdb: bytes, data: bytes) -> str:
    """Of a CDB and its parameter list."""
    action = cdb[1] & 0x1F
    sense = refusal(action, data) if action < 9 else Sense(0x052400, True, 1, 4)
    if sense is not None:
        return f" refused {sense.code:06x} {sense.in_cdb:d} {sense.byte} {sense.bit}"
    return f" ids {number_of_ids(action, data)}"


def number_of_ids(action: int, data: bytes) -> int:
    """TransportIDs in a list that is right."""
    if action == Action.REGISTER_AND_MOVE:
        return 1
    if not data[20] & 8:
        return 0
    rest, number = data[28 : 28 + int.from_bytes(data[24:28], "big")], 0
    while rest:
        found = parse(rest)
        assert found is not None
        rest, number = rest[found[1] :], number + 1
    return number


def without_record(line: str) -> str:
    """A line of the driver without " record N"."""
    before, _, after = line.partition(" record ")
    return before + after[1:]


def compare(driver: Path, inputs: list[bytes]) -> Counter[str]:
    """Each input is read as the standard says; counts what came of them."""
    seen: Counter[str] = Counter()
    for data, line in zip(inputs, run(driver, inputs), strict=True):
        found = without_record(line)
        assert found == expected(data), data.hex()
        words = found.split(" id ")[1].split()
        seen["a TransportID" if words[0] != "0" else "no TransportID"] += 1
        seen["refused " + words[words.index("refused") + 1] if "refused" in words else "taken"] += 1
    return seen


def good(source: random.Random) -> bytes:
    """CDB and parameter list of some command."""
    action = source.choice((*Action, Action.REGISTER, Action.REGISTER, Action.REGISTER_AND_MOVE))
    spec_i_pt = action == Action.REGISTER and source.random() < 0.8
    ids = tuple(source.choices(IDS, k=source.randrange(5))) if spec_i_pt else ()
    if action == Action.REGISTER_AND_MOVE:
        ids = (source.choice(IDS),)
    command = Command(
        action,
        type=source.randrange(16),
        key=source.randrange(3),
        sa_key=source.randrange(3),
        aptpl=source.random() < 0.5,
        all_tg_pt=source.random() < 0.5,
        spec_i_pt=spec_i_pt,
        transport_ids=ids,
        port=source.randrange(4),
    )
    cdb, data = wire(command)
    return cdb + data


def spoiled(source: random.Random, data: bytes) -> bytes:
    """Some bytes changed, cut off, put in, or moved."""
    changed = bytearray(data)
    for _ in range(source.randrange(4)):
        at = source.randrange(len(changed) + 1)
        way = source.randrange(5)
        if way == 0 and changed:
            changed[min(at, len(changed) - 1)] = source.choice((*LIKELY, source.randrange(256)))
        elif way == 1:
            del changed[at:]
        elif way == 2:
            changed[at:at] = source.randbytes(source.randrange(1, 40))
        elif way == 3:
            del changed[at : at + source.randrange(1, 30)]
        else:
            changed += source.choice(IDS)[: source.randrange(40)]
    return bytes(changed)


def inputs_from(source: random.Random) -> Iterator[bytes]:
    """Commands and TransportIDs, spoiled; and noise."""
    while True:
        yield spoiled(source, good(source))
        yield spoiled(source, source.choice(IDS))
        yield source.randbytes(source.randrange(80))


def test_anything_at_all(driver: Path) -> None:
    """Nothing is read behind the end of anything, and what is read is what the standard says."""
    source = random.Random(SEED)
    stream = inputs_from(source)
    seen = compare(driver, [next(stream) for _ in range(INPUTS)])
    print(f"\nseed {SEED}: {INPUTS} inputs: {dict(sorted(seen.items()))}")
    assert {"refused 051a00", "refused 052400", "refused 052600"} <= seen.keys()
    assert seen["taken"] > INPUTS / 20
    assert seen["a TransportID"] > INPUTS / 10


@pytest.mark.parametrize("action", list(Action))
def test_every_length(driver: Path, action: Action) -> None:
    """Each command cut off at each byte, and with bytes behind it."""
    ids = IDS[:1] if action == Action.REGISTER_AND_MOVE else IDS if action == Action.REGISTER else ()
    command = Command(action, spec_i_pt=action == Action.REGISTER, transport_ids=ids, type=1, sa_key=1)
    cdb, data = wire(command)
    whole = cdb + data
    compare(driver, [whole[:cut] for cut in range(len(whole) + 1)] + [whole + bytes(n) for n in range(1, 9)])


def test_lengths_that_lie(driver: Path) -> None:
    """Every value of a length, from too short to far beyond what there is."""
    inputs = []
    for at, action in ((24, Action.REGISTER), (20, Action.REGISTER_AND_MOVE)):
        for transport_id in IDS:
            command = Command(action, spec_i_pt=action == Action.REGISTER, transport_ids=(transport_id,))
            cdb, data = wire(command)
            inputs += [cdb + data[:at] + lie.to_bytes(4, "big") + data[at + 4 :] for lie in LENGTHS]
    for one in IDS[3:]:
        inputs += [one[:2] + lie.to_bytes(2, "big") + one[4:] for lie in range(0, 0x10000, 3)]
    compare(driver, inputs)


def test_more_than_there_may_be(driver: Path) -> None:
    """1,024 TransportIDs are read, and not one more: nobody keeps a CPU busy with a list."""
    inputs = []
    for number in (1023, 1024, 1025, 5000):
        cdb, data = wire(Command(Action.REGISTER, spec_i_pt=True, transport_ids=IDS[:1] * number))
        inputs.append(cdb + data)
    seen = compare(driver, inputs)
    assert (seen["taken"], seen["refused 055504"]) == (2, 2)


def verdicts(driver: Path, inputs: list[bytes]) -> list[int]:
    """What the driver says of records."""
    return [int(line.partition(" record ")[2].split()[0]) for line in run(driver, inputs)]


def test_records(driver: Path, kernel: Kernel) -> None:
    """Cut off, or with a lie and a right checksum: nothing is read or written behind anything."""
    record = kernel.encode(state_of(30), 1, b"owner")
    assert verdicts(driver, [record, record + bytes(5)]) == [WHOLE, WHOLE]
    assert set(verdicts(driver, [record[:size] for size in range(1, len(record))])) == {TORN}
    inputs = list(lies(record))
    seen = Counter(verdicts(driver, inputs))
    print(f"\n{len(inputs)} records that lie: {dict(seen)}")
    assert seen[DAMAGED] > 100
    assert seen[NONE] == 0


def lies(record: bytes) -> Iterator[bytes]:
    """A record of 30 registrants with another length or number somewhere."""
    first = 44 + 8 + 10
    for at, size in ((12, 4), (32, 4), (36, 4), (42, 2), *((first + n * 36, 2) for n in range(30))):
        was = int.from_bytes(record[at : at + size], "big")
        for lie in sorted({was + n for n in (-36, -12, -4, -1, 1, 4, 8, 12, 36)} | set(LENGTHS)):
            if 0 <= lie < 1 << 8 * size and lie != was:
                yield resealed(record, at, lie.to_bytes(size, "big"))
    for number in range(1, 30):
        fewer = resealed(record, 32, number.to_bytes(4, "big"))
        rest = 24 + 36 * (30 - number)
        yield resealed(fewer, first + (number - 1) * 36, rest.to_bytes(2, "big"))


def state_of(number: int) -> State:
    """So many registrants with TransportIDs of one length."""
    state = State(number)
    state.head.nr = number
    for n, entry in enumerate(state.registrants):
        entry.key, entry.nexus = n + 1, to_nexus(Nexus(IDS[0], n))
    return state


def test_spellings_of_one_port() -> None:
    """Case, padding and leading zeroes of an ISID make no other port."""
    one = iscsi("iqn.2026-11.test:b", "23d000000001")
    text = b"IQN.2026-11.test:B,I,0x23D000000001\0"
    padded = text.ljust(60, b"\0")
    assert parse(bytes([0x45, 0, 0, 60]) + padded) == (one, 64)
    short = b"iqn.2026-11.test:b,i,0x1\0".ljust(28, b"\xee")
    assert parse(bytes([0x45, 0, 0, 28]) + short) == (iscsi("iqn.2026-11.test:b", "000000000001"), 32)


def test_spellings_are_one_to_the_kernel(driver: Path) -> None:
    """... to the kernel, too; and what is not a name is none."""
    texts = [
        (0x45, b"IQN.2026-11.test:B,I,0x23D000000001\0"),
        (0x45, b"iqn.2026-11.test:b,i,0x1\0"),
        (0x45, b"iqn.2026-11.test:b,i,0x\0"),
        (0x45, b"iqn.2026-11.test:b\0"),
        (0x05, b"iqn.2026-11.test:b,i,0x\0"),
        (0x05, b"iqn.2026-11.test:b,i,0x1\0"),
        (0x05, b"iqn.2026-11.test:\xc4\0"),
        (0x05, b"\0"),
        (0x45, b",i,0x123\0"),
        (0x45, b"a,i,0x1234567890abc\0"),
        (0x45, b"a,i,0x12345,i,0x67\0"),
        (0x05, b"a\x1fb\0"),
        (0x85, b"iqn.2026-11.test:b\0"),
        (0x05, b"n" * 223 + b"\0"),
        (0x05, b"n" * 224 + b"\0"),
    ]
    inputs = []
    for first, text in texts:
        room = max(20, -(-len(text) // 4) * 4)
        for more in (0, 4, 100):
            body = text.ljust(room + more, b"\0")
            inputs.append(bytes([first, 0]) + len(body).to_bytes(2, "big") + body)
    compare(driver, inputs)


def test_names_become_what_is_read(kernel: Kernel) -> None:
    """The TransportID of a port known by its name only is the one that a parameter list has."""
    numbers = ["21:00:00:1b:32:00:00:01", "0x" + "ab" * 16, "eui.0123456789abcdef"]
    for name in (*numbers, "iqn.2026-11.test:a", "web 1", "x" * 223):
        for protocol in (0x5, 0xF):
            made = kernel.default_id(protocol, name)
            assert parse(made) == (made, len(made)), (name, protocol)
    for protocol, name in ((FIBRE_CHANNEL, numbers[0]), (SAS, numbers[0]), (SRP, numbers[1])):
        made = kernel.default_id(protocol, name)
        assert made[0] == protocol
        assert parse(made) == (made, 24)
