# SPDX-License-Identifier: GPL-2.0-or-later
"""`scstadmin pr`: what is reserved is shown, cleared, and carried to another device, on the simulated tree;
what is carried is read by the kernel's own reader of it (kmod/core/pr-record.c).
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pyscstadmin.admin import Admin
from pyscstadmin.config.reservations import (
    NOTHING,
    TYPES,
    Registrant,
    Reservations,
    check,
    from_json,
    initiator_of,
    parse,
    record,
    to_json,
)
from pyscstadmin.errors import Conflict, InvalidInput, OperationError
from pyscstadmin.shell.main import Failure, Shell
from pyscstadmin.sim.device import Device
from pyscstadmin.sim.tree import SimTree
from tests.model.transport_id import FIBRE_CHANNEL, SAS, fixed, iscsi
from tests.unit.pr_kernel import Kernel

Do = Callable[..., list[str]]
A, B = iscsi("iqn.2026-11.com.example:a").hex(), fixed(FIBRE_CHANNEL, bytes(range(8))).hex()
STATE = f"""generation 7
type write_exclusive_registrants_only
aptpl 1
lost 0
registrant 0x0000000000000abc 1 {A} holder
registrant 0xffffffffffffffff 2 {B}


"""
FOUND = Reservations(
    7,
    "write_exclusive_registrants_only",
    aptpl=True,
    lost=False,
    registrants=(Registrant(0xABC, 1, A, holder=True), Registrant(2**64 - 1, 2, B, holder=False)),
)
NAA = "3" * 16
NONE, WHOLE = 0, 1
SLOT = 512 << 10


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Admin]:
    with Admin(sim=str(tmp_path / "sim")) as made:
        yield made


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    return Kernel(tmp_path_factory.mktemp("pr"))


def sim_device(admin: Admin, name: str) -> Device:
    tree = admin.tree
    assert isinstance(tree, SimTree)
    found = tree.find(f"devices/nullio/{name}")
    assert isinstance(found, Device)
    return found


@pytest.fixture
def reserved(do: Do, admin: Admin, tmp_path: Path) -> Device:
    """A device that somebody has reserved."""
    do(f"create device n 1M handler=nullio naa={NAA} pr_file={tmp_path}/n.pr")
    device = sim_device(admin, "n")
    device.pr.state = STATE
    return device


def refused(shell: Shell, line: str) -> Failure:
    failure = shell.execute(line)
    assert failure is not None, line
    return failure


def test_state_of_the_kernel() -> None:
    assert parse(STATE) == FOUND
    assert parse(NOTHING) == Reservations(0, "none", aptpl=False, lost=False)
    assert parse(f"{NOTHING}reserve local/t1 some name\n").reserve == "local/t1 some name"
    for wrong in ("", "generation 1\n", STATE.replace("0xffff", "0xgfff"), STATE.replace("lost 0\n", "")):
        with pytest.raises(ValueError, match=r"invalid literal|no line|not enough"):
            parse(wrong)


def test_names_of_initiators() -> None:
    assert initiator_of(A) == "iqn.2026-11.com.example:a"
    assert initiator_of(B) == "00:01:02:03:04:05:06:07"
    sas = fixed(SAS, bytes(range(8))).hex()
    assert initiator_of(sas) == sas


def test_show(do: Do, reserved: Device) -> None:
    said = do("pr show n")
    assert said[0] == "write exclusive, registrants only"
    assert said[1] == "generation 7; outlives a loss of power"
    assert said[3].split() == ["iqn.2026-11.com.example:a", "1", "0xabc", "holder"]
    assert said[4].split() == ["00:01:02:03:04:05:06:07", "2", "0xffffffffffffffff"]
    assert do("/devices/nullio/n pr show") == said
    reserved.pr.state = f"{NOTHING}reserve local/t1 first\n"
    assert do("pr show n")[0] == "reserved (RESERVE) by first on local/t1"
    reserved.pr.state = NOTHING.replace("lost 0", "lost 1")
    assert do("pr show n")[0].startswith("lost: ")


def test_clear(do: Do, shell: Shell, reserved: Device, admin: Admin) -> None:
    """Only what was looked at, and not without a question."""
    refused(shell, "pr clear n")
    assert reserved.pr.state == STATE
    assert do("pr clear n yes=yes") == ["n: 2 registrations end"]
    assert parse(reserved.pr.state) == Reservations(8, "none", aptpl=False, lost=False)
    assert do("pr clear n") == ["nothing to do"]
    with pytest.raises(OperationError) as caught:
        admin.clear_reservations("n", 7)
    assert caught.value.errno == errno.ESTALE
    assert "has changed" in caught.value.advice
    reserved.pr.state = NOTHING.replace("lost 0", "lost 1")
    do("pr clear n yes=yes", "disable device n")
    with pytest.raises(OperationError) as caught:
        admin.clear_reservations("n", 1)
    assert caught.value.errno == errno.ESHUTDOWN


def test_carried_to_another(
    do: Do, shell: Shell, reserved: Device, admin: Admin, kernel: Kernel, tmp_path: Path
) -> None:
    """Exported, imported, and read by the kernel as what it was."""
    file, there = tmp_path / "n.json", tmp_path / "m.pr"
    assert do(f"pr export n {file}") == [f"{file}: 2 registrants"]
    assert json.loads(file.read_text()) == {"schema": "scstadmin/pr/1", "device": "n", **to_json(FOUND)}
    do("create device m 1M handler=nullio")
    assert "is active" in refused(shell, f"pr import m {file} yes=yes").message
    do("disable device m")
    assert "no pr_file" in refused(shell, f"pr import m {file} yes=yes").message
    do(f"set device m pr_file={there}")
    refused(shell, f"pr import m {file}")
    assert not there.exists()
    do(f"pr import m {file} yes=yes")
    data = there.read_bytes()
    told, info = kernel.check(data[:SLOT])
    assert told == WHOLE
    assert bytes(info.owner[: info.owner_len]).hex() == sim_device(admin, "m").id.show("naa")
    assert kernel.check(data[SLOT:])[0] == NONE
    assert stat.S_IMODE(there.stat().st_mode) == 0o600
    state = kernel.decode(data[:SLOT], info.nr)
    assert [entry.key for entry in state.registrants] == [0xABC, 2**64 - 1]
    assert [(one.initiator.hex(), one.port) for one in state.nexuses()] == [(A, 1), (B, 2)]
    assert (state.head.type, state.head.holder, state.head.aptpl, state.head.lost) == (5, 0, True, False)


@pytest.mark.parametrize("number", [0, 1, 7])
@pytest.mark.parametrize("kind", TYPES)
def test_record_is_the_kernels(kernel: Kernel, kind: str, number: int) -> None:
    """Byte by byte what the kernel makes of the same state."""
    everybody = kind.endswith("all_registrants")
    if kind != "none" and not number:
        return
    registrants = tuple(
        Registrant(
            at + 1,
            at + 1,
            iscsi("i" * 9 * (at + 1)).hex(),
            everybody or (kind != "none" and at == number - 1),
        )
        for at in range(number)
    )
    wanted = Reservations(3, kind, aptpl=True, lost=False, registrants=registrants)
    check(wanted)
    made = record(wanted, bytes.fromhex(NAA), 77)
    assert kernel.encode(kernel.decode(made, number), 77, bytes.fromhex(NAA)) == made


def test_there_and_back() -> None:
    assert from_json(to_json(FOUND)) == FOUND


@pytest.mark.parametrize(
    "wrong",
    [
        replace(FOUND, type="some"),
        replace(FOUND, type="none"),
        replace(FOUND, type="write_exclusive_all_registrants"),
        replace(FOUND, lost=True),
        replace(FOUND, registrants=FOUND.registrants[1:]),
        replace(FOUND, registrants=FOUND.registrants[:1] * 2),
        replace(FOUND, registrants=(replace(FOUND.registrants[0], key=0),)),
        replace(FOUND, registrants=(replace(FOUND.registrants[0], port=0),)),
        replace(FOUND, registrants=(replace(FOUND.registrants[0], transport_id="00"),)),
    ],
)
def test_what_there_cannot_be(wrong: Reservations) -> None:
    with pytest.raises(InvalidInput):
        from_json(to_json(wrong))


def test_files_that_are_none(do: Do, shell: Shell, reserved: Device, tmp_path: Path) -> None:
    do("disable device n")
    file = tmp_path / "file"
    for text in ("[]", "{}", '{"generation": []}', '{"generation": 1e999}'):
        file.write_text(text)
        assert "as `pr export` writes them" in refused(shell, f"pr import n {file} yes=yes").message
    for text, why in (("", ":1:1: not JSON"), ("\xff", "not UTF-8"), ("[" * 99999, "nested too deeply")):
        file.write_bytes(text.encode("latin-1"))
        assert why in refused(shell, f"pr import n {file} yes=yes").message
    os.truncate(file, 1 << 40)
    assert "larger than" in refused(shell, f"pr import n {file} yes=yes").message
    assert "No such file" in refused(shell, f"pr import n {file}2 yes=yes").message
    assert "say FILE" in refused(shell, "pr export n").message
    assert "there is no way" in refused(shell, "pr look n").message


def test_one_file_is_for_one_device(do: Do, shell: Shell, reserved: Device, tmp_path: Path) -> None:
    failure = refused(shell, f"create device m 1M handler=nullio pr_file={tmp_path}/n.pr")
    assert f"pr_file {tmp_path}/n.pr is that of device n as well" in failure.message


def test_no_device_of_that_name(admin: Admin) -> None:
    with pytest.raises(Conflict):
        admin.reservations("n")
