# SPDX-License-Identifier: GPL-2.0-or-later
"""CHAP (RFC 1994, RFC 7143 12.1.3) as the target has it. Pure, but for where challenges come from.

Whoever is refused learns nothing: an unknown user takes the steps, and the time, of a wrong secret.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pyscstadmin.iscsi.policy import ALGORITHMS, User
from pyscstadmin.iscsi.rules import Obstacle

__all__ = [
    "BINARY_MAX",
    "SECRET_MAX",
    "SECRET_MIN",
    "Challenges",
    "Chap",
    "Wrong",
    "binary",
    "digest",
    "number",
]

BINARY_MAX = 1024
SECRET_MIN, SECRET_MAX = 12, 64
_REMEMBERED = 4096

_HASHES = {8: "sha3_256", 7: "sha256", 6: "sha1", 5: "md5"}
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")
_DECIMAL = re.compile(r"[0-9]{1,20}")

Random = Callable[[int], bytes]


class Wrong(Exception):
    """The authentication has failed; why is for the administrator only. `rule`: one of `RULES`."""

    def __init__(self, reason: str, rule: str = "protocol") -> None:
        super().__init__(reason)
        self.rule = rule


def binary(text: str) -> bytes:
    """A binary value: 0x and hex digits, or 0b and base64 (RFC 7143 6.1). Raises ValueError."""
    kind, rest = text[:2].lower(), text[2:]
    if len(rest) > 2 * BINARY_MAX:
        raise ValueError(f"longer than {BINARY_MAX} bytes")
    if kind == "0x" and _HEX.fullmatch(rest):
        data = bytes.fromhex(rest)
    elif kind == "0b" and rest:
        try:
            data = b64decode(rest, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("no base64") from None
    else:
        raise ValueError("neither 0x and pairs of hex digits nor 0b and base64")
    if not 0 < len(data) <= BINARY_MAX:
        raise ValueError(f"not 1-{BINARY_MAX} bytes")
    return data


def number(text: str, high: int) -> int:
    """A number of 0 to `high`: decimal, hex or base64. Raises ValueError."""
    if _DECIMAL.fullmatch(text):
        value = int(text)
    elif text[:2] in ("0x", "0X") and re.fullmatch(r"[0-9a-fA-F]{1,16}", text[2:]):
        value = int(text[2:], 16)
    else:
        value = int.from_bytes(binary(text), "big")
    if value > high:
        raise ValueError(f"more than {high}")
    return value


def digest(algorithm: int, identifier: int, secret: bytes, challenge: bytes) -> bytes:
    """The response to a challenge."""
    data = bytes((identifier,)) + secret + challenge
    return hashlib.new(_HASHES[algorithm], data, usedforsecurity=False).digest()


class Challenges:
    """The challenges that this target has given out lately, over all connections."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._given: OrderedDict[bytes, None] = OrderedDict()

    def new(self, length: int) -> tuple[int, bytes]:
        """An identifier and a challenge that was not given out before."""
        while True:
            identifier, challenge = self._random(1)[0], self._random(length)
            if not self.ours(challenge):
                break
        self._given[self._mark(challenge)] = None
        while len(self._given) > _REMEMBERED:
            self._given.popitem(last=False)
        return identifier, challenge

    def ours(self, challenge: bytes) -> bool:
        """Whether this is one of them: somebody has the target answer its own questions."""
        return self._mark(challenge) in self._given

    @staticmethod
    def _mark(challenge: bytes) -> bytes:
        return hashlib.sha256(challenge).digest()


@dataclass(frozen=True, slots=True)
class _Asked:
    algorithm: int
    identifier: int
    challenge: bytes


class Chap:
    """One authentication. `secret`: of a user, None for an unknown one. `obstacle`: why one of `users` is not
    good for it, whatever the initiator knows.
    """

    def __init__(
        self,
        users: Sequence[User],
        algorithms: Sequence[str],
        secret: Callable[[str], bytes | None],
        obstacle: Callable[[User], Obstacle | None],
        challenges: Challenges,
        random: Random,
    ) -> None:
        self._users = users
        self._algorithms = [ALGORITHMS[name] for name in ALGORITHMS if name in algorithms]
        self._secret = secret
        self._obstacle = obstacle
        self._challenges = challenges
        self._random = random
        self._asked: _Asked | None = None
        self.user = ""
        self.done = False

    def step(self, keys: dict[str, str]) -> list[tuple[str, str]]:
        """The answer to what the initiator has sent of CHAP_A, _N, _R, _I, _C. Raises `Wrong`."""
        if self._asked is None:
            return self._ask(keys)
        return self._check(keys, self._asked)

    def _ask(self, keys: dict[str, str]) -> list[tuple[str, str]]:
        if set(keys) != {"CHAP_A"}:
            raise Wrong(f"CHAP begins with CHAP_A, not {', '.join(sorted(keys)) or 'nothing'}")
        offered = set()
        for word in keys["CHAP_A"].split(","):
            try:
                offered.add(number(word, 255))
            except ValueError:
                raise Wrong(f"CHAP_A has {word!a}") from None
        algorithm = next((known for known in self._algorithms if known in offered), 0)
        if not algorithm:
            raise Wrong(
                f"none of the initiator's CHAP algorithms ({keys['CHAP_A']}) is allowed", "no-algorithm"
            )
        size = hashlib.new(_HASHES[algorithm], usedforsecurity=False).digest_size
        identifier, challenge = self._challenges.new(size)
        self._asked = _Asked(algorithm, identifier, challenge)
        return [
            ("CHAP_A", str(algorithm)),
            ("CHAP_I", str(identifier)),
            ("CHAP_C", "0x" + challenge.hex()),
        ]

    def _check(self, keys: dict[str, str], asked: _Asked) -> list[tuple[str, str]]:
        one_way, mutual = {"CHAP_N", "CHAP_R"}, {"CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C"}
        if set(keys) not in (one_way, mutual):
            raise Wrong(f"CHAP goes on with CHAP_N and CHAP_R, not {', '.join(sorted(keys)) or 'nothing'}")
        self._asked = _Asked(0, 0, b"")
        self.user = keys["CHAP_N"]
        secret = self._prove(asked, keys["CHAP_N"], _value("CHAP_R", keys["CHAP_R"]))
        answer = []
        if "CHAP_C" in keys:
            try:
                identifier = number(keys["CHAP_I"], 255)
            except ValueError as error:
                raise Wrong(f"CHAP_I: {error}") from None
            answer = self._answer(asked, identifier, _value("CHAP_C", keys["CHAP_C"]), secret)
        self.done = True
        return answer

    def _prove(self, asked: _Asked, name: str, response: bytes) -> bytes:
        user = next((user for user in self._users if user.name == name), None)
        found = self._secret(name)
        valid = found is not None and SECRET_MIN <= len(found) <= SECRET_MAX
        secret = found if found is not None and valid else self._random(SECRET_MIN)
        right = hmac.compare_digest(
            digest(asked.algorithm, asked.identifier, secret, asked.challenge), response
        )
        if user is None:
            raise Wrong(f"unknown user {name!a}", "unknown-user")
        why = self._obstacle(user)
        if why is not None:
            raise Wrong(why.reason, why.rule)
        if not valid:
            raise Wrong(f"user {name!a} has no secret of {SECRET_MIN}-{SECRET_MAX} bytes", "no-secret")
        if not right:
            raise Wrong(f"wrong secret of user {name!a}", "wrong-secret")
        return secret

    def _answer(
        self, asked: _Asked, identifier: int, challenge: bytes, theirs: bytes
    ) -> list[tuple[str, str]]:
        if self._challenges.ours(challenge):
            raise Wrong("the initiator's challenge is one of the target's: reflection", "reflection")
        user = next((user for user in self._users if user.direction == "out"), None)
        if user is None:
            reason = "the initiator wants the target to prove itself, which has no user of direction out"
            raise Wrong(reason, "no-proof")
        secret = self._secret(user.name)
        if secret is None or not SECRET_MIN <= len(secret) <= SECRET_MAX:
            raise Wrong(f"user {user.name!a} has no secret of {SECRET_MIN}-{SECRET_MAX} bytes", "no-secret")
        if hmac.compare_digest(secret, theirs):
            raise Wrong(f"users {self.user!a} and {user.name!a} have the same secret", "same-secret")
        response = digest(asked.algorithm, identifier, secret, challenge)
        return [("CHAP_N", user.name), ("CHAP_R", "0x" + response.hex())]


def _value(key: str, text: str) -> bytes:
    try:
        return binary(text)
    except ValueError as error:
        raise Wrong(f"{key}: {error}") from None
