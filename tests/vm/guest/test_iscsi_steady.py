# SPDX-License-Identifier: GPL-2.0-or-later
"""iSCSI in its steady state: ten thousand commands, and nothing of ours has asked for memory.

The kernel's own trace points say who asks for memory, and from where. TCP does, for what it sends; nothing
in our modules may.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.iscsi import pdu
from tests.iscsi.initiator import Session
from tests.iscsi.pdu import Op, Pdu
from tests.vm.guest import iscsi, scsi
from tests.vm.guest.tracefs import tracing

SCST_MODULES = iscsi.MODULES

DEPTH = 16
COMMANDS, WARM_UP = 10_000, 320
SIZE = 4096
BLOCKS = SIZE // iscsi.BLOCK
FILE, NULL = 0, 1
DIGESTS = {"header_digest": 1, "data_digest": 1}
KINDS: dict[str, tuple[bool, int, dict[str, int]]] = {
    "read": (False, NULL, {}),
    "write": (True, NULL, {}),
    "file": (False, FILE, {}),
    "digests": (False, NULL, DIGESTS),
}
OURS = re.compile(r"\[scst")
# Of who asks: names that are on the way from there to the trace point.
ON_THE_WAY = re.compile(r"alloc|trace|event|hist|page_frag|get_free")
POINTS = {"kmalloc": "call_site.sym", "kmem_cache_alloc": "call_site.sym", "mm_page_alloc": "stacktrace"}


class Asked:
    """Who has asked for memory, and how often."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "events/kmem"

    def enable(self, on: bool) -> None:
        """Begin to count, or end it."""
        for point, key in POINTS.items():
            (self.folder / point / "trigger").write_text(f"{'' if on else '!'}hist:keys={key}:size=4096")

    def rows(self) -> Iterator[tuple[str, int]]:
        """The text of each, and its hits."""
        for point in POINTS:
            text = (self.folder / point / "hist").read_text()
            for row in re.finditer(r"\{(?P<key>[^}]*)\} hitcount:\s+(?P<hits>\d+)", text):
                yield row["key"], int(row["hits"])
            dropped = re.search(r"Dropped: (\d+)", text)
            assert dropped, text[-200:]
            assert dropped[1] == "0"

    def ours(self) -> dict[str, int]:
        """Those in our modules."""
        return {key: hits for key, hits in self.rows() if is_ours(key)}


def is_ours(key: str) -> bool:
    """Is it we who ask? The innermost that is not a part of asking is the one."""
    for line in key.splitlines():
        if OURS.search(line):
            return True
        if line.strip() and not ON_THE_WAY.search(line):
            return False
    return False


@contextmanager
def asking() -> Iterator[Asked]:
    """Counts in the block. Debug kernels ask for memory of their own, and are built without these counts."""
    with tracing() as trace:
        if not (trace.folder / "events/kmem/kmalloc/hist").exists():
            pytest.skip("this kernel does not count by trace points")
        asked = Asked(trace.folder)
        asked.enable(True)
        try:
            yield asked
        finally:
            asked.enable(False)


@pytest.fixture
def one_cpu() -> Iterator[None]:
    """All is done on the CPU that sends: memory for data is kept by each CPU for itself."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, file_tree: None) -> Iterator[iscsi.Target]:
    with iscsi.served(tmp_path_factory.mktemp("iscsi")) as made:
        yield made


def command(session: Session, write: bool, lun: int) -> Pdu:
    """One of the commands."""
    cdb = scsi.write10(0, BLOCKS) if write else scsi.read10(0, BLOCKS)
    return session.command_pdu(cdb, lun=lun, **({"write": bytes(SIZE)} if write else {"read": SIZE}))[1]


def burst(session: Session, write: bool, lun: int, count: int, answer: int) -> None:
    """So many commands at once, and their answers, which are as long as *answer* each: all GOOD."""
    session.sock.sendall(session.encode(*(command(session, write, lun) for _ in range(count))))
    came = session.read_bytes(answer * count)
    heads = [came[at : at + pdu.BHS] for at in range(0, len(came), answer)]
    wanted = Op.RESPONSE if write else Op.DATA_IN
    assert {(head[0] & 0x3F, head[3]) for head in heads} == {(wanted, 0)}
    assert len(heads) == count


def answer_size(session: Session, write: bool) -> int:
    """Bytes of one."""
    header = pdu.BHS + 4 * session.terms.header_digest
    return header if write else header + SIZE + 4 * session.terms.data_digest


@pytest.mark.usefixtures("one_cpu")
@pytest.mark.parametrize(("write", "lun", "terms"), KINDS.values(), ids=KINDS)
def test_nothing_is_allocated(target: iscsi.Target, write: bool, lun: int, terms: dict[str, int]) -> None:
    """Ten thousand in all, after as many at once as there will be."""
    with iscsi.adopter(target.name) as adopter:
        with asking() as asked:
            session = adopter.login(**terms)
            iscsi.hear(session, lun)
            # What a session has ever needed it keeps: that is asked for here, and is seen.
            answer = answer_size(session, write)
            for _ in range(WARM_UP // DEPTH):
                burst(session, write, lun, DEPTH, answer)
            assert asked.ours()
        with asking() as asked:
            for _ in range(COMMANDS // len(KINDS) // DEPTH):
                burst(session, write, lun, DEPTH, answer)
            assert sum(hits for _, hits in asked.rows())
            assert asked.ours() == {}
