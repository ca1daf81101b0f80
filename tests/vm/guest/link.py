# SPDX-License-Identifier: GPL-2.0-or-later
"""A network namespace behind a link, and what can happen to packets there. The far end is the target's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.vm.guest_plugin import command

NETNS = "far"
NEAR, FAR, FAR_TOO = "10.97.0.1", "10.97.0.2", "10.97.0.3"
MODULES = ("veth", "sch_netem", "sch_prio", "cls_u32", "act_gact")


@contextmanager
def link() -> Iterator[None]:
    """Meanwhile it is there. The far end has two addresses, of which one may leave."""
    for module in MODULES:
        command("modprobe", module)
    command("ip", "netns", "add", NETNS)
    command("ip", "link", "add", "near0", "type", "veth", "peer", "name", "far0", "netns", NETNS)
    command("ip", "addr", "add", f"{NEAR}/24", "dev", "near0")
    command("ip", "link", "set", "near0", "up")
    for words in (
        ["addr", "add", f"{FAR_TOO}/24", "dev", "far0"],
        ["addr", "add", f"{FAR}/24", "dev", "far0"],
        ["link", "set", "lo", "up"],
        ["link", "set", "far0", "up"],
    ):
        command("ip", "-n", NETNS, *words)
    yield
    command("ip", "link", "del", "near0")
    command("ip", "netns", "del", NETNS)


def far_tc(*words: str) -> None:
    """What the target's end does to what it sends."""
    command("ip", "netns", "exec", NETNS, "tc", *words)


@contextmanager
def netem(*words: str) -> Iterator[None]:
    """Meanwhile both ends lose, delay or swap what they send."""
    far_tc("qdisc", "add", "dev", "far0", "root", "netem", *words)
    command("tc", "qdisc", "add", "dev", "near0", "root", "netem", *words)
    yield
    command("tc", "qdisc", "del", "dev", "near0", "root")
    far_tc("qdisc", "del", "dev", "far0", "root")


@contextmanager
def small_only() -> Iterator[None]:
    """Meanwhile large packets of the target's do not arrive, and nobody says so."""
    far_tc("qdisc", "add", "dev", "far0", "root", "handle", "1:", "prio")
    small = ["u32", "match", "u16", "0x0000", "0xfc00", "at", "2", "action", "ok"]
    far_tc("filter", "add", "dev", "far0", "parent", "1:", "prio", "1", "protocol", "ip", *small)
    large = ["u32", "match", "u32", "0", "0", "action", "drop"]
    far_tc("filter", "add", "dev", "far0", "parent", "1:", "prio", "2", "protocol", "ip", *large)
    yield
    far_tc("qdisc", "del", "dev", "far0", "root")
