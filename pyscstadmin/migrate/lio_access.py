# SPDX-License-Identifier: GPL-2.0-or-later
"""Who sees what on a target portal group of LIO. Pure.

Its ACLs become groups: one for all initiators that have the same tag and see exactly the same. That is what
a group is; LIO has none, and needs initiators times LUNs entries instead. So what was given to several
together can be changed together, and what the administrator kept apart by tags stays apart. What initiators
without an ACL see becomes the target's own LUNs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pyscstadmin.config import names
from pyscstadmin.config.model import Group, Lun
from pyscstadmin.config.spelling import name_key
from pyscstadmin.config.where import Path
from pyscstadmin.migrate.account import Verdict
from pyscstadmin.migrate.lio_devices import Devices
from pyscstadmin.migrate.lio_names import free_name
from pyscstadmin.migrate.lio_rules import ACL_RULES, DEFAULT_GROUP, FABRICS, PORT_GROUPS, apply_rules
from pyscstadmin.migrate.reader import Reader

__all__ = ["Access"]

_LUN_MAX = 65535
_CHAP = ("userid", "password", "mutual_userid", "mutual_password")
_SECRETS = (*_CHAP, *(f"chap_{key}" for key in _CHAP), "authenticate_target")
_NOT_IMPORTED = "its storage object was not imported"
_TOO_HIGH = f"LUN numbers go up to {names.LUN_MAX}: give it another one"


@dataclass(frozen=True, slots=True)
class _Source:
    """A LUN of the portal group."""

    entry: Reader
    number: int
    device: str | None

    @property
    def why_not(self) -> str:
        """Why nobody can see it under its number."""
        return _NOT_IMPORTED if self.device is None else _TOO_HIGH if self.number > names.LUN_MAX else ""


@dataclass(frozen=True, slots=True)
class _Acl:
    """An initiator, and the mapped LUNs it sees with where they are in the input."""

    entry: Reader
    initiator: str
    tag: str
    luns: tuple[tuple[Reader, Lun], ...]

    @property
    def view(self) -> tuple[str, tuple[Lun, ...]]:
        """What initiators of one group have in common."""
        return self.tag, tuple(sorted((lun for _, lun in self.luns), key=lambda lun: lun.number))


class Access:
    """What is to be read of a portal group about LUNs and initiators: `own_luns()`, `groups()`."""

    def __init__(self, tpg: Reader, fabric: str, driver: str, here: Path, devices: Devices) -> None:
        self.tpg = tpg
        self.driver = driver
        self.here = here
        self.account = tpg.account
        self._generate, self._protect = self._demo(fabric)
        self._sources = {source.number: source for source in self._read_luns(devices)}
        self._acls = list(self._read_acls())
        self._secrets(tpg)

    def own_luns(self) -> tuple[Lun, ...]:
        """The LUNs of initiators without ACL."""
        used = {number for acl in self._acls for number in self._numbers(acl)}
        for source in self._sources.values():
            self._note_lun(source, source.number in used)
        if not self._generate:
            return ()
        good = (source for source in self._sources.values() if not source.why_not)
        return tuple(Lun(source.number, str(source.device), self._protect) for source in good)

    def groups(self) -> tuple[Group, ...]:
        """The ACLs, by what their initiators see."""
        alike: dict[tuple[str, tuple[Lun, ...]], list[_Acl]] = {}
        for acl in self._acls:
            alike.setdefault(acl.view, []).append(acl)
        taken: set[str] = set()
        found = []
        for (tag, luns), acls in alike.items():
            name = free_name(tag or (acls[0].initiator if len(acls) == 1 else "group"), taken)
            found.append(Group(name, initiators=tuple(acl.initiator for acl in acls), luns=luns))
            for acl in acls:
                self._note_acl(acl, (*self.here, "groups", name))
        return tuple(found)

    # Initiators without ACL.

    def _demo(self, fabric: str) -> tuple[bool, bool]:
        """Whether they see all LUNs, and read-only."""
        usual = FABRICS.get(fabric, FABRICS["iscsi"])
        attributes = self.tpg.object("attributes")
        generate = attributes.flag("generate_node_acls", usual.generate)
        login_only = attributes.flag("demo_mode_login_only", usual.login_only)
        protect = attributes.flag("demo_mode_write_protect", usual.protect)
        for key in ("generate_node_acls", "demo_mode_login_only", "demo_mode_write_protect"):
            attributes.mapped(key, (*self.here, "luns"))
        return generate and not login_only, protect

    # LUNs.

    def _read_luns(self, devices: Devices) -> Iterator[_Source]:
        seen: set[int] = set()
        for lun in self.tpg.objects("luns"):
            number, reference = lun.required_number("index", 0, _LUN_MAX), lun.required("storage_object")
            there, device = devices.of(reference)
            if reference and not there:
                self.account.wrong(
                    lun.at("storage_object"), f"there is no storage object {reference[:200]!r}"
                )
            if number in seen and "index" in lun:
                self.account.wrong(lun.at("index"), f"there are two LUNs {number}")
            seen.add(number)
            yield _Source(lun, number, device)

    def _numbers(self, acl: _Acl) -> Iterator[int]:
        for entry, _ in acl.luns:
            yield entry.number("tpg_lun", -1)

    def _note_lun(self, source: _Source, used: bool) -> None:
        lun = source.entry
        if source.device is None or (self._generate and source.why_not):
            self.account.note(lun.path, Verdict.LOST, source.why_not, whole=True)
            return
        if self._generate or used:
            own = (*self.here, "luns", str(source.number))
            for key in ("index", "storage_object"):
                lun.mapped(key, own if self._generate else (*self.here, "groups"))
        else:
            lun.same("no initiator sees it", "index", "storage_object")
        lun.same("a name inside LIO", "alias")
        self._note_port_group(lun)

    def _note_port_group(self, lun: Reader) -> None:
        if lun.text("alua_tg_pt_gp_name") in ("", DEFAULT_GROUP):
            lun.same("all paths are alike and active, with LIO's one group and without", "alua_tg_pt_gp_name")
        else:
            lun.note("alua_tg_pt_gp_name", Verdict.LOST, PORT_GROUPS)

    # ACLs.

    def _read_acls(self) -> Iterator[_Acl]:
        seen: set[str] = set()
        for acl in self.tpg.objects("node_acls"):
            initiator = acl.required("node_wwn")
            fault = names.check_initiator(initiator) if initiator else None
            if fault:
                why = f"no initiator can have this name: {fault.reason}"
                self.account.note(acl.path, Verdict.LOST, why, whole=True)
            elif name_key(initiator) in seen:
                self.account.wrong(acl.at("node_wwn"), f"there are two ACLs of {initiator!r}")
            elif initiator:
                seen.add(name_key(initiator))
                yield _Acl(acl, initiator, acl.text("tag"), tuple(self._read_mapped(acl)))

    def _read_mapped(self, acl: Reader) -> Iterator[tuple[Reader, Lun]]:
        seen: set[int] = set()
        for entry in acl.objects("mapped_luns"):
            number = entry.required_number("index", 0, _LUN_MAX)
            source = self._sources.get(entry.required_number("tpg_lun", 0, _LUN_MAX))
            if source is None:
                self.account.wrong(entry.at("tpg_lun"), "the portal group has no such LUN")
                continue
            if number in seen:
                self.account.wrong(entry.at("index"), f"there are two mapped LUNs {number}")
            seen.add(number)
            why = _NOT_IMPORTED if source.device is None else _TOO_HIGH if number > names.LUN_MAX else ""
            if why:
                self.account.note(entry.path, Verdict.LOST, why, whole=True)
            else:
                yield entry, Lun(number, str(source.device), entry.flag("write_protect", False))

    def _note_acl(self, acl: _Acl, group: Path) -> None:
        entry = acl.entry
        entry.mapped("node_wwn", (*group, "initiators"))
        entry.mapped("tag", group)
        apply_rules(entry.object("attributes"), ACL_RULES, self.driver)
        if entry.object("parameters").members:
            text = f"about logging in to LIO's fabric; driver {self.driver} has no such settings"
            entry.note("parameters", Verdict.DIFFERS, text, whole=True)
        text = "no depth for one initiator; a target's queue_depth is for each of its initiators"
        entry.note("tcq_depth", Verdict.LOST, text)
        self._secrets(entry)
        for mapped, lun in acl.luns:
            here = (*group, "luns", str(lun.number))
            mapped.mapped("index", here)
            mapped.mapped("tpg_lun", (*here, "device"))
            mapped.mapped("write_protect", (*here, "read_only"))
            mapped.same("a name inside LIO", "alias", "tag")

    def _secrets(self, reader: Reader) -> None:
        for key in _SECRETS:
            if key in reader and reader.members[key] not in ("", False):
                text = f"driver {self.driver} cannot ask initiators to authenticate, nor do so itself"
                reader.note(key, Verdict.LOST, text)
            else:
                reader.same("not set", key)
