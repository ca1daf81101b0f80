# SPDX-License-Identifier: GPL-2.0-or-later
"""What is configured of iSCSI: portals, users, parameters of targets, links of targets to portals."""

from __future__ import annotations

import collections
import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import tree
from tests.vm.guest.patience import SLOW, children
from tests.vm.guest.test_unload_race import delete_module, load_module, make_and_remove

SCST_MODULES = ("scst", "scst_iscsi")

pytestmark = pytest.mark.usefixtures("clean_tree")

DRIVER = tree.ROOT / "drivers/iscsi"
PORTALS, USERS = DRIVER / "portals", DRIVER / "users"
TARGETS = tree.ROOT / "targets/iscsi"
IQN = "iqn.2026-11.com.example:disk"
SECRET = "correct horse"
RACE_SECONDS = float(os.environ.get("SCST_RACE_SECONDS") or 2 + 2 * SLOW)

# Attribute, its default, values that are taken, and values that are not.
Row = tuple[str, str, tuple[str, ...], tuple[str, ...]]
RANGE = errno.ERANGE


def number(name: str, default: int, low: int, high: int) -> Row:
    """A number from *low* to *high*."""
    below = () if low == 0 else (str(low - 1),)
    return name, str(default), (str(low), str(high)), (*below, str(high + 1), "-1", "x", "")


def text(name: str, good: tuple[str, ...], bad: tuple[str, ...]) -> Row:
    """A text that is empty at first, and may be again."""
    return name, "", (*good, ""), bad


LONG = "a" * 256
HOSTS = ("10.0.0.1", "10.0.0.1:3260", "san.example.com", "san:1", "[fe80::1]", "[2001:db8::1]:65535")
NO_HOSTS: tuple[str, ...] = ("10.0.0", "10.0.0.256", "300", "a:0", "a:65536", "a:", "a b", "fe80::1")
NO_HOSTS += ("[::g]", "[::1", "[::1]x", "[]", "[::1%eth0]", LONG)
DIGESTS = ("none", "crc32c", "crc32c,none", "none,crc32c"), ("crc32", "", "none,none", "none, crc32c")

ATTRIBUTES: dict[str, tuple[Row, ...]] = {
    "drivers/iscsi": (
        number("max_connections", 4096, 1, 65535),
        number("max_half_open", 1024, 1, 65535),
        number("login_timeout", 15, 1, 3600),
        number("memory_limit", 256 << 20, 1 << 20, (1 << 32) - 1),
        text("isns_server", HOSTS, NO_HOSTS),
    ),
    "drivers/iscsi/portals/p": (
        (
            "address",
            "*",
            ("10.0.0.1", "0.0.0.0", "::", "fe80::1%eth0", "2001:db8::1", "eth0", "eth0.7", "*"),
            (
                "",
                "10.0.0",
                "10.0.0.1.2",
                "fe80::1%",
                "::g",
                "1::2::3",
                "a/b",
                "a" * 16,
                "a b",
                "10.0.0.1:3260",
                "eth*",
                LONG,
            ),
        ),
        number("port", 3260, 1, 65535),
        text("netns", ("blue", "cni-1234"), ("a/b", ".", "..", "a b", LONG)),
        text("advertise", HOSTS, NO_HOSTS),
        ("discovery_auth", "none", ("chap", "none"), ("", "CHAP", "md5")),
    ),
    f"targets/iscsi/{IQN}": (
        text("alias", ("disks of the cluster", "für alle"), ("a\tb", LONG)),
        ("auth", "none", ("chap", "none"), ("", "krb5")),
        (
            "chap_algorithms",
            "sha3-256,sha256,sha1,md5",
            ("sha256", "md5,sha1"),
            ("", "sha512", "md5,md5", "md5,", ",md5", "md5 sha1", "md"),
        ),
        number("max_sessions", 0, 0, 65535),
        text("redirect", HOSTS, NO_HOSTS),
        text("redirect_permanent", HOSTS, NO_HOSTS),
    ),
    f"targets/iscsi/{IQN}/params": (
        ("header_digest", "none,crc32c", *DIGESTS),
        ("data_digest", "none,crc32c", *DIGESTS),
        ("initial_r2t", "0", ("1", "0"), ("2", "")),
        ("immediate_data", "1", ("0", "1"), ("2", "")),
        number("max_recv_data_segment_length", 262144, 512, 0xFFFFFF),
        number("max_burst_length", 1048576, 512, 0xFFFFFF),
        number("first_burst_length", 262144, 512, 0xFFFFFF),
        number("max_outstanding_r2t", 8, 1, 65535),
        number("queue_depth", 128, 1, 1024),
        number("nop_interval", 15, 0, 3600),
        number("nop_timeout", 30, 0, 3600),
        number("send_timeout", 60, 0, 3600),
    ),
    "drivers/iscsi/users/u": (
        ("direction", "in", ("out", "in"), ("", "both")),
        number("expires", 0, 0, 0xFFFFFFFF),
        number("uses", 0, 0, 65535),
    ),
}
REFUSALS = {errno.EINVAL, errno.ERANGE, errno.ENAMETOOLONG}


def make(name: str = IQN) -> Path:
    """A target."""
    path = TARGETS / name
    path.mkdir()
    return path


def portal(name: str = "p") -> Path:
    """A portal."""
    path = PORTALS / name
    path.mkdir()
    return path


def link(target: Path, at: Path) -> Path:
    """The target is reachable at the portal."""
    path = target / "portals" / at.name
    path.symlink_to(at)
    return path


def user(folder: Path, name: str, direction: str, secret: str = "") -> Path:
    """A user, with a secret perhaps."""
    path = folder / name
    path.mkdir()
    tree.write(path / "direction", direction)
    if secret:
        tree.write(path / "secret", secret)
    return path


# --- the tree ---


def test_only_who_has_something_there_has_a_folder() -> None:
    """drivers/ is always there; local has nothing in it."""
    guest_plugin.command("modprobe", "scst_local")
    assert os.listdir(tree.ROOT / "drivers") == ["iscsi"]
    assert {path.name for path in DRIVER.iterdir() if path.is_dir()} == {"portals", "users"}
    assert tree.errno_of((tree.ROOT / "drivers/new").mkdir) == errno.EPERM
    assert tree.errno_of((DRIVER / "new").mkdir) == errno.EPERM


def test_attributes() -> None:
    """Each has its default, takes what it should, refuses the rest, and there is no other one."""
    portal()
    user(USERS, "u", "in")
    make()
    for folder, rows in ATTRIBUTES.items():
        for name, default, good, bad in rows:
            path = tree.ROOT / folder / name
            assert tree.read(path) == default, path
            for value in good:
                tree.write(path, value or "\n")
                assert tree.read(path) == value, path
            for value in bad:
                code = tree.errno_of(partial(tree.write, path, value or "\n"))
                assert code in REFUSALS, f"{path} <- {value!r}: {errno.errorcode.get(code, code)}"
                assert tree.read(path) == good[-1], path
            tree.write(path, default or "\n")
    core = {"enabled", "rel_tgt_id", "buffer_limit", "session_buffer_limit", "lun_table"}
    core |= {"secret", "secret_from", "isns_state"}
    both = {"queue_depth", "state"}
    for folder, rows in ATTRIBUTES.items():
        files = {path.name for path in (tree.ROOT / folder).iterdir() if path.is_file()} - core
        assert files | both == {row[0] for row in rows} | both, folder


def test_out_of_range_says_so() -> None:
    """A number that is none of ours is no syntax error."""
    path = make() / "params/max_burst_length"
    assert tree.errno_of(partial(tree.write, path, "511")) == RANGE
    assert tree.errno_of(partial(tree.write, portal() / "port", "0")) == RANGE


def test_numbers_may_have_zeroes_in_hexadecimal() -> None:
    path = make() / "params/max_burst_length"
    tree.write(path, "0x10000\n")
    assert tree.read(path) == "65536"


def test_state_of_a_portal() -> None:
    """Nobody serves it, and nobody can write so."""
    path = portal() / "state"
    assert tree.read(path) == "waiting: for scst-iscsid"
    assert tree.errno_of(partial(tree.write, path, "listening")) in (errno.EACCES, errno.EPERM, errno.EINVAL)


def test_state_of_the_isns_server() -> None:
    """Nobody tells it anything, and nobody can write that he does."""
    path = DRIVER / "isns_state"
    assert tree.read(path) == "off"
    tree.write(DRIVER / "isns_server", "10.0.0.9")
    assert tree.read(path) == "waiting: for scst-iscsid"
    assert tree.errno_of(partial(tree.write, path, "off")) in (errno.EACCES, errno.EPERM, errno.EINVAL)
    tree.write(DRIVER / "isns_server", "\n")
    assert tree.read(path) == "off"


@pytest.mark.parametrize(
    ("folder", "name", "expected"),
    [
        (PORTALS, "p" * 64, errno.ENAMETOOLONG),
        (PORTALS, "a b", errno.EINVAL),
        (PORTALS, ".p", errno.EINVAL),
        (USERS, "u" * 224, errno.ENAMETOOLONG),
        (USERS, "a b", errno.EINVAL),
        (USERS, "ü", errno.EINVAL),
    ],
)
def test_names(folder: Path, name: str, expected: int) -> None:
    assert tree.errno_of((folder / name).mkdir) == expected


def test_long_names() -> None:
    for path in (PORTALS / ("p" * 63), USERS / ("u" * 223), USERS / "user@host:%(1),[2]", make() / "users/x"):
        path.mkdir()
        path.rmdir()


# --- links ---


def test_a_portal_that_is_linked_stays() -> None:
    first, second, at = make(), make(f"{IQN},t,0x0002"), portal()
    links = [link(first, at), link(second, at)]
    assert os.readlink(links[0]) == "../../../../../scst/drivers/iscsi/portals/p"
    assert tree.read(links[1] / "port") == "3260"
    assert tree.errno_of(at.rmdir) == errno.EBUSY
    links[0].unlink()
    assert tree.errno_of(at.rmdir) == errno.EBUSY
    assert tree.errno_of(second.rmdir) == errno.ENOTEMPTY
    links[1].unlink()
    at.rmdir()
    second.rmdir()


def test_wrong_links() -> None:
    """To portals, from portals/: nothing else."""
    target, at = make(), portal()
    folder = target / "portals"
    for what in (target, folder, PORTALS, DRIVER, user(USERS, "u", "in"), tree.ROOT / "targets"):
        assert tree.errno_of(partial((folder / "x").symlink_to, what)) == errno.EINVAL, what
    for what in (Path("/tmp"), Path("/nowhere")):
        assert tree.errno_of(partial((folder / "x").symlink_to, what)) in (errno.EPERM, errno.ENOENT), what
    for where in (target, target / "users", target / "params", PORTALS, DRIVER):
        assert tree.errno_of(partial((where / "x").symlink_to, at)) == errno.EPERM, where
    assert tree.errno_of((folder / "x").mkdir) == errno.EPERM
    assert os.listdir(folder) == []


# --- users ---


@pytest.mark.parametrize("where", ["discovery", "target"])
def test_secrets(where: str) -> None:
    """12 to 64 bytes, never shown, never the same in both directions."""
    folder = USERS if where == "discovery" else make() / "users"
    first, second = user(folder, "first", "in"), user(folder, "second", "out")
    secret = first / "secret"
    assert secret.stat().st_mode & 0o777 == 0o200
    assert tree.errno_of(lambda: os.close(os.open(secret, os.O_RDONLY))) in (errno.EACCES, errno.EPERM)
    for value in ("", "x" * 11, "x" * 11 + "\n", "x" * 65):
        assert tree.errno_of(partial(tree.write, secret, value or "\n")) == RANGE, value
    source = first / "secret_from"
    assert tree.read(source) == ""
    assert tree.errno_of(partial(tree.write, source, "/etc/secret")) == errno.ENOKEY
    for good in ("x" * 12, "x" * 64, "x" * 64 + "\n", bytes(range(20, 40)), SECRET):
        tree.write(secret, good)
        assert tree.read(source) == "-"
        tree.write(source, "/etc/secret 1")
        assert tree.read(source) == "/etc/secret 1"
    for value in ("\n", "a\tb", "x" * 256):
        assert tree.errno_of(partial(tree.write, source, value)) in REFUSALS
    same = partial(tree.write, second / "secret", f"{SECRET}\n")
    assert tree.errno_of(same) == errno.EEXIST
    tree.write(second / "secret", f"{SECRET}!")
    tree.write(second / "direction", "in")
    same()
    assert tree.errno_of(partial(tree.write, second / "direction", "out")) == errno.EEXIST
    assert tree.read(second / "direction") == "in"
    first.rmdir()
    tree.write(second / "direction", "out")


def test_secrets_of_others_are_no_matter() -> None:
    """Each target has users of its own, and so has discovery."""
    for folder, direction in ((USERS, "in"), (make() / "users", "out"), (make("other") / "users", "in")):
        user(folder, "u", direction, SECRET)


# --- targets ---


def test_a_target_with_users_stays() -> None:
    target = make()
    path = user(target / "users", "u", "in")
    assert tree.errno_of(target.rmdir) == errno.ENOTEMPTY
    path.rmdir()
    target.rmdir()


def test_the_module_stays_with_what_is_configured() -> None:
    """Each portal, user and target holds it, and nothing that is gone does."""
    references = Path("/sys/module/scst_iscsi/refcnt")
    target, at = make(), portal()
    made = [at, user(USERS, "u", "in", SECRET), user(target / "users", "u", "in", SECRET)]
    link(target, at)
    assert delete_module("scst_iscsi") in (errno.EAGAIN, errno.EBUSY)
    (target / "portals/p").unlink()
    for path in reversed(made):
        path.rmdir()
    target.rmdir()
    tree.wait_for("the module is free", lambda: references.read_text() == "0\n")


# --- races ---


def link_pair(name: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """A target, a portal, a user and a link, from nothing and back to it."""
    target, at = TARGETS / name, PORTALS / name
    folders = (at, target, target / "users/u", USERS / name)

    def build() -> None:
        for path in folders:
            path.mkdir()
        (target / "portals/x").symlink_to(at)

    def remove() -> None:
        with suppress(OSError):
            (target / "portals/x").unlink()
        for path in reversed(folders):
            with suppress(OSError):
                path.rmdir()

    return build, remove


def portal_pair(name: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """The portal and the target of somebody else's link, again and again."""
    paths = (PORTALS / name, TARGETS / name)

    def build() -> None:
        for path in paths:
            with suppress(OSError):
                path.mkdir()
            path.rmdir()

    return build, lambda: None


def only_links(name: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """Links where others make and remove both ends."""
    path = TARGETS / name / "portals/y"
    return partial(path.symlink_to, PORTALS / name), path.unlink


def race(make: Callable[[], None], remove: Callable[[], None], stop: Path) -> None:
    """Again and again until somebody has enough."""
    while not stop.exists():
        make_and_remove(make, remove, time.monotonic() + 0.1)


@contextmanager
def racing(stop: Path, *pairs: tuple[Callable[[], None], Callable[[], None]]) -> Iterator[None]:
    """A process for each pair, as long as the body lasts."""
    with children() as start:
        running = [start(f"racer {number}", partial(race, *pair, stop)) for number, pair in enumerate(pairs)]
        yield
        stop.touch()
        for racer in running:
            assert racer.wait(20 * SLOW) == "done"
    tree.wait_for("all is gone", wiped)


def test_unload_race(tmp_path: Path) -> None:
    """mkdir, rmdir and symlink while the module comes and goes: errors that say so, nothing left."""
    seen: collections.Counter[str] = collections.Counter()
    pairs = link_pair("a"), portal_pair("a"), only_links("a"), link_pair("b")
    with racing(tmp_path / "stop", *pairs):
        enough, limit = time.monotonic() + RACE_SECONDS, time.monotonic() + 20 * RACE_SECONDS
        while time.monotonic() < enough or (not seen["insmod 0"] and time.monotonic() < limit):
            code = delete_module("scst_iscsi")
            seen[f"rmmod {errno.errorcode.get(code, code)}"] += 1
            if code == 0:
                code = load_module("scst_iscsi")
                seen[f"insmod {errno.errorcode.get(code, code)}"] += 1
    print(dict(seen))
    assert seen["insmod 0"] > 0, f"it was never unloaded: {dict(seen)}"
    assert set(seen) <= {"rmmod 0", "rmmod EAGAIN", "rmmod EBUSY", "rmmod EWOULDBLOCK", "insmod 0"}


def wiped() -> bool:
    """Remove what racers have left; is all of it gone?"""
    guest_plugin.wipe()
    return not guest_plugin.configured() and not any(tree.objects().values())


def test_links_to_what_comes_and_goes(tmp_path: Path) -> None:
    """Portals, targets and links at once: each link that was made has both its ends."""
    pairs = portal_pair("a"), only_links("a"), only_links("a"), link_pair("a")
    with racing(tmp_path / "stop", *pairs):
        end = time.monotonic() + RACE_SECONDS
        while time.monotonic() < end:
            with suppress(OSError):
                there = [os.readlink(path) for path in TARGETS.glob("*/portals/*")]
                assert all(path.endswith("portals/a") for path in there)
