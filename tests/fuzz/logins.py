# SPDX-License-Identifier: GPL-2.0-or-later
"""Logins and discovery sessions of iSCSI: what initiators have sent (corpus/iscsi_login), and that changed.

The recorded bytes of one connection of an initiator go through the daemon's state machines, which are
pure. Whatever comes in, they answer by the standard or end the connection; and what they hand to the kernel
it takes. Changes are of bytes, of whole PDUs, and of keys and values, with the lengths put right or not.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pyscstadmin.iscsi import discovery
from pyscstadmin.iscsi.chap import Challenges
from pyscstadmin.iscsi.keys import KEYS
from pyscstadmin.iscsi.login import Discovery, LoggedIn, Login, Refused, Step
from pyscstadmin.iscsi.pdu import HEADER, LoginResponse, Opcode, opcode, padded, sizes
from pyscstadmin.iscsi.policy import Policy
from tests.unit.iscsi_client import TARGET, Dice, came, chap_policy, policy, split

__all__ = [
    "NAME",
    "RECORDED",
    "SECRETS",
    "TARGET",
    "Asked",
    "asked",
    "changed",
    "feed",
    "fuzz",
    "kept_as",
    "recorded",
    "steps",
]

NAME = "iscsi_login"
RECORDED = Path(__file__).resolve().parent / "corpus" / NAME
REPO = RECORDED.parents[3]
BYTES = (1 << 24) - 1
MOST = 48
# Of the users by whom the recorded logins prove themselves, and the target itself.
SECRETS = {"it": "recorded-secret-it", "me": "recorded-secret-me"}

Pdu = tuple[bytes, bytes]
End = LoggedIn | Discovery | Refused | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What the target has asked an initiator by CHAP when that was recorded."""

    identifier: int
    challenge: bytes

    def __call__(self, length: int) -> bytes:
        """In place of random bytes: it asks the same again."""
        if length == 1:
            return bytes((self.identifier,))
        assert length == len(self.challenge)
        return self.challenge


def recorded() -> dict[str, bytes]:
    """What initiators have sent, by name: program-what. Recorded by test_iscsi_recorded.py."""
    lines = {path.stem: path.read_text().splitlines() for path in sorted(RECORDED.glob("*.hex"))}
    return {
        name: bytes.fromhex("".join(line for line in text if line[0] != "#")) for name, text in lines.items()
    }


def asked(name: str) -> Asked | None:
    """What it answers, if it does."""
    first = (RECORDED / f"{name}.hex").read_text().partition("\n")[0]
    if not first.startswith("# CHAP"):
        return None
    identifier, challenge = first.split()[2:]
    return Asked(int(identifier), bytes.fromhex(challenge))


def kept_as(text: bytes, question: Asked | None = None) -> str:
    """The content of such a file."""
    lines = [text[at : at + 48].hex() for at in range(0, len(text), 48)]
    if question is not None:
        lines.insert(0, f"# CHAP {question.identifier} {question.challenge.hex()}")
    return "\n".join(lines) + "\n"


def steps(text: bytes) -> list[tuple[int, list[str]]]:
    """Of each request of a login: stage and where to, and the keys that it has."""
    return [
        (header[1], [item.partition(b"=")[0].decode() for item in data.split(b"\0") if item])
        for header, data in pdus_of(text)
        if header[0] & 0x3F == Opcode.LOGIN
    ]


def pdus_of(stream: bytes) -> Iterator[Pdu]:
    """Cut as the daemon does: the last may be short."""
    while stream:
        header, stream = stream[:HEADER], stream[HEADER:]
        size = sizes(header.ljust(HEADER, b"\0"))
        yield header, stream[size.additional :][: size.data]
        stream = stream[size.rest :]


def joined(pdus: list[Pdu], lengths: bool = True) -> bytes:
    """The stream of them; *lengths*: each announces what it has."""
    out = b""
    for header, data in pdus:
        if lengths and len(header) == HEADER:
            header = header[:4] + len(data).to_bytes(4, "big") + header[8:]
        out += header + padded(data)
    return out


# What must hold.


def check_step(step: Step, stat_sn: int, header: bytes) -> None:
    """One answer to a login request."""
    if not step.send:
        assert isinstance(step.end, LoggedIn) or (isinstance(step.end, Refused) and step.end.status is None)
        return
    answer = LoginResponse.parse(*split(step.send))
    assert answer.stat_sn == stat_sn
    assert not (answer.transit and answer.more)
    if isinstance(step.end, Refused):
        assert answer.status == step.end.status != 0
        return
    assert answer.status == 0
    if isinstance(step.end, Discovery):
        assert answer.tsih
    else:
        assert answer.tsih == int.from_bytes(header[14:16], "big"), "it is told with the last answer"


def check_values(end: LoggedIn) -> None:
    """The kernel takes no others (session.c: iscsi_adopt_check())."""
    found = end.values
    assert 512 <= found.max_xmit <= BYTES
    assert 512 <= found.max_recv <= BYTES
    assert 512 <= found.first_burst <= found.max_burst <= BYTES
    assert 1 <= found.max_outstanding_r2t <= 65535
    assert found.protocol_level in range(32)
    assert len(end.response) >= HEADER
    assert len(end.response) % 4 == 0
    LoginResponse.parse(*split(end.response))


def discover(what: Policy, begun: Discovery, pdus: Iterator[Pdu]) -> None:
    """A discovery session to its end."""
    session = discovery.Session(what, came(), begun)
    for header, data in pdus:
        answer = session.feed(header, data)
        assert not answer.send or opcode(answer.send) in (
            Opcode.TEXT_RESPONSE,
            Opcode.LOGOUT_RESPONSE,
            Opcode.REJECT,
        )
        if answer.over:
            return


def proving_policy() -> Policy:
    """The target, and discovery, want CHAP of the users of the recordings."""
    what = chap_policy(mutual=True)
    here = replace(what.portals["here"], discovery_auth="chap")
    return replace(
        what,
        portals={"here": here},
        users=what.targets[0].users,
        secret=lambda where, user: SECRETS.get(user, "").encode() or None,
    )


def feed(stream: bytes, proving: bool = False, question: Asked | None = None) -> End:
    """One connection; *proving*: the target wants CHAP, and asks *question*, or what no recording answers."""
    what = proving_policy() if proving else policy()
    login = Login(what, came(), Challenges(question or Dice()), Dice())
    pdus = pdus_of(stream)
    for stat_sn, (header, data) in enumerate(pdus, 1):
        step = login.feed(header, data)
        check_step(step, stat_sn, header)
        if step.end is not None and not isinstance(step.end, Refused):
            assert question or not proving, "somebody is in without the secret"
        if isinstance(step.end, LoggedIn):
            check_values(step.end)
        if isinstance(step.end, Discovery):
            discover(what, step.end, pdus)
        if step.end is not None:
            return step.end
    return None


# What comes behind a login, for the targets that are C: iscsi_pdu.c, iscsi_conn.c.


def behind(stream: bytes) -> list[Pdu]:
    """The PDUs of the full-feature phase."""
    return [one for one in pdus_of(stream) if one[0][0] & 0x3F != Opcode.LOGIN]


def in_short(stream: bytes) -> list[Pdu]:
    """Of these the first, and the last, a logout: longer inputs are no use."""
    pdus = behind(stream)
    return [*pdus[: MOST - 1], pdus[-1]] if len(pdus) > MOST else pdus


def for_pdu(stream: bytes) -> bytes:
    """As the parser's: lengths of 8 KiB, immediate data, no digests; in pieces of 8 bytes."""
    return bytes((0x2A, 1, 0, 7, 0, 0)) + joined(in_short(stream))


def for_conn(stream: bytes) -> bytes:
    """As a connection's: each header with the next number, and who serves what is there goes on with it."""
    made = bytes((7, 4, 0xFF, 0))
    for header, _ in in_short(stream):
        made += bytes((0, HEADER + 4, 0, 0, 0, 0)) + header + bytes((2, 1, 0)) * 2
    return made


# Changes.

WORDS = (
    b"", b"Yes", b"No", b"None", b"CRC32C", b"CHAP", b"CHAP,None", b"0", b"1", b"511", b"512", b"16777215",
    b"16777216", b"65535", b"99999999999999999999", b"0x200", b"0x", b"0b", b"0b====", b"-1", b"1~2",
    b"Reject", b"Irrelevant", b"NotUnderstood", b"Discovery", b"Normal", b"All", b"\xff\xfe", b"a,b,,c",
    b"x" * 256,
)  # fmt: skip


def bytes_changed(stream: random.Random, text: bytes) -> bytes:
    """A few."""
    new = bytearray(text)
    for _ in range(stream.randint(1, 4)):
        at = stream.randrange(len(new) + 1)
        match stream.randrange(4):
            case 0:
                new[at:at] = stream.randbytes(stream.randint(1, 4))
            case 1:
                del new[at : at + stream.randint(1, 16)]
            case 2:
                end = at + stream.randint(1, 64)
                new[at:at] = new[at:end]
            case _ if at < len(new):
                new[at] ^= 1 << stream.randrange(8)
    return bytes(new)


def keys_changed(stream: random.Random, text: bytes) -> bytes:
    """Of one PDU: another value, another key, one more, one less, another order."""
    items = text.split(b"\0")
    at = stream.randrange(len(items))
    name, _, value = items[at].partition(b"=")
    match stream.randrange(5):
        case 0:
            items[at] = name + b"=" + stream.choice(WORDS)
        case 1:
            items[at] = stream.choice(sorted(KEYS)).encode() + b"=" + value
        case 2:
            items.insert(at, stream.choice(sorted(KEYS)).encode() + b"=" + stream.choice(WORDS))
        case 3:
            del items[at]
        case _:
            stream.shuffle(items)
    return b"\0".join(items)


def pdus_changed(stream: random.Random, pdus: list[Pdu]) -> None:
    """One is twice, missing, elsewhere, or its header is another."""
    at = stream.randrange(len(pdus))
    match stream.randrange(4):
        case 0:
            pdus.insert(at, pdus[at])
        case 1:
            del pdus[at]
        case 2:
            stream.shuffle(pdus)
        case _:
            header = bytearray(pdus[at][0])
            header[stream.choice((0, 1, 1, 1, 2, 3, *range(8, len(header))))] = stream.randrange(256)
            pdus[at] = bytes(header), pdus[at][1]


def changed(stream: random.Random, text: bytes) -> bytes:
    """One that differs from it."""
    if stream.random() < 0.25:
        return bytes_changed(stream, text)
    pdus = [one for one in pdus_of(text) if len(one[0]) == HEADER]
    for _ in range(stream.randint(1, 3)):
        if not pdus:
            break
        if stream.random() < 0.4:
            pdus_changed(stream, pdus)
            continue
        at = stream.randrange(len(pdus))
        change: Callable[[random.Random, bytes], bytes] = stream.choice(
            (keys_changed, keys_changed, bytes_changed)
        )
        pdus[at] = pdus[at][0], change(stream, pdus[at][1])
    return joined(pdus, stream.random() < 0.9)


# For so many seconds.


def fuzz(seconds: float, seed: int, failures: Path) -> tuple[bool, str]:
    """Half the time changed recordings, half of it what hypothesis thinks of. Good, and figures."""
    stream, kept = random.Random(seed), list(recorded().values())
    ends: dict[str, int] = {}
    count, until = 0, time.monotonic() + seconds / 2
    while time.monotonic() < until:
        text = stream.choice(kept)
        for _ in range(stream.randint(1, 3)):
            text = changed(stream, text)
        try:
            end = feed(text, stream.random() < 0.3)
        except Exception as error:
            failures.write_text(text.hex())
            return False, f"seed {seed}: {error!r}, input in {failures}"
        ends[type(end).__name__] = ends.get(type(end).__name__, 0) + 1
        count += 1
    figures = ", ".join(f"{name} {number:,}" for name, number in sorted(ends.items()))
    good, rounds = hypotheses(seconds / 2, stream)
    return good, f"seed {seed}: {count:,} inputs ({figures}); {rounds} rounds of hypothesis"


def hypotheses(seconds: float, stream: random.Random) -> tuple[bool, int]:
    """The unit tests that take anything, again and again with other seeds."""
    files = [f"tests/unit/test_iscsi_{name}.py" for name in ("login", "discovery", "formats")]
    words = "any_ or pieces or stages_later or order_of_keys or round_trip"
    rounds, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        command = [sys.executable, "-m", "pytest", "-q", "-x", *files, "-k", words]
        command.append(f"--hypothesis-seed={stream.randrange(1 << 32)}")
        environment = {**os.environ, "SCST_EXAMPLES": "500"}
        done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            print(done.stdout)
            return False, rounds
        rounds += 1
    return True, rounds
