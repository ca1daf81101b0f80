# SPDX-License-Identifier: GPL-2.0-or-later
"""What would become of a login, or of a discovery, said to the administrator by what the daemon decides by.

What is decided is pure; how this machine is reached is looked up.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address

from pyscstadmin.iscsi import names
from pyscstadmin.iscsi.discovery import told
from pyscstadmin.iscsi.policy import Address, Connection, Policy, Portal, Target
from pyscstadmin.iscsi.portals import Machine, inside, look, wanted
from pyscstadmin.iscsi.rules import RULES, Obstacle
from pyscstadmin.iscsi.source import read_policy
from pyscstadmin.iscsi.uses import Uses
from pyscstadmin.kernel.cfs import View

__all__ = ["Told", "Verdict", "ask", "discoveries", "explain", "placed"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a login by a portal would succeed. `rule`, `advice`: if not, one of `RULES`, and what to do."""

    portal: str
    allowed: bool
    reason: str
    rule: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What an initiator is told that asks at an address: targets, and where each can be reached."""

    portal: str
    address: str
    targets: Mapping[str, list[str]]
    needs_chap: bool = False


# Logins. Pure.


def explain(policy: Policy, initiator: str, name: str, user: str = "", portal: str = "") -> list[Verdict]:
    """What would become of a login to the target of this name: by one portal, or by each that the target has;
    by any, if it has none. `user`: who the initiator is for CHAP, and that it knows his secret.
    """
    initiator, name = names.canonical(initiator), names.canonical(name)
    linked = {one for target in policy.targets if target.port[0] == name for one in target.portals}
    by = [portal] if portal else sorted(linked) or [""]
    return [_verdict(policy, initiator, name, user, one) for one in by]


def _verdict(policy: Policy, initiator: str, name: str, user: str, portal: str) -> Verdict:
    found = policy.find(initiator, name, portal)
    if isinstance(found, Obstacle):
        no_portal = found.rule == "not-at-portal" and not portal
        reason = "the target has no portal" if no_portal else found.reason
        return _refused(portal, Obstacle(found.rule, reason))
    why = found.obstacle() or (proof(policy, found, user) if found.auth == "chap" else None)
    if why is not None:
        return _refused(portal, why)
    where = found.redirect or found.redirect_permanent
    how = f"with CHAP as {user}, if the secret is right" if found.auth == "chap" else "without authentication"
    return Verdict(portal, True, f"it is sent on to {where}" if where else f"it would be let in {how}")


def proof(policy: Policy, target: Target, name: str) -> Obstacle | None:
    """Why nobody can prove to a target that he is this user."""
    able = {user.name: policy.user_obstacle(target.name, user) for user in target.users}
    if not name:
        some = ", ".join(sorted(name for name, why in able.items() if why is None))
        return Obstacle("no-authentication", f"it has to prove itself, as one of: {some or 'nobody'}")
    return able[name] if name in able else Obstacle("unknown-user", f"unknown user {name!a}")


def _refused(portal: str, why: Obstacle) -> Verdict:
    return Verdict(portal, False, why.reason, why.rule, RULES[why.rule])


# Discovery. Pure.


def ask(policy: Policy, initiator: str, netns: str, address: Address) -> list[Told]:
    """What an initiator is told that asks at an address of this machine: at each port that is listened at."""
    found = []
    there = [one for one in policy.portals.values() if one.netns == netns and address in one.addresses]
    for port in sorted({portal.port for portal in there}):
        portal = min((one for one in there if one.port == port), key=_distance)
        connection = Connection(portal.name, address, port)
        shown = told(policy, names.canonical(initiator), connection)
        where = f"{address}:{port}"
        found.append(Told(portal.name, where, shown, portal.discovery_auth == "chap"))
    return found


def _distance(portal: Portal) -> tuple[int, str]:
    """As the kernel chooses: who listens at one address, at an interface, at all."""
    kind = 2 if portal.address == "*" else 0 if portal.address[0].isdigit() or ":" in portal.address else 1
    return kind, portal.name


# This machine.


def placed(tree: View) -> Policy:
    """The policy, with where each portal is reached now, and how often users were used."""
    policy = replace(read_policy(tree), used=Uses().used, now=time.time)
    machines: dict[str, Machine | None] = {}
    for netns in {portal.netns for portal in policy.portals.values()}:
        try:
            machines[netns] = look(netns)
        except OSError:
            machines[netns] = None
    plans = wanted(policy.portals.values(), machines)
    portals = {
        name: replace(portal, addresses=plans[name].addresses) for name, portal in policy.portals.items()
    }
    return replace(policy, portals=portals)


def discoveries(policy: Policy, initiator: str, source: str = "", at: str = "") -> list[Told]:
    """What an initiator is told: that is at the address `source`, by the way that leads there; or that asks
    at our address `at`. Raises ValueError for what is no address.
    """
    _address(at or source)  # wrong is wrong, also where there is no portal
    found: list[Told] = []
    for netns in sorted({portal.netns for portal in policy.portals.values()}):
        known = {
            one for portal in policy.portals.values() if portal.netns == netns for one in portal.addresses
        }
        ip, zone = _address(at) if at else _facing(netns, source)
        for address in sorted(known, key=str):
            if address.ip == ip and zone in ("", address.interface):
                found += ask(policy, initiator, netns, address)
    return found


def _address(text: str) -> tuple[IPv4Address | IPv6Address, str]:
    plain, _, zone = text.strip("[]").partition("%")
    return ip_address(plain), zone


def _facing(netns: str, source: str) -> tuple[IPv4Address | IPv6Address | None, str]:
    """Our address on the way to another; none if no way leads there."""
    ip, zone = _address(source)

    def route() -> str:
        family = socket.AF_INET6 if ip.version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            # Nothing is sent.
            index = socket.if_nametoindex(zone) if zone else 0
            probe.connect((str(ip), 9, 0, index) if ip.version == 6 else (str(ip), 9))
            return str(probe.getsockname()[0])

    try:
        return _address(inside(netns, route))[0], zone
    except OSError:
        return None, ""
