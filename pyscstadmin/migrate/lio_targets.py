# SPDX-License-Identifier: GPL-2.0-or-later
"""LIO's targets as ours. Pure."""

from __future__ import annotations

from pyscstadmin.config import names
from pyscstadmin.config.model import Target
from pyscstadmin.config.settings import DRIVERS
from pyscstadmin.config.where import Path
from pyscstadmin.migrate.account import Account, Verdict
from pyscstadmin.migrate.lio_access import Access
from pyscstadmin.migrate.lio_devices import Devices
from pyscstadmin.migrate.lio_names import TARGET_LIMIT, TARGET_MARKS, free_name
from pyscstadmin.migrate.lio_rules import FABRICS, TARGET_RULES, TPG_RULES, apply_rules
from pyscstadmin.migrate.reader import Reader

__all__ = ["LOOPBACK_HOST", "Targets"]

# The initiator of a loopback target of which only a file is known: LIO makes a name at each start.
LOOPBACK_HOST = "loopback"
_TAG_MAX = 65535


class Targets:
    """The targets that were made. `as_local`: of driver local where there is no driver for the fabric."""

    def __init__(self, account: Account, devices: Devices, as_local: bool) -> None:
        self.targets: list[Target] = []
        self._account = account
        self._devices = devices
        self._as_local = as_local
        self._seen: set[tuple[str, str]] = set()
        self._names: dict[str, set[str]] = {driver: set() for driver in DRIVERS}

    def add(self, target: Reader) -> None:
        """Make targets of a target's portal groups, or note why not."""
        fabric, wwn = target.required("fabric"), target.required("wwn")
        if not fabric or not wwn:
            return
        if (fabric, wwn) in self._seen:
            self._account.wrong(
                target.at("wwn"), f"there are two targets {wwn[:250]!r} of fabric {fabric[:40]!r}"
            )
            return
        self._seen.add((fabric, wwn))
        driver = self._driver(fabric)
        if driver is None:
            why = f"scst has no target driver for the fabric {fabric[:40]!r}"
            if fabric in DRIVERS:
                why = f"portals and logins of targets of {fabric} are not taken over; make them by hand"
            text = f"{why}; to try things, --as-local makes a target of driver local of it"
            self._account.note(target.path, Verdict.LOST, text, whole=True)
        elif not target.objects("tpgs"):
            self._account.note(
                target.path, Verdict.SAME, "it has no portal group, and serves nobody", whole=True
            )
        elif DRIVERS[driver].ports is not None:
            self._port(target, fabric, driver, wwn)
        else:
            self._portal_groups(target, fabric, driver, wwn)

    def _driver(self, fabric: str) -> str | None:
        """Our driver for a fabric, None if there is none."""
        driver = FABRICS[fabric].driver if fabric in FABRICS else ""
        # What initiators need to reach and enter them, portals and secrets, is not taken over from LIO.
        if driver in DRIVERS and not DRIVERS[driver].portals:
            return driver
        return "local" if self._as_local else None

    def _port(self, target: Reader, fabric: str, driver: str, wwn: str) -> None:
        """A hardware port is one target, which is called as the port is."""
        spec = DRIVERS[driver].name
        name, fault = spec.canonical(wwn), spec.fault(wwn)
        group, *more = target.objects("tpgs")
        if fault is not None or name in self._names[driver]:
            why = fault.reason if fault is not None else "must be there once, in whichever spelling"
            self._account.wrong(target.at("wwn"), f"{wwn[:250]!r} {why}")
            return
        self._names[driver].add(name)
        made = _PortalGroup(group, fabric, driver, name, self._devices)
        self.targets.append(made.target())
        group.mapped("tag", made.here)
        for other in more:
            self._account.note(
                other.path, Verdict.LOST, "a port is one target, with one set of groups", whole=True
            )
        self._mapped(target, fabric, driver, made)

    def _mapped(self, target: Reader, fabric: str, driver: str, *groups: _PortalGroup) -> None:
        own = FABRICS[fabric].driver == driver if fabric in FABRICS else False
        target.mapped("fabric", ("targets", driver), text="" if own else "as asked for, to try things")
        target.mapped("wwn", *(group.here for group in groups))
        apply_rules(target.object("parameters"), TARGET_RULES)

    def _portal_groups(self, target: Reader, fabric: str, driver: str, wwn: str) -> None:
        """Each portal group becomes a target; the first one has the name."""
        tagged: dict[int, Reader] = {}
        for number, group in enumerate(target.objects("tpgs"), 1):
            tag = group.required_number("tag", 0, _TAG_MAX) if "tag" in group else number
            if tag in tagged:
                self._account.wrong(group.at("tag"), f"there are two portal groups {tag}")
            tagged[tag] = group
        made = []
        for number, tag in enumerate(sorted(tagged)):
            wanted = f"{wwn},t,{tag:#06x}" if number else wwn
            name = free_name(wanted, self._names[driver], TARGET_LIMIT, TARGET_MARKS)
            made.append(_PortalGroup(tagged[tag], fabric, driver, name, self._devices))
            tagged[tag].mapped(
                "tag", made[-1].here, text="" if number else "one target for each portal group"
            )
        self.targets.extend(group.target() for group in made)
        self._mapped(target, fabric, driver, *made)


class _PortalGroup:
    """A target portal group on its way to be a target."""

    def __init__(self, tpg: Reader, fabric: str, driver: str, name: str, devices: Devices) -> None:
        self.tpg = tpg
        self.fabric = fabric
        self.driver = driver
        self.name = name
        self.devices = devices
        self.here: Path = ("targets", driver, name)

    def target(self) -> Target:
        """The target. Notes what it has read."""
        access = Access(self.tpg, self.fabric, self.driver, self.here, self.devices)
        enabled = self.tpg.flag("enable", True)
        self.tpg.mapped("enable", (*self.here, "enabled"))
        self._protocol()
        hosts = self._hosts()
        return Target(
            self.driver, self.name, enabled, hosts=hosts, luns=access.own_luns(), groups=access.groups()
        )

    def _protocol(self) -> None:
        apply_rules(self.tpg.object("attributes"), TPG_RULES, self.driver)
        if self.tpg.object("parameters").members:
            text = f"about logging in to LIO's fabric; driver {self.driver} has no such settings"
            self.tpg.note("parameters", Verdict.DIFFERS, text, whole=True)
        for portal in self.tpg.objects("portals"):
            text = f"driver {self.driver} has no network portals"
            self.tpg.account.note(portal.path, Verdict.LOST, text, whole=True)

    def _hosts(self) -> tuple[str, ...]:
        """A loopback target has one initiator, on this machine."""
        nexus = self.tpg.text("nexus")
        if self.fabric != "loopback" or not DRIVERS[self.driver].hosts:
            self.tpg.note(
                "nexus", Verdict.DIFFERS, "LIO's name for its own end; nobody is logged in by importing"
            )
            return ()
        fault = names.check_initiator(nexus) if nexus else None
        if fault:
            self.tpg.note(
                "nexus", Verdict.LOST, f"cannot be a host: {fault.reason}; {LOOPBACK_HOST!r} replaces it"
            )
        else:
            self.tpg.mapped("nexus", (*self.here, "hosts"))
        return (LOOPBACK_HOST if fault or not nexus else nexus,)
