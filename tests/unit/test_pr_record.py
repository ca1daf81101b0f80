# SPDX-License-Identifier: GPL-2.0-or-later
"""The record of persistent reservations (kmod/core/pr-record.c): what was written comes back, and what was
not, or not whole, is told apart, wherever the writing stopped and whatever changed since.
"""

from __future__ import annotations

import ctypes
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model.pr import Nexus, Type
from tests.model.transport_id import FIBRE_CHANNEL, SAS, SRP, fixed, iscsi
from tests.unit import pr_kernel
from tests.unit.pr_kernel import TRAILER, Kernel, State, resealed

NONE, WHOLE, TORN, DAMAGED, NEWER = range(5)
HEADER, END = 28, 8
SECTOR = 512
OWNER = b"naa.600140512345678"
IDS = (
    fixed(FIBRE_CHANNEL, bytes(range(8))),
    fixed(SAS, bytes(range(8, 16))),
    fixed(SRP, bytes(range(16))),
    iscsi("iqn.2026-11.test:a"),
    iscsi("iqn.2026-11.test:" + "b" * 200, "23d000000001"),
)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    return Kernel(tmp_path_factory.mktemp("pr"))


def made(keys: dict[Nexus, int], kind: int = 0, holder: int = pr_kernel.NOBODY, generation: int = 0) -> State:
    """A state."""
    state = State(len(keys))
    state.head.nr, state.head.type, state.head.holder = len(keys), kind, holder
    state.head.generation = generation
    for entry, (nexus, key) in zip(state.registrants, keys.items(), strict=True):
        entry.key, entry.nexus = key, pr_kernel.to_nexus(nexus)
    return state


def identify(state: State, ident: bytes, text: bytes) -> State:
    """Give it identifying information."""
    for at, (field, data) in enumerate(((state.head.ident, ident), (state.head.ident_text, text))):
        state.head.ident_len[at] = len(data)
        ctypes.memmove(field, data, len(data))
    return state


def of(number: int, kind: int = Type.EXCLUSIVE_ACCESS) -> State:
    """A state of so many registrants, the last of whom has reserved."""
    keys = {Nexus(IDS[n % len(IDS)], n): n + 1 for n in range(number)}
    return made(keys, kind if number else 0, number - 1 if number else pr_kernel.NOBODY, 77)


@st.composite
def states(draw: st.DrawFn) -> State:
    nexuses = st.builds(Nexus, st.sampled_from(IDS), st.integers(0, 65535))
    keys = draw(st.dictionaries(nexuses, st.integers(1, 2**64 - 1), max_size=6))
    kind = draw(st.sampled_from((0, *Type))) if keys else 0
    alone = kind and kind < Type.WRITE_EXCLUSIVE_ALL_REGISTRANTS
    holder = draw(st.integers(0, len(keys) - 1)) if alone else pr_kernel.NOBODY
    state = made(keys, kind, holder, draw(st.integers(0, 2**32 - 1)))
    state.head.aptpl = draw(st.booleans())
    state.head.lost = not keys and draw(st.booleans())
    if draw(st.booleans()):
        identify(state, draw(st.binary(max_size=64)), draw(st.binary(max_size=256)))
    state.head.undone = draw(st.integers(0, 3))
    return state


@given(states(), st.integers(1, 2**64 - 1), st.binary(max_size=64), st.binary(max_size=64))
def test_there_and_back(kernel: Kernel, state: State, sequence: int, owner: bytes, behind: bytes) -> None:
    """Every state, whatever is behind it on the medium."""
    record = kernel.encode(state, sequence, owner)
    found, info = kernel.check(record + behind)
    assert found == WHOLE
    assert (info.sequence, info.nr, info.length) == (sequence, state.head.nr, len(record))
    assert bytes(info.owner[: info.owner_len]) == owner
    assert kernel.decode(record + behind, info.nr).memory.raw == state.memory.raw


def test_crc_is_that_of_iscsi(kernel: Kernel) -> None:
    """The examples of RFC 3720 B.4."""
    crc = kernel.lib.scst_crc32c
    assert crc(0, b"123456789", 9) == 0xE3069283
    assert crc(0, bytes(32), 32) == 0x8A9136AA
    assert crc(0, b"\xff" * 32, 32) == 0x62A8AB43
    assert crc(0, bytes(range(32)), 32) == 0x46DD794E
    assert crc(crc(0, b"1234", 4), b"56789", 5) == 0xE3069283


def test_layout_stays(kernel: Kernel) -> None:
    """Version 1, byte by byte: what is on somebody's disk must be read for ever."""
    state = made({Nexus(IDS[0], 0x0102): 0x1122334455667788}, Type.WRITE_EXCLUSIVE, 0, 9)
    state.head.aptpl = True
    record = kernel.encode(state, 5, b"ab")
    words = """
        534353542d50520a 0001 0000 00000060 0000000000000005 4effa088
        00000009 00000001 00000000 01 01 0002 61620000
        1122334455667788 0102 0018 000000000000000000010203040506070000000000000000
        4c89a94d 0000000000000005
    """
    assert record.hex() == "".join(words.split())


def test_layout_with_identifying_information(kernel: Kernel) -> None:
    """Version 2, which is written only where there is any; of a state without registrants here."""
    record = kernel.encode(identify(made({}), b"id", b"a text"), 5, b"")
    words = """
        534353542d50520a 0002 0000 00000044 0000000000000005
        00000000 00000000 ffffffff 00 00 0000
        0002 0006 6964 612074657874
    """
    assert record[:24].hex() + record[28:-TRAILER].hex() == "".join(words.split())
    assert kernel.check(record)[0] == WHOLE
    assert kernel.encode(identify(made({}), b"", b""), 5, b"") == kernel.encode(made({}), 5, b"")
    for at, value in ((44, "0003"), (44, "0001"), (46, "0007"), (46, "0101"), (44, "0041"), (44, "00000000")):
        assert kernel.check(resealed(record, at, bytes.fromhex(value)))[0] == DAMAGED


def test_layout_with_something_undone(kernel: Kernel) -> None:
    """Version 3, which is written only where there is; an earlier module does not take it for less."""
    state = made({})
    state.head.undone = 2
    record = kernel.encode(state, 5, b"")
    words = """
        534353542d50520a 0003 0000 00000040 0000000000000005
        00000000 00000000 ffffffff 00 00 0000
        0000 0000 00000002
    """
    assert record[:24].hex() + record[28:-TRAILER].hex() == "".join(words.split())
    for at, value in ((48, "00000000"), (48, "00000004"), (48, "01000002"), (44, "0001"), (46, "0001")):
        assert kernel.check(resealed(record, at, bytes.fromhex(value)))[0] == DAMAGED
    assert kernel.check(resealed(record, 8, b"\0\2"))[0] == DAMAGED
    record = kernel.encode(identify(state, b"id", b"a text"), 5, b"")
    assert record[44:-TRAILER].hex() == "00020006" + b"ida text".hex() + "00000002"
    found = kernel.decode(record, 0).head
    assert (found.undone, list(found.ident_len)) == (2, [2, 6])


def test_torn_at_each_byte(kernel: Kernel) -> None:
    """A file that ends too early, on empty ground, on zeroes, and over the records before it."""
    seen: Counter[str] = Counter()
    for number in (0, 1, 3):
        new = kernel.encode(of(number), 1000, OWNER)
        older = [kernel.encode(of(n), 999, OWNER) for n in (0, 1, 3, 5)]
        for cut in range(len(new)):
            assert kernel.check(new[:cut])[0] == (TORN if cut else NONE), cut
            for old in (bytes(len(new)), *older):
                seen[told(kernel, new, old, cut)] += 1
    print(f"\n{sum(seen.values())} records written over others: {dict(seen)}")
    assert seen["torn"] > 1000


def told(kernel: Kernel, new: bytes, old: bytes, cut: int) -> str:
    """What is left when the writing of *new* over *old* stops at a byte."""
    mixed = new[:cut] + old[cut:]
    found, info = kernel.check(mixed)
    if found == WHOLE:
        assert mixed[: info.length] in (new, old), "a record that nobody wrote"
        return "the new one" if mixed[: info.length] == new else "the old one"
    if found == NONE:
        assert not any(mixed)
        return "none"
    # In the first bytes a mixture has neither's checksum, and who can say whose it is.
    assert found == TORN if cut >= HEADER else found in (TORN, DAMAGED)
    return "torn" if found == TORN else "damaged"


def some_sectors(old: bytes, new: bytes, chosen: random.Random) -> bytes:
    """What a disk may have that was to have the one instead of the other, when it loses power."""
    size = max(len(old), len(new))
    whole, wanted = bytearray(old.ljust(size, b"\0")), new.ljust(size, b"\0")
    for at in range(0, size, SECTOR):
        if chosen.random() < 0.5:
            whole[at : at + SECTOR] = wanted[at : at + SECTOR]
    return bytes(whole)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(2**32, 2**63), st.randoms(use_true_random=False))
def test_written_in_three_steps(
    kernel: Kernel, before: int, now: int, sequence: int, chosen: random.Random
) -> None:
    """As kmod/core/pr-file.c does: whichever sectors of a step are there, it is torn, or whole."""
    old = kernel.encode(of(before), sequence, OWNER)
    new = kernel.encode(of(now), sequence + 2, OWNER)
    slot = old
    for cut in (HEADER, len(new) - END, len(new)):
        step = new[:cut] + slot[cut:]
        told, info = kernel.check(some_sectors(slot, step, chosen))
        if cut == HEADER:
            assert told == TORN or info.sequence == sequence
        else:
            assert told == TORN or info.sequence == sequence + 2
        assert told in (TORN, WHOLE)
        slot = step
    assert kernel.check(slot)[0] == WHOLE


def test_written_at_once_it_may_be_damaged(kernel: Kernel) -> None:
    """Why it is done in steps."""
    states = (made({Nexus(IDS[0], port): port + more for port in range(30)}) for more in (100, 200))
    old, new = (kernel.encode(state, 2**40 + number, OWNER) for number, state in enumerate(states))
    chosen = random.Random(1)
    assert DAMAGED in {kernel.check(some_sectors(old, new, chosen))[0] for _ in range(100)}


def test_a_lost_beginning(kernel: Kernel) -> None:
    """Disks write sectors in any order: a first one that was not written, before one that was."""
    record = kernel.encode(of(10), 1, OWNER)
    assert len(record) > 512
    assert kernel.check(bytes(512) + record[512:])[0] == TORN


def test_each_bit(kernel: Kernel) -> None:
    """One bit that has changed is found, wherever it is."""
    record = kernel.encode(of(3), 0x0101010101010101, OWNER)
    seen: Counter[int] = Counter()
    for bit in range(8 * len(record)):
        changed = bytearray(record)
        changed[bit // 8] ^= 1 << bit % 8
        found, info = kernel.check(bytes(changed))
        seen[found] += 1
        assert found in (DAMAGED, TORN)
        assert info.length == 0
    print(f"\n{8 * len(record)} bits: {seen[DAMAGED]} damaged, {seen[TORN]} torn (the last 8 bytes)")
    assert seen[TORN] == 64


def test_versions(kernel: Kernel) -> None:
    """Of a newer one nothing but that is believed."""
    record = kernel.encode(of(2), 3, OWNER)
    assert resealed(record, 8, b"\0\1") == record
    assert kernel.check(resealed(record, 8, b"\0\4"))[0] == NEWER
    assert kernel.check(resealed(record, 8, b"\0\2"))[0] == DAMAGED, "it has no identifying information"
    assert kernel.check(resealed(record, 8, b"\0\3"))[0] == DAMAGED, "nothing is undone"
    assert kernel.check(resealed(record, 8, b"\xff\xff") + bytes(9))[0] == NEWER
    assert kernel.check(resealed(record, 8, b"\0\4")[:HEADER])[0] == NEWER
    assert kernel.check(resealed(record, 8, b"\0\0"))[0] == DAMAGED


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (32, "00000001"),  # fewer registrants than there are
        (32, "00000003"),
        (32, "ffffffff"),
        (42, "0041"),  # an owner that is too long
        (42, "0000"),
        (16, "0000000000000000"),
        (12, "00000000"),
        (12, "00000037"),
    ],
)
def test_what_cannot_be_is_damaged(kernel: Kernel, at: int, value: str) -> None:
    """With a checksum that is right: somebody has written nonsense."""
    record = bytearray(kernel.encode(of(2), 3, OWNER))
    if at == 16:
        record[-8:] = bytes(8)
    assert kernel.check(resealed(bytes(record), at, bytes.fromhex(value)))[0] in (DAMAGED, TORN)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (36, "00000002"),  # a holder that is none
        (36, "ffffffff"),
        (40, "00"),  # a holder of nothing
        (40, "02"),
        (40, "07"),  # all registrants, and one holder
        (41, "02"),  # lost, and somebody is registered
        (64, "0000000000000000"),  # no key
    ],
)
def test_states_that_cannot_be(kernel: Kernel, at: int, value: str) -> None:
    """A whole record of them is refused, and leaves nothing."""
    record = resealed(kernel.encode(of(2), 3, OWNER), at, bytes.fromhex(value))
    assert kernel.check(record)[0] == WHOLE
    with pytest.raises(OSError, match="EBADMSG"):
        kernel.decode(record, 2)


def test_twice_the_same(kernel: Kernel) -> None:
    """One I_T nexus cannot be registered twice."""
    keys = {Nexus(IDS[0], 1): 1, Nexus(IDS[0], 2): 1}
    record = kernel.encode(made(keys), 1, b"")
    second = 44 + 36 + 8
    assert record[second : second + 2] == b"\0\2"
    with pytest.raises(OSError, match="EBADMSG"):
        kernel.decode(resealed(record, second, b"\0\1"), 2)


def test_too_little_room(kernel: Kernel) -> None:
    record = kernel.encode(of(3), 1, b"")
    with pytest.raises(OSError, match="ENOMEM"):
        kernel.decode(record, 2)
    assert kernel.decode(record, 3).head.nr == 3


def test_what_cannot_be_written(kernel: Kernel) -> None:
    """Too little memory, no sequence number, too long an owner."""
    state, buffer = of(1), ctypes.create_string_buffer(4096)
    size = kernel.lib.scst_pr_record_size(state.memory, 0)
    encode = kernel.lib.scst_pr_record_encode
    for sequence, owner, room in ((1, 0, size - 1), (0, 0, 4096), (1, 65, 4096)):
        args = (state.memory, ctypes.c_uint64(sequence), bytes(owner), owner, buffer, room)
        assert encode(*args) == 0
    assert encode(state.memory, ctypes.c_uint64(1), b"", 0, buffer, size) == size


def test_as_many_as_there_may_be(kernel: Kernel) -> None:
    """1,024 registrants, and not one more."""
    source = random.Random(1)
    keys = {Nexus(source.choice(IDS), n): n + 1 for n in range(1024)}
    record = kernel.encode(made(keys), 1, OWNER)
    print(f"\n{len(record)} bytes for 1,024 registrants")
    assert kernel.decode(record, 1024).keys() == keys
    keys[Nexus(IDS[0], 2000)] = 1
    assert kernel.check(kernel.encode(made(keys), 1, OWNER))[0] == DAMAGED
