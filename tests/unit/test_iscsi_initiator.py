# SPDX-License-Identifier: GPL-2.0-or-later
"""The initiator of the iSCSI tests: its codec, its sums, and that it sees what a target does wrong."""

from __future__ import annotations

import ctypes
import hashlib
import random
import socket
import struct
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.iscsi import adopter, chap, pdu
from tests.iscsi.crc import crc32c, digest
from tests.iscsi.initiator import Closed, Session, Task, Terms, add, before, sequences
from tests.iscsi.login import FULL, OPERATIONAL, SECURITY, Login, Refused
from tests.iscsi.pdu import FINAL, NONE, Malformed, Op, Pdu, Tmf

READ_10 = "01c000000000000000000000000000001400000000000400000000140000001828000000000000000200000000000000"


@pytest.mark.parametrize(
    ("data", "wire"),
    [
        (bytes(32), "aa36918a"),
        (b"\xff" * 32, "43aba862"),
        (bytes(range(32)), "4e79dd46"),
        (bytes(range(31, -1, -1)), "5cdb3f11"),
        (bytes.fromhex(READ_10), "563a96d9"),
    ],
)
def test_crc_of_the_standard(data: bytes, wire: str) -> None:
    """RFC 7143 A.4 (RFC 3720 B.4)."""
    assert digest(data).hex() == wire


def test_crc_sees_each_bit() -> None:
    data = bytearray(random.Random(1).randbytes(48))
    right = crc32c(bytes(data))
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        assert crc32c(bytes(data)) != right
        data[bit // 8] ^= 1 << bit % 8


def test_command_of_the_standard() -> None:
    """The same PDU as in its example of a digest."""
    one = Pdu(
        op=Op.COMMAND,
        flags=FINAL | pdu.READ,
        itt=0x14000000,
        fields={20: 0x400, 24: 0x14, 28: 0x18},
        cdb=bytes.fromhex("28000000000000000200"),
    )
    assert one.encode() == bytes.fromhex(READ_10)
    assert one.encode(header_digest=True)[48:].hex() == "563a96d9"


WORD = st.integers(0, 0xFFFFFFFF)


@given(
    st.integers(0, 0x3F),
    st.integers(0, 255),
    st.booleans(),
    st.binary(min_size=8, max_size=8),
    WORD,
    st.lists(WORD, min_size=7, max_size=7),
    st.integers(0, 255),
    st.binary(max_size=70),
    st.booleans(),
    st.booleans(),
)
def test_what_is_encoded_is_decoded(
    op: int,
    flags: int,
    immediate: bool,
    lun: bytes,
    itt: int,
    words: list[int],
    ahs_words: int,
    data: bytes,
    header: bool,
    payload: bool,
) -> None:
    fields = dict(zip(range(20, 48, 4), words, strict=True))
    one = Pdu(op, flags, immediate, 1, 2, lun, itt, fields, ahs=bytes(4 * ahs_words), data=data)
    wire = one.encode(header, payload)
    more, length = pdu.head_lengths(wire[:48])
    assert (more, length) == (4 * ahs_words, len(data))
    assert len(wire) % 4 == 0
    back = pdu.decode_header(wire[:48])
    assert (back.op, back.flags, back.immediate, back.lun, back.itt) == (op, flags, immediate, lun, itt)
    assert (back.byte2, back.byte3, back.fields) == (1, 2, fields)
    at = 48 + more + (4 if header else 0)
    assert wire[at : at + length] == data
    if header:
        assert wire[at - 4 : at] == digest(wire[: at - 4])
    if payload and data:
        assert wire[-4:] == digest(wire[at:-4])


def test_what_is_wrong_on_purpose() -> None:
    one = Pdu(
        op=Op.NOP_OUT, data=b"abcde", data_length=0xFFFFFF, total_ahs=255, pad=b"", header_digest=bytes(4)
    )
    wire = one.encode()
    assert wire[4:8] == b"\xff\xff\xff\xff"
    assert wire[48:] == bytes(4) + b"abcde"


@pytest.mark.parametrize(("long", "words"), [(b"x", 2), (b"x" * 4, 2), (b"x" * 5, 3), (b"x" * 16, 5)])
def test_long_cdb(long: bytes, words: int) -> None:
    """AHSLength is without itself, the type and what fills up."""
    made = pdu.extended_cdb(long)
    assert struct.unpack(">HB", made[:3]) == (len(long) + 1, 1)
    assert len(made) == 4 * words
    assert made[4:].startswith(long)


def test_chap() -> None:
    """MD5 by hand; the others have their lengths; text in both forms."""
    assert chap.answer(5, 1, b"secret", b"challenge") == hashlib.md5(b"\x01secretchallenge").digest()
    assert [len(chap.answer(algorithm, 0, b"s", b"c")) for algorithm in (5, 6, 7, 8)] == [16, 20, 32, 32]
    assert chap.binary("0xabc") == b"\x0a\xbc"
    assert chap.binary("0bAQID") == b"\x01\x02\x03"


def test_serial_numbers() -> None:
    assert add(0xFFFFFFFF) == 0
    assert before(0xFFFFFFFF, 0)
    assert not before(0, 0xFFFFFFFF)
    assert not before(5, 5)


def test_structures_are_the_kernels() -> None:
    """Sizes and places as in kmod/include/uapi/scst_iscsi.h on a 64-bit machine."""
    assert ctypes.sizeof(adopter.Adopt) == 600
    assert (adopter.Adopt.isid.offset, adopter.Adopt.response.offset) == (520, 584)
    assert (adopter.EVENT.size, ctypes.sizeof(adopter.Drop)) == (24, 12)
    assert (adopter.ADOPT, adopter.DROP) == (0xC2584940, 0x400C4943)
    assert (adopter.TEXT, adopter.TEXT_ANSWER) == (0xC0284944, 0x40284945)


# --- a target of a few lines ---


class Peer:
    """The other end: sends what it is told to."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            self.sock, _ = listener.accept()
        self.session = Session(ours, Terms(max_xmit=1024, max_recv=1024, max_burst=4096, first_burst=2048), 5)
        self.reader = Session(self.sock, Terms(max_recv=1 << 20), 5)
        self.reader.strict = False
        self.stat_sn = 7

    def send(self, op: int, itt: int = NONE, status: bool = False, **more: object) -> Pdu:
        one = Pdu(op=op, itt=itt, **more)  # type: ignore[arg-type]
        exp = self.session.cmd_sn
        one.fields = {24: self.stat_sn, 28: exp, 32: exp + 31, **one.fields}
        self.sock.sendall(one.encode())
        self.stat_sn += status
        return one

    def data_in(
        self, task: Task, offset: int, data: bytes, number: int, flags: int = 0, residual: int = 0
    ) -> Pdu:
        fields = {20: NONE, 36: number, 40: offset, 44: residual}
        if not flags & pdu.STATUS:
            fields[24] = 0
        return self.send(
            Op.DATA_IN, task.itt, bool(flags & pdu.STATUS), flags=flags, fields=fields, data=data
        )

    def response(self, task: Task, count: int = 0, **more: object) -> Pdu:
        more.setdefault("fields", {})
        more["fields"] = {36: count, **more["fields"]}  # type: ignore[dict-item]
        return self.send(Op.RESPONSE, task.itt, True, **more)

    def close(self) -> None:
        self.session.close()
        self.reader.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.close()


def read(peer: Peer, length: int = 3000) -> Task:
    task = peer.session.start(bytes(6), read=length)
    assert peer.reader.receive().get(20) == length
    return task


def test_read_in_pieces(peer: Peer) -> None:
    task = read(peer)
    peer.data_in(task, 0, b"a" * 1024, 0)
    peer.data_in(task, 1024, b"b" * 1024, 1, FINAL)
    peer.data_in(task, 2048, b"c" * 952, 2, FINAL | pdu.STATUS)
    peer.session.finish(task)
    assert (task.status, bytes(task.data)) == (0, b"a" * 1024 + b"b" * 1024 + b"c" * 952)
    assert [len(run) for run in sequences(task.came)] == [2, 1]


WRONG: list[tuple[str, Callable[[Peer, Task], object]]] = [
    ("DataSN", lambda peer, task: peer.data_in(task, 0, b"a", 1, FINAL)),
    ("offset", lambda peer, task: peer.data_in(task, 4, b"a", 0, FINAL)),
    ("expected were", lambda peer, task: [peer.data_in(task, 1024 * n, b"a" * 1024, n) for n in range(3)]),
    ("S without F", lambda peer, task: peer.data_in(task, 0, b"a", 0, pdu.STATUS)),
    ("A at error", lambda peer, task: peer.data_in(task, 0, b"a", 0, pdu.ACK_WANTED)),
    ("2999 are missing", lambda peer, task: peer.data_in(task, 0, b"a", 0, FINAL | pdu.STATUS | 2, 7)),
    ("no residual", lambda peer, task: peer.data_in(task, 0, b"a", 0, FINAL | pdu.STATUS)),
    ("bytes of data in", lambda peer, task: peer.data_in(task, 0, bytes(1025), 0, FINAL)),
    ("ExpDataSN", lambda peer, task: peer.response(task, 1, flags=FINAL | 2, fields={44: 3000})),
    ("length of sense", lambda peer, task: peer.response(task, byte3=2, data=b"\0\x13" + bytes(18))),
    ("U and O", lambda peer, task: peer.response(task, flags=FINAL | 6)),
    ("response 0x1", lambda peer, task: peer.response(task, byte2=1, flags=FINAL | 2, fields={44: 3000})),
    ("reserved bytes", lambda peer, task: peer.response(task, flags=FINAL | 2, fields={20: 1, 44: 3000})),
    ("LUN of an R2T", lambda peer, task: peer.send(Op.R2T, task.itt, lun=b"\1" * 8, fields={20: 5, 44: 1})),
    ("for no task", lambda peer, task: peer.send(Op.RESPONSE, 5, True)),
    ("opcode", lambda peer, task: peer.send(Op.COMMAND, 5)),
    ("StatSN", lambda peer, task: [peer.send(Op.ASYNC, status=False) for _ in range(2)]),
    (
        "ExpCmdSN goes back",
        lambda peer, task: [peer.send(Op.NOP_IN, fields={28: n, 32: 99}) for n in (5, 4)],
    ),
    (
        "MaxCmdSN goes back",
        lambda peer, task: [peer.send(Op.NOP_IN, fields={32: n}) for n in (9, 8)],
    ),
    ("below ExpCmdSN", lambda peer, task: peer.send(Op.NOP_IN, fields={28: 9, 32: 7})),
]


@pytest.mark.parametrize(("what", "do"), WRONG, ids=[what for what, _ in WRONG])
def test_what_a_target_may_not_do(peer: Peer, what: str, do: Callable[[Peer, Task], object]) -> None:
    task = read(peer)
    do(peer, task)
    with pytest.raises(Malformed, match=what):
        peer.session.finish(task)


def test_digest_that_is_wrong(peer: Peer) -> None:
    peer.session.digests, peer.session.terms.header_digest = True, True
    peer.sock.sendall(Pdu(op=Op.NOP_IN, header_digest=bytes(4)).encode())
    with pytest.raises(Malformed, match="header digest"):
        peer.session.pump()


def test_write_with_everything(peer: Peer) -> None:
    """Immediate, unsolicited and solicited data, each where it belongs."""
    peer.session.terms.initial_r2t = False
    data = random.Random(2).randbytes(5000)
    task = peer.session.start(bytes(6), write=data)
    command, more = peer.reader.receive(), peer.reader.receive()
    assert (command.final, command.data, command.get(20)) == (False, data[:1024], 5000)
    assert (more.final, more.offset, more.data_sn, more.ttt, more.data) == (
        True,
        1024,
        0,
        NONE,
        data[1024:2048],
    )
    for number, (offset, length) in enumerate(((2048, 2000), (4048, 952))):
        peer.send(Op.R2T, task.itt, fields={20: 40 + number, 36: number, 40: offset, 44: length})
    peer.response(task, 2)
    peer.session.finish(task)
    came = [peer.reader.receive() for _ in range(3)]
    assert [(one.ttt, one.data_sn, one.offset, one.final) for one in came] == [
        (40, 0, 2048, False),
        (40, 1, 3072, True),
        (41, 0, 4048, True),
    ]
    assert command.data + more.data + b"".join(one.data for one in came) == data


def test_nop_is_answered(peer: Peer) -> None:
    peer.send(Op.NOP_IN, fields={20: 99}, lun=pdu.lun_field(3))
    peer.session.pump()
    one = peer.reader.receive()
    assert (one.op, one.immediate, one.itt, one.ttt, one.lun) == (
        Op.NOP_OUT,
        True,
        NONE,
        99,
        pdu.lun_field(3),
    )
    assert peer.session.exp_stat_sn is None, "a NOP-In that nobody asked for has no status"


def test_text_that_goes_on(peer: Peer) -> None:
    begun, rest = b"TargetName=a\0Targ", b"etAddress=1:2,1\0TargetName=b\0"
    peer.send(Op.TEXT_RESPONSE, 0x1000, True, flags=pdu.CONTINUES, fields={20: 5}, data=begun)
    peer.send(Op.TEXT_RESPONSE, 0x1000, True, fields={20: NONE}, data=rest)
    assert peer.session.targets() == [("a", ["1:2,1"]), ("b", [])]
    first, second = peer.reader.receive(), peer.reader.receive()
    assert (first.ttt, second.ttt, first.itt, second.data) == (NONE, 5, second.itt, b"")


def test_end_of_the_connection(peer: Peer) -> None:
    peer.sock.sendall(bytes(47))
    peer.sock.close()
    with pytest.raises(Closed) as info:
        peer.session.pump()
    assert not info.value.between


def test_login_by_the_book(peer: Peer) -> None:
    """Text in pieces; what is agreed on; a refusal."""
    login = Login(peer.session, target="iqn.2026-11.test:t", split_at=30)
    reply = {0: b"", 1: b"", 2: b"", 3: b"InitialR2T=No\0MaxRecvDataSegmentLength=4096\0"}
    for number in range(4):
        last = number == 3
        flags = (FINAL | FULL if last else 0) | OPERATIONAL << 2
        lun = login.isid + (b"\0\x07" if last else bytes(2))
        peer.send(Op.LOGIN_RESPONSE, 0, True, flags=flags, lun=lun, data=reply[number])
    offer = {
        "InitialR2T": "No",
        "MaxRecvDataSegmentLength": "1024",
        "FirstBurstLength": "65536",
        "X": "1" * 30,
    }
    answer, _ = login.ask(OPERATIONAL, FULL, offer)
    login.full(answer, offer)
    terms = peer.session.terms
    assert (login.tsih, terms.max_xmit, terms.max_recv, terms.initial_r2t) == (7, 4096, 1024, False)
    assert terms.first_burst == 65536
    pieces = [peer.reader.receive() for _ in range(4)]
    assert b"".join(one.data for one in pieces) == pdu.join(offer)
    assert [bool(one.flags & pdu.CONTINUES) for one in pieces] == [True, True, True, False]
    peer.send(Op.LOGIN_RESPONSE, 0, True, flags=0, lun=login.isid + bytes(2), fields={36: 0x02030000})
    with pytest.raises(Refused) as info:
        login.ask(SECURITY, OPERATIONAL, login.names())
    assert info.value.status == 0x0203


def test_management(peer: Peer) -> None:
    """CmdSN is taken by what is not immediate only."""
    task = read(peer)
    peer.send(Op.TMF_RESPONSE, 0x1001, True, byte2=1)
    assert peer.session.manage(Tmf.ABORT_TASK, task=task, ref_cmd_sn=1) == 1
    one = peer.reader.receive()
    assert (one.immediate, one.get(20), one.cmd_sn, one.get(32), peer.session.cmd_sn) == (
        True,
        task.itt,
        2,
        1,
        2,
    )
