# SPDX-License-Identifier: GPL-2.0-or-later
"""Switch, loop, ports, scripted ports and their disks, without chips."""

from __future__ import annotations

import struct

import pytest
from hba.fc import frames as fc
from hba.fc.disk import RamDisk
from hba.fc.media import AL_PAS, LOOP_ORDER, ArbitratedLoop, FrameFault, Switch
from hba.fc.nport import Outcome
from hba.fc.scripted import ScriptedInitiator, ScriptedTarget, ScriptError
from hba.loop import Loop
from hypothesis import given
from hypothesis import strategies as st

TARGET, INITIATOR = 0x5006016000000001, 0x10000000C9000001
READ = bytes((0x28, 0, 0, 0, 0, 8, 0, 0, 8, 0))
WRITE = bytes((0x2A, 0, 0, 0, 0, 8, 0, 0, 8, 0))
DATA = bytes(range(256)) * 16


def pair(
    medium_type: type[Switch] | type[ArbitratedLoop] = Switch,
) -> tuple[Loop, ScriptedInitiator, ScriptedTarget, int]:
    loop = Loop(virtual=True)
    medium = medium_type(loop)
    target = ScriptedTarget(loop, medium, TARGET, {0: RamDisk(1 << 20), 300: RamDisk(1 << 20, "BIG")})
    target.plug()
    initiator = ScriptedInitiator(loop, medium, INITIATOR)
    initiator.plug()
    address = initiator.find(TARGET)
    initiator.login(address)
    return loop, initiator, target, address


@given(
    st.binary(min_size=8, max_size=8),
    st.binary(min_size=16, max_size=32),
    st.integers(0, (1 << 32) - 1),
    st.booleans(),
    st.booleans(),
    st.integers(0, 7),
    st.integers(0, 255),
)
def test_command_round_trip(
    lun: bytes, cdb: bytes, length: int, read: bool, write: bool, attribute: int, task: int
) -> None:
    command = fc.Command(lun, cdb + bytes(-len(cdb) % 4), length, read, write, attribute, task)
    assert fc.Command.decode(command.encode()) == command


@given(
    st.integers(0, 255),
    st.binary(max_size=96),
    st.integers(-1000, 1000),
    st.sampled_from([b"", bytes(8)]),
    st.booleans(),
)
def test_response_round_trip(status: int, sense: bytes, residual: int, info: bytes, confirm: bool) -> None:
    response = fc.Response(status, sense, residual, info, confirm)
    assert fc.Response.decode(response.encode()) == response


@given(st.binary(max_size=80))
def test_parsers_take_anything(data: bytes) -> None:
    for parse in (fc.Command.decode, fc.Response.decode):
        try:
            parse(data)
        except ValueError:
            continue
    fc.login_names(data)
    fc.prli_service(data)


@pytest.mark.parametrize(
    ("text", "name"),
    [("21:00:00:e0:8b:12:34:01", 0x210000E08B123401), ("0x2100-00e08b123401", 0x210000E08B123401)],
)
def test_wwn(text: str, name: int) -> None:
    assert fc.parse_wwn(text) == name
    assert fc.parse_wwn(fc.format_wwn(name)) == name


@pytest.mark.parametrize("text", ["", "21:00", "zz00000000000000", "0000000000000000"])
def test_bad_wwn(text: str) -> None:
    with pytest.raises(ValueError, match="WWN"):
        fc.parse_wwn(text)


def test_al_pas() -> None:
    assert len(set(AL_PAS)) == 126
    assert LOOP_ORDER[0] == 0xEF
    assert LOOP_ORDER[125] == 0x01
    # All valid addresses have as many ones as zeros after 8b/10b coding, so 0x00 is not among them.
    assert 0 not in AL_PAS


@pytest.mark.parametrize("medium", [Switch, ArbitratedLoop])
def test_read_write(medium: type[Switch] | type[ArbitratedLoop]) -> None:
    _, initiator, target, address = pair(medium)
    assert initiator.scsi(address, WRITE, DATA).status == 0
    result = initiator.scsi(address, READ, read=4096)
    assert result.data == DATA
    assert result.residual == 0
    assert target.disks[0].data[4096:8192] == DATA


def test_other_commands() -> None:
    _, initiator, target, address = pair()
    luns = initiator.scsi(address, bytes((0xA0, 0, 0, 0, 0, 0, 0, 0, 1, 0)), read=256)
    assert struct.unpack_from(">I4xHxxxxxxH", luns.data) == (16, 0, 0x4000 | 300)
    assert initiator.scsi(address, bytes((0x25,)) + bytes(9), read=8).data == struct.pack(">II", 2047, 512)
    capacity = initiator.scsi(address, bytes((0x9E, 0x10)) + bytes(8) + bytes((0, 0, 0, 32, 0, 0)), read=32)
    assert struct.unpack_from(">QI", capacity.data) == (2047, 512)
    assert initiator.scsi(address, bytes((0x9E, 0x11)) + bytes(14), read=32).key_code == (5, 0x24, 0)
    for page, part in ((0x00, b"\x00\x80\x83\xb0"), (0x80, b"BIG"), (0x83, b"EMULATEDBIG"), (0xB0, b"")):
        assert part in initiator.scsi(address, bytes((0x12, 1, page, 0, 255, 0)), read=255, lun=300).data
    assert initiator.scsi(address, bytes((0x12, 1, 0x99, 0, 255, 0)), read=255).key_code == (5, 0x24, 0)
    assert initiator.scsi(address, bytes((0x12, 0, 0x99, 0, 255, 0)), read=255).key_code == (5, 0x24, 0)
    assert initiator.scsi(address, bytes((0x12, 0, 0, 0, 36, 0)), read=36, lun=9).data[0] == 0x7F
    assert initiator.scsi(address, bytes(6), lun=9).key_code == (5, 0x25, 0)
    assert initiator.scsi(address, bytes((0x1A, 0, 0x3F, 0, 255, 0)), read=255).data[4] == 8
    assert (
        initiator.scsi(address, bytes((0x5A, 0, 0x08)) + bytes(4) + bytes((0, 255, 0)), read=255).data[8] == 8
    )
    assert initiator.scsi(address, bytes((0x1A, 0, 0x19, 0, 255, 0)), read=255).key_code == (5, 0x24, 0)
    assert initiator.scsi(address, bytes((0x03, 0, 0, 0, 18, 0)), read=18).data[0] == 0x70
    assert initiator.scsi(address, bytes((0xC1,))).key_code == (5, 0x20, 0)
    for opcode, cdb in (
        (0x08, bytes((8, 0, 0, 8, 8, 0))),
        (0x88, bytes((0x88, 0)) + bytes(7) + bytes((8, 0, 0, 0, 8, 0, 0))),
        (0xA8, bytes((0xA8, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0))),
    ):
        assert initiator.scsi(address, cdb, read=4096).data == bytes(4096), hex(opcode)
    beyond = bytes((0x28, 0, 0, 0, 0x07, 0xFF, 0, 0, 8, 0))
    assert initiator.scsi(address, beyond, read=4096).key_code == (5, 0x21, 0)
    assert initiator.scsi(address, b"\x2a" + beyond[1:], DATA).key_code == (5, 0x21, 0)
    assert initiator.scsi(address, b"\x2f" + beyond[1:]).key_code == (5, 0x21, 0)
    assert initiator.scsi(address, b"\x2f\2" + READ[2:], bytes(4096)).status == 0
    assert initiator.scsi(address, b"\x2f\2" + READ[2:], DATA).key_code == (0xE, 0x1D, 0)
    assert initiator.scsi(address, WRITE, DATA[:512]).key_code == (0xB, 0x4B, 0)
    target.disks[0].read_only = True
    assert initiator.scsi(address, WRITE, DATA).key_code == (7, 0x27, 0)


def test_disk_size_is_checked() -> None:
    with pytest.raises(ValueError, match="512"):
        RamDisk(1000)


def test_queue_full_delay_and_hold() -> None:
    loop, initiator, target, address = pair()
    target.queue_full = 1
    assert initiator.scsi(address, bytes(6)).status == fc.STATUS_FULL
    target.delay = 2.0
    started = loop.now()
    assert initiator.scsi(address, bytes(6)).status == 0
    assert loop.now() - started == pytest.approx(2.0, abs=0.01)
    task = initiator.start(address, bytes(6))
    loop.run_for(1)
    initiator.abort(task)
    loop.run_for(5)
    assert task.end.outcome is Outcome.ABORTED
    target.hold = True
    task = initiator.start(address, bytes(6))
    with pytest.raises(ScriptError, match="did not end"):
        initiator.finish(task, 1)


def test_task_management() -> None:
    _, initiator, target, address = pair()
    assert initiator.task_management(address, fc.TASK_LUN_RESET, lun=9) == fc.TMF_BAD_LUN
    target.hold = True
    held = initiator.start(address, bytes(6))
    assert initiator.task_management(address, fc.TASK_ABORT_SET) == fc.TMF_COMPLETE
    target.hold = False
    assert not held.done
    assert initiator.scsi(address, bytes(6)).status == 0
    assert initiator.task_management(address, fc.TASK_TARGET_RESET) == fc.TMF_COMPLETE
    assert initiator.scsi(address, bytes(6)).key_code == (6, 0x29, 0)
    assert initiator.scsi(address, bytes(6), lun=300).key_code == (6, 0x29, 0)


def test_logins() -> None:
    loop, initiator, target, address = pair()
    assert initiator.els(address, bytes((fc.ELS_ECHO, 0, 0, 0)))[0] == fc.ELS_LS_ACC
    assert initiator.els(address, bytes((fc.ELS_ADISC, 0, 0, 0)) + bytes(24))[8:16] == TARGET.to_bytes(
        8, "big"
    )
    assert initiator.els(address, fc.login_payload(fc.ELS_PDISC, INITIATOR, INITIATOR))[
        20:28
    ] == TARGET.to_bytes(8, "big")
    with pytest.raises(ScriptError, match="rejected"):
        initiator.els(address, bytes((fc.ELS_REC, 0, 0, 0)))
    with pytest.raises(ScriptError, match="unreachable"):
        initiator.login(0x01FF00)
    with pytest.raises(ScriptError, match="no port"):
        initiator.find(0x1234)
    initiator.logout(address)
    with pytest.raises(ScriptError, match="not logged in"):
        initiator.scsi(address, bytes(6))
    for code in (fc.ELS_ADISC, fc.ELS_PRLI):
        with pytest.raises(ScriptError, match="rejected"):
            initiator.els(address, fc.prli_payload(code, 0))
    initiator.login(address)
    # A port that lost the login on its own answers a command with LOGO.
    target.nport.drop_login(target.nport.remotes[initiator.port_id])
    task = initiator.start(address, bytes(6))
    loop.run_for(1)
    assert task.end.outcome is Outcome.LOGGED_OUT
    assert "LOGO" in initiator.events
    initiator.login(address)
    initiator.login(address)
    assert initiator.scsi(address, bytes(6)).status == 0


def test_a_new_login_ends_what_was_open() -> None:
    """Of the old one, at both ends: the target's chip may have been reset and know nothing of it."""
    _, initiator, target, address = pair()
    target.hold = True
    for forgets in (False, True):
        task = initiator.start(address, bytes(6))
        if forgets:
            target.nport.remotes.clear()
        initiator.login(address)
        assert task.end.outcome is Outcome.LOGGED_OUT
    target.hold = False
    assert initiator.scsi(address, bytes(6)).status == 0


def test_unplug_and_swap() -> None:
    loop, initiator, target, address = pair()
    target.hold = True
    task = initiator.start(address, bytes(6))
    loop.run_for(0.1)
    target.unplug()
    assert initiator.medium.ports.keys() == {initiator.port_id}
    loop.run_for(1)
    assert not task.done
    assert "RSCN" in initiator.events
    initiator.unplug()
    assert task.end.outcome is Outcome.LINK_DOWN
    outcomes: list[Outcome] = []
    initiator.nport.els(address, fc.LS_ACC, lambda outcome, payload: outcomes.append(outcome))
    loop.run_for(1)
    assert outcomes == [Outcome.LINK_DOWN]
    target.hold = False
    target.plug()
    initiator.plug()
    own = initiator.port_id
    medium = initiator.medium
    assert isinstance(medium, Switch)
    medium.swap(initiator.nport, target.nport)
    loop.run_for(1)
    assert (initiator.port_id, target.port_id) == (address, own)
    initiator.login(own)
    assert initiator.scsi(own, bytes(6)).status == 0
    target.medium.plug(target.nport)


def test_faults_on_the_wire() -> None:
    loop, initiator, target, address = pair()
    wire = initiator.medium.wire
    wire.faults.append(FrameFault(lambda frame: frame.r_ctl == fc.R_COMMAND, 2, delay=3.0))
    started = loop.now()
    assert initiator.scsi(address, bytes(6)).status == 0
    assert loop.now() - started == pytest.approx(3.0, abs=0.01)
    initiator.scsi(address, bytes(6))
    assert not wire.faults
    wire.faults.append(FrameFault(lambda frame: frame.r_ctl == fc.R_DATA, 1, clip=2048))
    assert len(initiator.scsi(address, READ, read=4096).data) == 2048
    wire.faults.append(FrameFault(lambda frame: frame.r_ctl == fc.R_STATUS, 1))
    with pytest.raises(ScriptError):
        initiator.scsi(address, bytes(6), timeout=5)
    wire.faults.append(FrameFault(lambda frame: frame.r_ctl == fc.R_ELS_REPLY, 1))
    started = loop.now()
    with pytest.raises(ScriptError, match="timeout"):
        initiator.login(address)
    assert loop.now() - started == pytest.approx(20, abs=0.1)
    wire.faults.append(FrameFault(lambda frame: frame.r_ctl in (fc.R_BA_ACC, fc.R_BA_RJT), 1))
    initiator.login(address)
    target.hold = True
    assert initiator.abort(initiator.start(address, bytes(6))) is False


def test_malformed_frames_are_survived() -> None:
    loop, initiator, target, address = pair()
    port = initiator.nport
    for r_ctl, kind in (
        (fc.R_COMMAND, 8),
        (fc.R_ELS_REQUEST, 1),
        (fc.R_DATA, 8),
        (fc.R_STATUS, 8),
        (fc.R_XFER_RDY, 8),
        (fc.R_BA_ACC, 0),
        (fc.R_CONFIRM, 8),
        (fc.R_CT_REQUEST, 0x20),
        (0xEE, 9),
    ):
        for flags in (fc.F_REQUEST, fc.F_ANSWER):
            port.send(r_ctl, address, kind, flags, 0x7777, fc.NO_ID, b"\x12")
            port.send(r_ctl, 0xFFFFFC, kind, flags, 0x7777, fc.NO_ID, b"")
    loop.run_for(1)
    initiator.login(address)
    assert initiator.scsi(address, bytes(6)).status == 0
    target.hold = True
    task = initiator.start(address, bytes(6))
    loop.run_for(0.1)
    target.nport.send(fc.R_STATUS, initiator.port_id, 8, fc.F_ANSWER, task.exchange.ox_id, 1, b"short")
    loop.run_for(0.1)
    assert task.end.outcome is Outcome.MALFORMED


def test_loop_changes() -> None:
    loop, initiator, target, address = pair(ArbitratedLoop)
    medium = initiator.medium
    assert isinstance(medium, ArbitratedLoop)
    medium.disturb(initiator.nport)
    assert "lip" in target.events
    with pytest.raises(ScriptError, match="unreachable"):
        initiator.login(0x01)
    medium.plug(initiator.nport)
    target.unplug()
    loop.run_for(1)
    assert not initiator.nport.remotes[address].plogi
    medium.set_hard_address(target.nport, 100)
    target.plug()
    assert target.port_id == LOOP_ORDER[100]


def test_loop_is_full() -> None:
    loop = Loop(virtual=True)
    medium = ArbitratedLoop(loop)
    ports = [ScriptedInitiator(loop, medium, INITIATOR + number) for number in range(127)]
    for port in ports[:126]:
        port.plug()
    with pytest.raises(ScriptError, match="no address"):
        ports[126].plug(1)


def test_fabric_services() -> None:
    _, initiator, _, _ = pair()
    for address in (0xFFFFFA, 0xFFFFFC, 0xFFFFFE):
        initiator.nport.login(address, lambda outcome, payload: None)
    assert initiator.els(0xFFFFFC, bytes((fc.ELS_LOGO,)) + bytes(15))[0] == fc.ELS_LS_ACC
    with pytest.raises(ScriptError, match="rejected"):
        initiator.els(0xFFFFFC, bytes((fc.ELS_SCR,)) + bytes(7))
    initiator.register(2)
    assert initiator._ct(0x0112, bytes(4))[8:10] == b"\x80\x01"
    own = initiator.port_id.to_bytes(4, "big")
    for code, payload in (
        (0x0113, own),
        (0x0117, own),
        (0x0172, b"\0\0\0\x08"),
        (0x0173, b"\0\0\0\x08"),
        (0x01A1, bytes(4)),
        (0x0213, own + bytes(8)),
        (0x0218, own + b"\x03abc"),
        (0x0239, bytes(12)),
        (0x0100, own),
    ):
        assert initiator._ct(code, payload)[8:10] == b"\x80\x02", hex(code)
    for code in (0x0217, 0x021F, 0x0218, 0x0300):
        assert initiator._ct(code, bytes(40))[8:10] == b"\x80\x01"
    assert initiator._ct(0x0300, own)[8:10] == b"\x80\x02"
    assert initiator._ct(0x0171, b"\0\0\0\x55")[8:10] == b"\x80\x01"


def test_virtual_time() -> None:
    loop = Loop(virtual=True)
    order: list[str] = []
    loop.call_later(5, lambda: order.append("late"))
    cancelled = loop.call_later(3, lambda: order.append("never"))
    loop.call_later(1, lambda: order.append("early"))
    cancelled.cancel()
    loop.call_soon(lambda: order.append("now"))
    assert loop.run_until(lambda: len(order) == 3, 10)
    assert order == ["now", "early", "late"]
    assert loop.now() == pytest.approx(5)
    assert not loop.run_until(lambda: False, 1)
    loop.close()
