# SPDX-License-Identifier: GPL-2.0-or-later
"""Portals, users and parameters of iSCSI: the tree, and what the tool makes of it."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pyscstadmin.admin import Admin
from pyscstadmin.config import iscsi_edits
from pyscstadmin.config.model import Config, Iscsi, Portal, Target, User
from pyscstadmin.config.schema import dumps, loads
from pyscstadmin.config.settings import (
    DRIVERS,
    ISCSI,
    ISCSI_USER,
    PORTAL,
    USER_ATTRIBUTES,
    Number,
    Setting,
    Text,
    Word,
)
from pyscstadmin.errors import ApplyFailed, Conflict, InvalidInput, OperationError
from pyscstadmin.kernel.cfs import Tree
from tests.sim.support import NOT_BOOLEAN, NOT_NUMBER, TOO_LARGE, refused

IQN = "iqn.2026-11.com.example:disk"
T, P, U = f"targets/iscsi/{IQN}", "drivers/iscsi/portals/p", "drivers/iscsi/users/u"
SECRET, OTHER = "correct horse battery", "staple and more of it"
# Of the table, without what all targets have, and where it is not an attribute.
OWN = {row.attribute: row for name, row in DRIVERS["iscsi"].settings.items() if name not in ("queue_depth",)}
TABLES = {
    "drivers/iscsi": ISCSI,
    P: PORTAL,
    T: {name: row for name, row in OWN.items() if "buffer_limit" not in name},
    U: {name: ISCSI_USER[name] for name in USER_ATTRIBUTES if name != "expires"},
}
ROWS = [(f"{path}/{name}", row) for path, rows in TABLES.items() for name, row in rows.items()]
# Texts that are right, or wrong, for each attribute of that type.
TEXTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "address": (("10.0.0.1", "fe80::1%eth0", "::", "eth0", "*"), ("", "10.0.0", "::g", "a b", "x" * 16)),
    "netns": (("blue", ""), ("a/b", "..", "x" * 256)),
    "alias": (("one", "für alle", ""), ("a\tb", "x" * 256)),
    "chap_algorithms": (("md5", "sha1,md5"), ("", "md5,md5", "sha512")),
}
HOSTS = (
    ("san", "10.0.0.1:3260", "[::1]", "[::1]:1", ""),
    ("::1", "a:", "a:0", "10.0.0", "[::1]x", "x" * 300),
)


@pytest.fixture
def made(tree: Tree) -> Tree:
    """A target, a portal, a user of discovery."""
    for path in (T, P, U):
        tree.mkdir(path)
    return tree


@pytest.fixture
def secret(tmp_path: Path) -> Callable[..., str]:
    """A file with a secret."""

    def write(name: str, text: str = SECRET, mode: int = 0o600) -> str:
        path = tmp_path / name
        path.write_text(f"{text}\n")
        path.chmod(mode)
        return str(path)

    return write


def wanted(*files: str) -> Config:
    """A target at one of two portals, with users of these secrets: in, and out."""
    users = [
        User(name, direction=name, secret_file=file, uses=2, expires="2026-12-31T00:00:00Z")
        for name, file in zip(("in", "out"), files, strict=False)
    ]
    target = Target(
        "iscsi", IQN, portals=["p"], users=users, auth="chap", max_burst_length=65536, first_burst_length=512
    )
    return Config(
        (),
        (target,),
        iscsi=Iscsi([Portal("p", address="10.0.0.1"), Portal("q", port=1)], users[:1], max_half_open=9),
    )


# --- the tree ---


def test_what_is_there(made: Tree) -> None:
    assert set(made.list("drivers/iscsi")) == {*ISCSI, "isns_state", "portals", "users"}
    assert set(made.list(P)) == {*PORTAL, "state"}
    assert set(made.list(U)) == {*USER_ATTRIBUTES, "secret", "secret_from"}
    common = {"enabled", "state", "rel_tgt_id", "lun_table", "queue_depth", "luns", "groups"}
    own = {name.partition("/")[0] for name in OWN}
    assert set(made.list(T)) == {*common, *own, "portals", "users"}


@pytest.mark.parametrize(("path", "row"), ROWS, ids=[path for path, _ in ROWS])
def test_values(made: Tree, path: str, row: Setting) -> None:
    """The table says what each takes, as the kernel decides."""
    kind, usual = row.type, row.type.to_kernel(row.default)
    assert made.read(path) == usual
    if isinstance(kind, Text):
        good, bad = TEXTS.get(row.name, HOSTS)
    elif isinstance(kind, Word):
        good, bad = kind.only, ("", "nonsense", kind.only[0].upper())
    elif isinstance(kind, Number):
        good, bad = (str(kind.low), hex(kind.high)), (str(kind.high + 1), TOO_LARGE, *NOT_NUMBER)
        bad = (*bad, str(kind.low - 1)) if kind.low else bad
    else:
        good, bad = ("0", "1", "y", "off"), NOT_BOOLEAN
    for text in good:
        made.write(path, text)
        assert row.type.from_kernel(made.read(path)) == row.type.store(text)
    before = made.read(path)
    for text in bad:
        with refused(errno.EINVAL, errno.ERANGE, errno.ENAMETOOLONG):
            made.write(path, text)
        assert not isinstance(row.type.store(text), type(row.type.from_kernel(before))), text
        assert made.read(path) == before
    made.write(path, usual)


def test_state(made: Tree) -> None:
    assert made.read(f"{P}/state") == "waiting: for scst-iscsid"
    with refused(errno.EACCES, errno.EINVAL):
        made.write(f"{P}/state", "listening")


@pytest.mark.parametrize(
    ("path", "number"),
    [
        (P, errno.EEXIST),
        (U, errno.EEXIST),
        (f"{P}{'x' * 63}", errno.ENAMETOOLONG),
        ("drivers/iscsi/portals/a b", errno.EINVAL),
        (f"{U}{'x' * 223}", errno.ENAMETOOLONG),
        ("drivers/iscsi/users/a b", errno.EINVAL),
        ("drivers/iscsi/x", errno.EPERM),
        ("drivers/x", errno.EPERM),
        (f"{T}/portals/x", errno.EPERM),
        (f"{T}/params/x", errno.EPERM),
        (f"{P}/x", errno.EPERM),
    ],
)
def test_names(made: Tree, path: str, number: int) -> None:
    with refused(number):
        made.mkdir(path)


def test_links(made: Tree) -> None:
    """Links keep both ends, and lead to portals only."""
    made.symlink(P, f"{T}/portals/by-hand")
    assert made.readlink(f"{T}/portals/by-hand") == P
    assert made.read(f"{T}/portals/by-hand/port") == "3260"
    with refused(errno.EBUSY):
        made.rmdir(P)
    with refused(errno.ENOTEMPTY):
        made.rmdir(T)
    for where, what, number in (
        (f"{T}/portals/by-hand", P, errno.EEXIST),
        (f"{T}/portals/x", U, errno.EINVAL),
        (f"{T}/portals/x", T, errno.EINVAL),
        (f"{T}/users/x", P, errno.EPERM),
        ("drivers/iscsi/portals/x", P, errno.EPERM),
    ):
        with refused(number):
            made.symlink(what, where)
    made.unlink(f"{T}/portals/by-hand")
    made.rmdir(P)
    made.rmdir(T)


@pytest.mark.parametrize("folder", ["drivers/iscsi/users", f"{T}/users"])
def test_secrets(made: Tree, folder: str) -> None:
    """Written, and never read; not the same in both directions."""
    one, two = f"{folder}/one", f"{folder}/two"
    made.mkdir(one)
    made.mkdir(two)
    made.write(f"{two}/direction", "out")
    with refused(errno.EACCES, errno.EPERM):
        made.read(f"{one}/secret")
    assert made.read(f"{one}/secret_from") == ""
    with refused(errno.ENOKEY):
        made.write(f"{one}/secret_from", "/x")
    for text in ("", "x" * 11, "x" * 65):
        with refused(errno.ERANGE):
            made.write(f"{one}/secret", text)
    made.write(f"{one}/secret", SECRET)
    assert made.read(f"{one}/secret_from") == "-"
    with refused(errno.EEXIST):
        made.write(f"{two}/secret", SECRET)
    made.write(f"{two}/secret", OTHER)
    made.write(f"{two}/direction", "in")
    made.write(f"{two}/secret", SECRET)
    with refused(errno.EEXIST):
        made.write(f"{two}/direction", "out")
    for text in ("", "a\tb", "x" * 256):
        with refused(errno.EINVAL, errno.ENAMETOOLONG):
            made.write(f"{one}/secret_from", text)


# --- the tool ---


def test_there_and_back(admin: Admin, secret: Callable[..., str]) -> None:
    """Applied, read, saved and read back: the same; applied again: nothing to do. Then all of it goes."""
    files = secret("in"), secret("out", OTHER)
    config = wanted(*files)
    assert admin.apply(config)
    assert not admin.apply(config)
    text = dumps(admin.config())
    limits = {"expires": "2026-12-31T00:00:00Z", "uses": 2}
    assert json.loads(text)["iscsi"]["users"] == {"in": {"secret_file": files[0], **limits}}
    assert admin.tree.read(f"{T}/users/in/expires") == "1798675200"
    assert not admin.apply(loads(text))
    assert admin.config().iscsi.portals == config.iscsi.portals
    assert admin.config().targets[0].portals == ("p",)
    assert admin.tree.read(f"{T}/params/max_burst_length") == "65536"
    assert admin.clear()
    assert admin.config() == Config()


def test_order(admin: Admin, secret: Callable[..., str]) -> None:
    """A portal before its link, a secret before the target is open; a link goes before its portal."""
    there = [
        operation.text for operation in admin.plan(wanted(secret("in"), secret("out", OTHER))).operations
    ]
    for first, second in (
        ("create portal p", f"link target iscsi/{IQN} to portal p"),
        (f"create user in of target iscsi/{IQN}", f"enable target iscsi/{IQN}"),
        (f"link target iscsi/{IQN} to portal p", f"enable target iscsi/{IQN}"),
    ):
        assert there.index(first) < there.index(second)
    admin.apply(wanted(secret("in"), secret("out", OTHER)))
    gone = [operation.text for operation in admin.plan(Config()).operations]
    away = f"take target iscsi/{IQN} from portal p"
    assert gone.index(away) < gone.index(f"remove target iscsi/{IQN}") < gone.index("remove portal p")


def test_a_secret_that_has_changed_is_read_again(admin: Admin, secret: Callable[..., str]) -> None:
    path = secret("in")
    admin.apply(wanted(path))
    secret("in", OTHER)
    outcome = admin.apply(wanted(path))
    assert [operation.text for operation in outcome.done] == [
        "change secret of user in of discovery",
        f"change secret of user in of target iscsi/{IQN}",
    ]
    assert not admin.apply(wanted(path))
    # One that nobody can look at is as it was; so is one of which nothing is said.
    os.unlink(path)
    assert not admin.apply(wanted(path))
    assert not admin.apply(wanted(""))


def test_a_secret_by_hand_stays(admin: Admin, secret: Callable[..., str]) -> None:
    admin.apply(wanted(secret("in")))
    admin.tree.write(f"{T}/users/in/secret", OTHER)
    assert admin.config().targets[0].users[0].secret_file == "-"
    assert "secret_file" not in json.loads(dumps(admin.config()))["targets"]["iscsi"][IQN]["users"]["in"]
    assert not admin.apply(admin.config())
    assert admin.apply(wanted(secret("in")))


def test_links_by_hand(admin: Admin) -> None:
    """They are called as somebody liked, and go as all others do."""
    admin.apply(Config((), (Target("iscsi", IQN),), iscsi=Iscsi([Portal("p"), Portal("q", port=1)])))
    admin.tree.symlink(P, f"{T}/portals/one")
    admin.tree.symlink("drivers/iscsi/portals/q", f"{T}/portals/two")
    config = admin.config()
    assert config.targets[0].portals == ("p", "q")
    assert not admin.apply(config)
    for left in (("p",), ()):
        assert admin.change(iscsi_edits.remove_links(("iscsi", IQN), ["p"] if not left else ["q"]))
        assert admin.config().targets[0].portals == left


@pytest.mark.parametrize(
    ("text", "mode", "number"),
    [
        ("x" * 11, 0o600, errno.ERANGE),
        ("x" * 65, 0o600, errno.ERANGE),
        (SECRET, 0o640, errno.EPERM),
        (SECRET, 0o602, errno.EPERM),
    ],
    ids=["short", "long", "group", "others"],
)
def test_bad_files(admin: Admin, secret: Callable[..., str], text: str, mode: int, number: int) -> None:
    """Nothing is changed, the error has the path and none of the secret."""
    path = secret("in", text, mode)
    with pytest.raises(ApplyFailed) as failed:
        admin.apply(wanted(path))
    assert isinstance(failed.value.cause, OperationError)
    assert failed.value.cause.errno == number
    assert path in str(failed.value)
    assert text not in str(failed.value)
    assert admin.config() == Config()
    with pytest.raises(ApplyFailed):
        admin.apply(wanted(f"{path}.nowhere"))


def test_no_error_has_the_secret(admin: Admin, secret: Callable[..., str]) -> None:
    """The kernel refuses one that is the same in both directions, whatever the files are called."""
    with pytest.raises(ApplyFailed) as failed:
        admin.apply(wanted(secret("in"), secret("copy")))
    assert isinstance(failed.value.cause, OperationError)
    assert failed.value.cause.errno == errno.EEXIST
    for text in (str(failed.value), repr(failed.value), json.dumps(failed.value.as_dict(), default=str)):
        assert SECRET not in text
    assert admin.config() == Config()


def test_edits(admin: Admin, secret: Callable[..., str]) -> None:
    """What the verbs are made of, one by one."""
    admin.create_target(Target("iscsi", IQN))
    key = ("iscsi", IQN)
    for edit in (
        iscsi_edits.create_portal(Portal("p", address="10.0.0.1")),
        iscsi_edits.create_portal(Portal("q")),
        iscsi_edits.change_portal("q", {"port": 3261}),
        iscsi_edits.add_links(key, ["p", "q"]),
        iscsi_edits.create_user(key, User("u", secret_file=secret("u"))),
        iscsi_edits.create_user(None, User("u")),
        iscsi_edits.change_user(key, "u", {"direction": "out"}),
        iscsi_edits.change_iscsi({"login_timeout": 20}),
        iscsi_edits.remove_links(key, ["q"]),
    ):
        assert admin.change(edit)
    config = admin.config()
    assert config.targets[0].portals == ("p",)
    assert config.targets[0].users[0].settings["direction"] == "out"
    assert config.iscsi.settings["login_timeout"] == 20
    secret("u", OTHER)
    assert admin.change(iscsi_edits.change_user(key, "u", {"secret_file": secret("u", OTHER)}))
    for edit, words in (
        (iscsi_edits.create_portal(Portal("p")), "exists already"),
        (
            iscsi_edits.create_portal(Portal("r", address="10.0.0.1")),
            "portal p has the same address and port",
        ),
        (iscsi_edits.remove_portal("p"), "take it from there first"),
        (iscsi_edits.add_links(key, ["p"]), "already"),
        (iscsi_edits.add_links(key, ["z"]), "there is no portal z"),
        (iscsi_edits.remove_links(key, ["q"]), "is no portal of"),
        (iscsi_edits.create_user(key, User("u")), "exists already"),
        (iscsi_edits.remove_user(key, "v"), "there is no user v"),
    ):
        with pytest.raises(Conflict, match=words):
            admin.change(edit)
    assert admin.change(iscsi_edits.remove_user(key, "u"))
    assert admin.change(iscsi_edits.remove_portal("q"))


def test_isns_server(admin: Admin) -> None:
    """It is one, and there is a word of what becomes of it; or it is said what it has to be."""
    assert admin.isns_state() == "off"
    admin.apply(Config(iscsi=Iscsi(isns_server="[2001:db8::9]:3206")))
    assert admin.isns_state() == "waiting: for scst-iscsid"
    assert admin.config().iscsi.settings["isns_server"] == "[2001:db8::9]:3206"
    assert admin.change(iscsi_edits.change_iscsi({"isns_server": ""}))
    assert admin.isns_state() == "off"
    for value, words in (
        ("isns:0", "isns_server: 'isns:0' must have a port of 1-65535"),
        ("10.0.0.300", "isns_server: '10.0.0.300' must be a name, an IPv4 address, or an IPv6 address in"),
        ("2001:db8::9", "an IPv6 address in brackets"),
    ):
        with pytest.raises(InvalidInput, match=re.escape(words)):
            Iscsi(isns_server=value)


def test_refused_before_anything_is_done(admin: Admin, secret: Callable[..., str]) -> None:
    """What contradicts itself, with the place and a word of advice."""
    file = secret("in")
    two = [User("a", direction="out"), User("b", direction="out")]
    for config, words in (
        (Config((), (Target("iscsi", "t1"),)), "is no iSCSI name"),
        (Config((), (Target("iscsi", IQN, portals=["z"]),)), "there is no portal 'z'"),
        (Config((), (Target("iscsi", IQN, first_burst_length=2 << 20),)), "max_burst_length"),
        (Config((), (Target("iscsi", IQN, redirect="a", redirect_permanent="b"),)), "leave one of them out"),
        (Config((), (Target("iscsi", IQN, users=two),)), "proves itself as one"),
        (wanted(file, file), "of the other direction has the same"),
        (Config(iscsi=Iscsi([Portal("a"), Portal("b")])), "has the same address and port"),
    ):
        with pytest.raises(InvalidInput, match=words):
            admin.apply(config)
    assert admin.config() == Config()


def test_names_of_targets(admin: Admin) -> None:
    """One name in any spelling; portal group 1 goes without saying."""
    admin.create_target(Target("iscsi", f"{IQN.upper()},t,0x0001"))
    assert admin.config().targets[0].name == IQN
    with pytest.raises(Conflict):
        admin.create_target(Target("iscsi", IQN))
    admin.create_target(Target("iscsi", f"{IQN},T,0X0002"))
    assert {target.name for target in admin.config().targets} == {IQN, f"{IQN},t,0x0002"}
