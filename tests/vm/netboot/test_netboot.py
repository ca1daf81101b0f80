# SPDX-License-Identifier: GPL-2.0-or-later
"""The target's part of a boot by iPXE (`python -m tests.vm.netboot`): it tells by DHCP where the disk is, and
looks who comes. What iPXE said to log in is kept as the corpora for fuzzing have it (tests/fuzz).
"""

from __future__ import annotations

import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyscstadmin.iscsi.login import LoggedIn
from tests.fuzz import logins
from tests.fuzz.logins import TARGET
from tests.vm.guest import iscsi, tree
from tests.vm.guest.conftest import wipe
from tests.vm.guest.iscsid import by_daemon, portal
from tests.vm.guest.patience import SLOW
from tests.vm.guest_plugin import command, find_disks

SCST_MODULES = ("scst", "scst_blockio", "scst_iscsi")

CARD, ADDRESS, CLIENT, PORT = "eth0", "10.78.0.1", "10.78.0.2", 3260
PATIENCE = 300 * SLOW
IPXE = "iqn.2010-04.org.ipxe:"
LENGTH = 8192  # iPXE's MaxRecvDataSegmentLength
# Shorter than GRUB's pause: iPXE is asked for a sign of life, and closes the connection, as it answers none.
ASKED = 1
DHCP = f"""start {CLIENT}
end {CLIENT}
interface {CARD}
lease_file /run/netboot.leases
pidfile /run/netboot.pid
opt subnet 255.255.255.0
opt rootpath iscsi:{ADDRESS}:::0:{TARGET}
"""
KEPT = 1 << 16  # of what iPXE says


class Ear(threading.Thread):
    """Hears what comes in by the card for the portal; *text*: what its first connection has said."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        self._socket.bind((CARD, 0))
        self._first: tuple[bytes, int] | None = None
        self._pieces: dict[int, bytes] = {}

    def run(self) -> None:
        """Until there is enough of it."""
        while sum(map(len, self._pieces.values())) < KEPT:
            self._packet(self._socket.recv(65536))
        self._socket.close()

    def _packet(self, packet: bytes) -> None:
        begin = (packet[0] & 15) * 4
        if packet[9] != socket.IPPROTO_TCP or packet[12:16] != socket.inet_aton(CLIENT):
            return
        segment = packet[begin : int.from_bytes(packet[2:4], "big")]
        source, to, number = struct.unpack_from(">HHI", segment)
        if to != PORT:
            return
        end, flags = (segment[12] >> 4) * 4, segment[13]
        who = struct.pack(">H", source)
        if flags & 2 and self._first is None:
            self._first = who, number + 1
        if self._first is not None and self._first[0] == who and segment[end:]:
            self._pieces.setdefault((number - self._first[1]) % (1 << 32), segment[end:])

    @property
    def text(self) -> bytes:
        """Without what came twice, to the first gap."""
        found = b""
        for at, piece in sorted(self._pieces.items()):
            if at > len(found):
                break
            found += piece[len(found) - at :]
        return found


@pytest.fixture
def card() -> Iterator[None]:
    """The cable to the other machine, and who tells it its address and its disk."""
    command("modprobe", "virtio_net")
    tree.wait_for("the card", Path("/sys/class/net", CARD).exists)
    command("ip", "address", "add", f"{ADDRESS}/24", "dev", CARD)
    command("ip", "link", "set", CARD, "up")
    config = Path("/run/netboot.conf")
    config.write_text(DHCP)
    Path("/run/netboot.leases").touch()
    with subprocess.Popen(["busybox", "udhcpd", "-f", str(config)]) as dhcp:
        yield
        dhcp.terminate()
    command("ip", "address", "flush", "dev", CARD)


@contextmanager
def served() -> Iterator[iscsi.Target]:
    """The disk."""
    target = iscsi.Target(TARGET)
    target.make()
    target.luns.map(0, tree.blockio("netboot", find_disks()["netboot"].node))
    tree.write(target.path / "params/nop_interval", ASKED)
    portal(target, address=ADDRESS)
    target.enable()
    yield target
    target.enable(False)
    iscsi.wait_sessions(0, TARGET)
    wipe()


def initiators() -> dict[str, tuple[str, int]]:
    """Initiator and MaxRecvDataSegmentLength of each session, by ISID."""
    found = {}
    for folder in iscsi.sessions(TARGET):
        try:
            values = (
                iscsi.value(folder, "isid"),
                tree.read(folder / "initiator"),
                iscsi.value(folder, "max_xmit"),
            )
        except OSError:
            continue  # it ended while we looked
        found[values[0]] = values[1], int(values[2])
    return found


def keep(folder: Path, text: bytes) -> None:
    """As it is in the corpora."""
    folder.mkdir(exist_ok=True)
    login = [one for one in logins.pdus_of(text) if one not in logins.behind(text)]
    (folder / "ipxe-login.hex").write_text(logins.kept_as(logins.joined(login)))
    (folder / "recorded-ipxe.iscsi_pdu").write_bytes(logins.for_pdu(text))
    (folder / "recorded-ipxe.iscsi_conn").write_bytes(logins.for_conn(text))


def test_boot(card: None, out_dir: Path) -> None:
    """iPXE comes, as often as it has to, and then the kernel that it has loaded, as the same initiator."""
    seen: dict[str, tuple[str, int]] = {}
    with served(), by_daemon():
        ear = Ear()
        ear.start()
        (out_dir / "ready").touch()
        end = time.monotonic() + 3 * PATIENCE
        while not (out_dir / "over").exists() and time.monotonic() < end:
            seen |= initiators()
            time.sleep(0.2)
    print(seen)
    assert {name for name, _ in seen.values()} == {next(iter(seen.values()))[0]}
    assert all(name.startswith(IPXE) for name, _ in seen.values())
    firmware = [isid for isid, (_, length) in seen.items() if length == LENGTH]
    kernel = [isid for isid, (_, length) in seen.items() if length > LENGTH]
    assert firmware
    assert kernel
    keep(out_dir / "recorded", ear.text)
    assert isinstance(logins.feed(ear.text), LoggedIn)
    assert logins.steps(ear.text) == logins.steps(logins.recorded()["ipxe-login"])
