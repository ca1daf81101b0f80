# SPDX-License-Identifier: GPL-2.0-or-later
"""CHAP (RFC 1994, RFC 7143 12.1.3): who is asked proves that he knows the secret."""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass, field

ALGORITHMS = {5: "md5", 6: "sha1", 7: "sha256", 8: "sha3_256"}


def binary(text: str) -> bytes:
    """A value in hexadecimal or base64."""
    form, digits = text[:2].lower(), text[2:]
    if form == "0x":
        return bytes.fromhex(digits.rjust(len(digits) + len(digits) % 2, "0"))
    assert form == "0b", text
    return base64.b64decode(digits, validate=True)


def hexadecimal(data: bytes) -> str:
    """A value as text."""
    return "0x" + data.hex()


def answer(algorithm: int, identifier: int, secret: bytes, challenge: bytes) -> bytes:
    """The response to a challenge."""
    return hashlib.new(ALGORITHMS[algorithm], bytes([identifier]) + secret + challenge).digest()


@dataclass
class Chap:
    """What an initiator proves itself with; *target_secret*: what the target has to know, too."""

    user: str
    secret: bytes
    target_user: str | None = None
    target_secret: bytes | None = None
    algorithms: tuple[int, ...] = (8, 7, 6, 5)
    identifier: int = 0x5A
    challenge: bytes = field(default_factory=lambda: os.urandom(32))
    algorithm: int = 0  # the one that the target has chosen

    def offer(self) -> dict[str, str]:
        """The algorithms."""
        return {"CHAP_A": ",".join(map(str, self.algorithms))}

    def respond(self, asked: dict[str, str]) -> dict[str, str]:
        """To what the target asks; and, if it has to prove itself, what it is asked."""
        self.algorithm = int(asked["CHAP_A"])
        assert self.algorithm in self.algorithms, asked
        (identifier,) = [int(asked["CHAP_I"], 0)]
        proof = answer(self.algorithm, identifier, self.secret, binary(asked["CHAP_C"]))
        said = {"CHAP_N": self.user, "CHAP_R": hexadecimal(proof)}
        if self.target_secret is not None:
            said |= {"CHAP_I": str(self.identifier), "CHAP_C": hexadecimal(self.challenge)}
        return said

    def check(self, said: dict[str, str]) -> None:
        """Did the target prove itself? Raises AssertionError."""
        if self.target_secret is None:
            assert not {"CHAP_N", "CHAP_R"} & set(said), f"not asked for: {said}"
            return
        assert self.target_user in (None, said["CHAP_N"]), said
        wanted = answer(self.algorithm, self.identifier, self.target_secret, self.challenge)
        assert binary(said["CHAP_R"]) == wanted, "the target does not know its secret"
