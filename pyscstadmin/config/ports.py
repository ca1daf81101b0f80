# SPDX-License-Identifier: GPL-2.0-or-later
"""Hardware ports that targets can be, and what is to be said of each and its target. Pure."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pyscstadmin.config.settings import DRIVERS, Ports

__all__ = ["UNKNOWN", "Port", "PortTarget", "PortUse", "refusal", "refused_advice", "uses", "waits"]

# The state of a port that the target driver does not know: its module is not there, or does not want it.
UNKNOWN = "unknown"
_LINK_UP = "Online"


@dataclass(frozen=True, slots=True)
class Port:
    """A hardware port; '' for what is not known of it.

    `name` is in the driver's canonical spelling, which is that of its target. `state`: the kernel's word, or
    `UNKNOWN`. `fc_host`: its host among /sys/class/fc_host, which says `speed` and `link`. `holder`: the
    other target stack that has it.
    """

    driver: str
    name: str
    state: str = "present"
    model: str = ""
    firmware: str = ""
    qlini_mode: str = ""
    fc_host: str = ""
    speed: str = ""
    link: str = ""
    holder: str = ""


class PortTarget(NamedTuple):
    """The target of a port's name: whether it is to be enabled, and its state."""

    enabled: bool
    state: str


@dataclass(frozen=True, slots=True)
class PortUse:
    """A port with its target; one of the two may be missing. `remark`: what is to be said of it, and
    `advice`: what to do; '' where all is well.
    """

    driver: str
    name: str
    port: Port | None
    target: PortTarget | None
    remark: str = ""
    advice: str = ""

    @property
    def full_name(self) -> str:
        """What the target is called, or would be: `DRIVER/NAME`."""
        return f"{self.driver}/{self.name}"


def uses(
    ports: Iterable[Port], targets: Mapping[tuple[str, str], PortTarget], loaded: Iterable[str]
) -> tuple[PortUse, ...]:
    """All ports, and the targets (by driver and name) whose port is not there. `loaded`: target drivers whose
    modules are.
    """
    known = {(port.driver, port.name): port for port in ports}
    drivers = frozenset(loaded)
    return tuple(
        _use(driver, name, known.get((driver, name)), targets.get((driver, name)), driver in drivers)
        for driver, name in sorted({*known, *targets})
    )


def _use(driver: str, name: str, port: Port | None, target: PortTarget | None, loaded: bool) -> PortUse:
    spec = DRIVERS[driver].ports
    assert spec is not None
    remark, advice = _said(spec, f"{driver}/{name}", port, target, loaded)
    return PortUse(driver, name, port, target, remark, advice)


def _said(
    spec: Ports, full: str, port: Port | None, target: PortTarget | None, loaded: bool
) -> tuple[str, str]:
    """The first thing that keeps a port from being a target that serves, and what to do about it."""
    if port is None:
        return (
            "no such port is here: the target waits for it, and goes into service by itself when it comes",
            f"{spec.look}, and whether this is its name",
        )
    number = refusal(port)
    if number:
        return _REFUSALS[number].format(port=port), refused_advice(port.driver, port.name, number)
    if port.state == UNKNOWN:
        return _unknown(full, port, target, loaded)
    if target is None:
        return _unused(port), f"`scstadmin create target {full}` makes one"
    return _of_target(full, port, target)


_REFUSALS = {
    errno.EOPNOTSUPP: "targets are refused: its qlini_mode is {port.qlini_mode}",
    errno.EBUSY: "targets are refused: {port.holder} has it",
}


def _unknown(full: str, port: Port, target: PortTarget | None, loaded: bool) -> tuple[str, str]:
    module = DRIVERS[port.driver].module
    if loaded:
        return (
            f"{module} does not want it",
            "the kernel log says why: journalctl -k -g scst",
        )
    how = "restore" if target is not None else f"create target {full}"
    return f"no target uses it, and {module} is not loaded", f"`scstadmin {how}` loads it"


def _unused(port: Port) -> str:
    if port.qlini_mode == "exclusive":
        return (
            "no target uses it: it is an initiator, and loses the disks that it sees when it becomes a target"
        )
    return "no target uses it"


def _of_target(full: str, port: Port, target: PortTarget) -> tuple[str, str]:
    if not target.enabled:
        return "its target is not enabled", f"`scstadmin enable target {full}` opens it to initiators"
    if target.state == "parked":
        again = f"`scstadmin disable target {full}`, then `scstadmin enable target {full}` tries it again"
        return (
            "its target could not be opened when the port came",
            f"the kernel log says why (journalctl -k -g scst); {again}",
        )
    if port.link not in ("", _LINK_UP):
        return (
            f"its link is not up: {port.link}",
            "look after the cable, the transceiver and the switch's port",
        )
    return "", ""


def refusal(port: Port) -> int:
    """The errno with which the kernel refuses to enable a target of a port; 0 if it does not."""
    spec = DRIVERS[port.driver].ports
    if spec is not None and port.qlini_mode in spec.refusing:
        return errno.EOPNOTSUPP
    return errno.EBUSY if port.holder else 0


def refused_advice(driver: str, name: str, number: int) -> str:
    """What it means, and what to do, when `enabled` of a target was refused with an errno; '' if the table
    does not say.
    """
    spec = DRIVERS[driver].ports if driver in DRIVERS else None
    return spec.refused.get(number, "").format(digits=name.replace(":", "")) if spec is not None else ""


def waits(driver: str, enabled: bool, state: str) -> bool:
    """Whether a target is configured completely and only waits for its port."""
    return enabled and state == "parked" and DRIVERS[driver].ports is not None
