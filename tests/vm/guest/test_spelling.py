# SPDX-License-Identifier: GPL-2.0-or-later
"""One initiator, one name: what was made by hand, in whatever spelling, decides for all spellings."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pyscstadmin.admin import Admin
from pyscstadmin.config.model import Group, Lun
from pyscstadmin.config.spelling import canonical
from tests.unit.spellings import GID_WAYS, WWN_WAYS, grouped, pairs
from tests.vm.guest import tree
from tests.vm.guest.tree import Target

SCST_MODULES = ("scst", "scst_nullio", "scst_local", "sd_mod", "sg")

pytestmark = pytest.mark.usefixtures("clean_tree")

WWN = "5000c500a1b2c3d4"
OTHER = "5000c500a1b2c3d5"
GID = "fe800000000000000002c90300a15de1"
IQN = "iqn.2026-11.com.example:Host-7"
WAYS = {
    WWN: [way(WWN) for way in WWN_WAYS],
    GID: [way(GID) for way in GID_WAYS],
    IQN: [IQN, IQN.lower(), IQN.upper()],
}


@pytest.fixture
def target() -> Target:
    """A target with a LUN 9 for everybody that no group claims."""
    made = Target("t1").make(auto_rescan=False)
    made.luns.map(9, tree.nullio("others"))
    made.enable()
    return made


def refused(path: Path) -> int:
    """The errno of a mkdir, 0 if it is made."""
    try:
        path.mkdir()
    except OSError as error:
        return error.errno or -1
    return 0


@pytest.mark.parametrize("number", WAYS)
def test_any_spelling_is_claimed(target: Target, number: str) -> None:
    """Whatever the group was told and whatever the initiator calls itself, it sees the group's LUNs."""
    ways = WAYS[number]
    group = target.group("g")
    group.luns.map(0, tree.nullio("d"))
    for index, spelling in enumerate(ways):
        group.claim(ways[-1 - index])
        host = target.login(spelling)
        assert (host.group(), host.view()) == ("g", "0 d rw\n"), spelling
        assert tree.read(host.session / "initiator") == canonical(number)
        target.logout(spelling)
        group.disclaim(ways[-1 - index])


@pytest.mark.parametrize("number", WAYS)
def test_a_second_spelling_exists_already(target: Target, number: str) -> None:
    group = target.group("g")
    for first in WAYS[number][:3]:
        group.claim(first)
        target.login(first)
        for spelling in WAYS[number]:
            assert refused(group.path / "initiators" / spelling) == errno.EEXIST, spelling
            assert refused(target.path / "hosts" / spelling) == errno.EEXIST, spelling
        assert refused(group.path / "initiators" / f"!{first}") == 0
        assert refused(group.path / "initiators" / f"!{WAYS[number][-1]}") == errno.EEXIST
        group.disclaim(first, f"!{first}")
        target.logout(first)


def test_patterns_and_precedence(target: Target) -> None:
    """An exact name in another spelling wins over patterns, and these match in any spelling."""
    exact = target.group("exact", f"naa.{WWN.upper()}").set_priority(9)
    pattern = target.group("pattern", "5000C5*")
    host, other = target.login(pairs(WWN)), target.login(f"wwn-0x{OTHER}")
    plain = target.login("5000c5-not-a-wwn:x")
    assert (host.group(), other.group(), plain.group()) == ("exact", "pattern", "pattern")
    for text in ("0x5000c5*", "50-00-c5-*", "NAA.50:00:C5:*", "?000c500a1b2c3d?", "!iqn.*"):
        with tree.staging():
            pattern.disclaim(*(path.name for path in (pattern.path / "initiators").iterdir()))
            pattern.claim(text)
        assert (host.group(), other.group()) == ("exact", "pattern"), text
    with tree.staging():
        pattern.disclaim("!iqn.*")
        pattern.claim("n*", "w*", "*-d5", "*:c3d5", "naa.5000c501*")
    assert (other.group(), other.view()) == ("", "9 others rw\n")
    exact.remove()
    assert host.group() == ""


def test_who_it_is_on_the_wire(target: Target) -> None:
    """All spellings of a number have one TransportID: SAS for a WWN, SRP for a GID."""
    found = set()
    for number in (WWN, GID):
        for spelling in WAYS[number]:
            host = target.login(spelling)
            found.add((number, tree.read(host.session / "transport_id")))
            target.logout(spelling)
    assert found == {(WWN, f"06000000{WWN}".ljust(48, "0")), (GID, f"04{'0' * 14}{GID}")}


def test_the_tool_finds_its_way(target: Target) -> None:
    """What was made by hand is shown in canonical spelling, decided alike, left alone, and removed by any."""
    device = tree.nullio("d")
    target.group("g", f"0x{WWN.upper()}").luns.map(0, device)
    host = target.login(f"naa.{WWN}")
    session = host.session
    with Admin() as admin:
        config = admin.config()
        assert config.targets[0].hosts == (pairs(WWN),)
        assert config.targets[0].groups == (Group("g", initiators=(WWN,), luns=(Lun(0, "d"),)),)
        for spelling in WAYS[WWN]:
            assert admin.explain("t1", spelling).group == host.group() == "g"
        assert not admin.apply(config).done
        assert host.session == session
        admin.remove_initiator("t1", "g", f"wwn-0x{WWN}")
        assert host.group() == ""
        admin.add_initiator("t1", "g", grouped(WWN, 2, "-"))
        assert [path.name for path in target.path.glob("groups/g/initiators/*")] == [pairs(WWN)]
        assert host.group() == "g"
        admin.remove_host("t1", WWN)
        tree.wait_for("logout", lambda: tree.find_session(target, WWN) is None)
