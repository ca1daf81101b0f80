# SPDX-License-Identifier: GPL-2.0-or-later
"""Protection information (kmod/core/pi-check.c, built in user space), against the standard in Python."""

from __future__ import annotations

import ctypes
import random
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

REPO = Path(__file__).resolve().parents[2]
RIGHT, GUARD, APP, REF = range(4)
BLOCK = 512
# What each value of RDPROTECT and the like checks: guard, tags.
FIELDS = {0: (1, 1), 1: (1, 1), 2: (0, 1), 3: (0, 0), 4: (1, 0), 5: (1, 1)}
# SBC-3 4.22.4.4: 32 bytes of each pattern, and their CRC.
VECTORS = {
    bytes(32): 0x0000,
    b"\xff" * 32: 0xA293,
    bytes(range(32)): 0x0224,
    b"\xff" * 2 + bytes(30): 0x21B8,
    bytes(range(0xFF, 0xDF, -1)): 0xA0B7,
}

# The kernel's own CRC is the kernel's matter; this one is the definition, bit by bit.
CRC = """
#include "pi-check.h"
u16 scst_pi_guard(const u8 *block, u32 len)
{
	u16 crc = 0;

	while (len--) {
		crc ^= *block++ << 8;
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 0x8000 ? crc << 1 ^ 0x8bb7 : crc << 1;
	}
	return crc;
}
"""


class Rule(ctypes.Structure):
    """struct scst_pi_rule"""

    _fields_ = [
        ("type", ctypes.c_uint8),
        ("guard", ctypes.c_bool),
        ("app", ctypes.c_bool),
        ("ref", ctypes.c_bool),
        ("escapes", ctypes.c_bool),
        ("app_tag", ctypes.c_uint16),
        ("app_mask", ctypes.c_uint16),
        ("ref_tag", ctypes.c_uint32),
        ("block", ctypes.c_uint32),
    ]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("pi")
    (folder / "crc.c").write_text(CRC)
    includes = [f"-I{Path(__file__).parent / 'kernel'}", f"-I{REPO / 'kmod/core'}"]
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", *includes]
    sources = [str(REPO / "kmod/core/pi-check.c"), str(folder / "crc.c")]
    subprocess.run(["gcc", *flags, *sources, "-o", str(folder / "pi.so")], check=True)
    library = ctypes.CDLL(str(folder / "pi.so"))
    library.scst_pi_protect.restype = ctypes.c_bool
    library.scst_pi_guard.restype = ctypes.c_uint16
    return library


def guard(lib: ctypes.CDLL, data: bytes) -> int:
    return int(lib.scst_pi_guard(data, len(data)))


def tuples(lib: ctypes.CDLL, data: bytes, app: int, ref: int, step: int = 1) -> bytes:
    """What is right for these blocks."""
    blocks = [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]
    made = (
        struct.pack(">HHI", guard(lib, block), app, ref + number * step & 0xFFFFFFFF)
        for number, block in enumerate(blocks)
    )
    return b"".join(made)


def check(lib: ctypes.CDLL, rule: Rule, data: bytes, pi: bytes) -> tuple[int, int]:
    """What is wrong, and with which block."""
    bad = ctypes.c_uint32()
    return int(lib.scst_pi_check(ctypes.byref(rule), data, pi, len(pi) // 8, ctypes.byref(bad))), bad.value


@pytest.mark.parametrize("data", VECTORS)
def test_known_vectors(kernel: ctypes.CDLL, data: bytes) -> None:
    assert guard(kernel, data) == VECTORS[data]


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_what_is_generated_is_right(kernel: ctypes.CDLL, kind: int) -> None:
    data, made = random.Random(kind).randbytes(5 * BLOCK), ctypes.create_string_buffer(40)
    rule = Rule(kind, True, False, True, True, 0, 0, 0xFFFFFFFE, BLOCK)
    kernel.scst_pi_generate(ctypes.byref(rule), data, made, 5)
    assert made.raw == tuples(kernel, data, 0, 0 if kind == 3 else 0xFFFFFFFE, kind != 3)
    assert check(kernel, rule, data, made.raw)[0] == RIGHT


@given(
    kind=st.integers(1, 3),
    field=st.integers(0, 7),
    mask=st.sampled_from([0, 0x00FF, 0xFFFF]),
    broken=st.sampled_from(["nothing", "data", "guard", "app", "ref", "escape", "half"]),
    where=st.integers(0, 2),
    escapes=st.booleans(),
)
def test_every_wrong_tag_is_found(
    kernel: ctypes.CDLL, kind: int, field: int, mask: int, broken: str, where: int, escapes: bool
) -> None:
    """*half*: the application tag alone is all ones, which is enough but for type 3."""
    rule = Rule(kind, escapes=escapes, app_tag=0x1234, app_mask=mask, ref_tag=77, block=BLOCK)
    known = kernel.scst_pi_protect(field, ctypes.byref(rule))
    assert known == (field in FIELDS)
    if not known:
        return
    data = random.Random(where).randbytes(3 * BLOCK)
    pi = bytearray(tuples(kernel, data, 0x1234, 77))
    at = where * 8
    if broken == "data":
        data = data[: where * BLOCK] + bytes([data[where * BLOCK] ^ 1]) + data[where * BLOCK + 1 :]
    elif broken == "escape":
        pi[at : at + 8] = b"\xff" * 8
    elif broken == "half":
        pi[at : at + 4] = b"\xff" * 4
    elif broken != "nothing":
        pi[at + {"guard": 1, "app": 3, "ref": 7}[broken]] ^= 1
    guards, tags = FIELDS[field]
    wrong = RIGHT
    escaped = escapes and (broken == "escape" or (broken == "half" and kind != 3))
    if guards and broken in ("data", "guard", "escape", "half"):
        wrong = GUARD
    elif tags and mask and broken in ("app", "escape", "half"):
        wrong = APP
    elif tags and kind != 3 and broken in ("ref", "escape"):
        wrong = REF
    if escaped or broken == "nothing":
        wrong = RIGHT
    found, bad = check(kernel, rule, data, bytes(pi))
    assert found == wrong
    if wrong:
        assert bad == where


@pytest.mark.parametrize("ato", [False, True])
def test_what_verify_compares(kernel: ctypes.CDLL, ato: bool) -> None:
    """SBC-3 5.34: byte by byte, by VRPROTECT."""
    app = b"\xff\xff" if ato else b"\0\0"
    wanted = {
        0: bytes(8),
        1: b"\xff\xff" + app + b"\xff" * 4,
        2: b"\0\0" + app + b"\xff" * 4,
        3: b"\xff\xff" + app + b"\xff" * 4,
        4: b"\xff\xff" + bytes(6),
        5: b"\xff\xff" + app + b"\xff" * 4,
    }
    for field, mask in wanted.items():
        found = ctypes.create_string_buffer(8)
        kernel.scst_pi_compare_mask(field, ato, found)
        assert found.raw == mask, field


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_one_block_for_many(kernel: ctypes.CDLL, kind: int) -> None:
    """SBC-4, WRITE SAME: the reference tag goes up, but for type 3; all ones say that there is none."""
    kernel.scst_pi_none.restype = ctypes.c_bool
    one, made = struct.pack(">HHI", 0x1234, 0x5678, 0xFFFFFFFE), ctypes.create_string_buffer(32)
    kernel.scst_pi_repeat(kind, one, 1, made, 4)
    step = kind != 3
    wanted = [struct.pack(">HHI", 0x1234, 0x5678, (0xFFFFFFFE + step * n) & 0xFFFFFFFF) for n in range(1, 5)]
    assert made.raw == b"".join(wanted)
    kernel.scst_pi_repeat(kind, b"\xff" * 8, 7, made, 4)
    assert made.raw == b"\xff" * 32
    assert kernel.scst_pi_none(b"\xff" * 8)
    assert not kernel.scst_pi_none(b"\xff" * 7 + b"\xfe")
    assert not kernel.scst_pi_none(b"\x7f" + b"\xff" * 7)


def test_guards_are_made_anew(kernel: ctypes.CDLL) -> None:
    """And the tags stay."""
    data = random.Random(5).randbytes(3 * BLOCK)
    pi = ctypes.create_string_buffer(bytes(range(24)), 24)
    kernel.scst_pi_regenerate(data, BLOCK, pi, 3)
    for number in range(3):
        found = pi.raw[number * 8 : number * 8 + 8]
        block = data[number * BLOCK : (number + 1) * BLOCK]
        assert found[:2] == struct.pack(">H", guard(kernel, block))
        assert found[2:] == bytes(range(number * 8 + 2, number * 8 + 8))
