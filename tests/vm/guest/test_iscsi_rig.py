# SPDX-License-Identifier: GPL-2.0-or-later
"""The instruments that iSCSI is tried with, tried themselves: on Linux's own target."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.iscsi.initiator import sequences
from tests.iscsi.login import login
from tests.iscsi.pdu import Answered, Op, Tmf
from tests.vm.guest import lio, openiscsi, scsi
from tests.vm.guest.fio import Fio

SCST_MODULES = ()
SIZE = 8 << 20
ADDRESS = ("127.0.0.1", 3260)
DIGESTS = {"HeaderDigest": "CRC32C,None", "DataDigest": "CRC32C,None"}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lio.Lio]:
    """One disk of 8 MiB."""
    file = tmp_path_factory.mktemp("lio") / "disk"
    file.write_bytes(bytes(SIZE))
    with lio.served(file) as made:
        yield made


@pytest.fixture(scope="module")
def initiators() -> Iterator[tuple[openiscsi.Initiator, openiscsi.Initiator]]:
    """Two, by open-iscsi."""
    with openiscsi.running():
        yield (
            openiscsi.Initiator("a", "iqn.2026-11.test:a").make(),
            openiscsi.Initiator("b", "iqn.2026-11.test:b").make(),
        )


def test_open_iscsi(
    target: lio.Lio, initiators: tuple[openiscsi.Initiator, openiscsi.Initiator], tmp_path: Path
) -> None:
    """Discovery, two initiators at once, settings that are negotiated, data, a LUN that comes, the end."""
    first, second = initiators
    assert first.discover() == [(f"{lio.PORTAL},1", lio.NAME)]
    digests = {f"node.conn[0].iscsi.{name}Digest": "CRC32C" for name in ("Header", "Data")}
    one, two = first.login(lio.NAME, settings=digests), second.login(lio.NAME)
    assert (one.get("header_digest"), two.get("header_digest")) == ("1", "0")
    assert (one.state, one.get("initiatorname")) == ("LOGGED_IN", first.iqn)
    disk = one.disk(0)
    assert int(Path("/sys/block", disk.name, "size").read_text()) * 512 == SIZE
    assert two.disk(0) != disk
    with Fio(tmp_path, disk, rw="randwrite", verify="crc32c", size="4m", time_based=0) as load:
        load.finish()
    extra = tmp_path / "extra"
    extra.write_bytes(bytes(SIZE))
    target.add(extra)
    one.rescan()
    one.disk(1)
    for session in (one, two):
        session.logout()
    assert not disk.exists()


@pytest.mark.parametrize("offer", [{}, DIGESTS, {"InitialR2T": "Yes", "ImmediateData": "No"}], ids=str)
def test_own_initiator(target: lio.Lio, offer: dict[str, str]) -> None:
    """It speaks with who was not made for it: data of each kind, a ping, a text, task management, logout."""
    data = random.Random(1).randbytes(1 << 20)
    offer = {"MaxRecvDataSegmentLength": "8192", **offer}
    with login(ADDRESS, lio.NAME, offer) as session:
        assert session.terms.header_digest == ("HeaderDigest" in offer)
        while (attention := session.command(scsi.test_unit_ready())).status:
            assert attention.key[0] == scsi.UNIT_ATTENTION
        session.counts_r2ts = False  # LIO does not
        blocks = len(data) // 512
        written = session.command(scsi.write10(0, blocks), write=data)
        assert written.status == 0, session.trace()
        assert Op.R2T in written.kinds
        back = session.command(scsi.read10(0, blocks), read=len(data))
        assert bytes(back.data) == data
        assert [len(one.data) for run in sequences(back.came) for one in run] == [8192] * 128
        assert session.ping(b"are you there").data == b"are you there"
        assert session.manage(Tmf.LUN_RESET) == Answered.COMPLETE
        assert session.logout() == 0
        assert session.wait_closed() == []


def test_own_discovery(target: lio.Lio) -> None:
    with login(ADDRESS, None) as session:
        assert session.targets() == [(lio.NAME, [f"{lio.PORTAL},1"])]
