# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel takes and hardly anybody means: rules over a whole configuration. Pure.

A rule is a function of `RULES` that finds places. What it cannot know from the configuration, what is behind
a path, it is told by a `Look`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter
from typing import NamedTuple

from pyscstadmin.config.cover import Before, claims_everybody
from pyscstadmin.config.identity import designators, same_backing, same_identities
from pyscstadmin.config.model import Config, Device, Group, Lun, Target, User
from pyscstadmin.config.settings import hint
from pyscstadmin.config.spelling import Spellings, asks_portal, fold, is_exact, matches, name_key, parted
from pyscstadmin.config.where import Path, dotted
from pyscstadmin.errors import InvalidInput, Problem

__all__ = [
    "ERROR",
    "RULES",
    "WARNING",
    "Backing",
    "Look",
    "Remark",
    "Rule",
    "accepted",
    "exit_code",
    "lint",
    "lint_device",
    "problems",
]

ERROR, WARNING = "error", "warning"


class Backing(NamedTuple):
    """What is behind a path. `identity`: the same for all paths of one backing. `real`: the path without
    links. `use`: what this machine itself uses it for, '' for nothing.
    """

    identity: Hashable
    real: str
    use: str = ""


Look = Callable[[str], Backing]

_DEVICE = itemgetter(Lun._fields.index("device"))


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that is hardly meant: the rule that says so, the place in the file, what is wrong there, and
    what to do.
    """

    rule: str
    severity: str
    where: Path
    message: str
    advice: str

    @property
    def text(self) -> str:
        """One line for people."""
        place = f"{dotted(self.where)}: " if self.where else ""
        return f"{place}{self.message}; {self.advice} [{self.rule}]"

    def as_dict(self) -> dict[str, str]:
        """The remark as plain data."""
        return {
            "rule": self.rule,
            "severity": self.severity,
            "where": dotted(self.where),
            "message": self.message,
            "advice": self.advice,
        }


class Found(NamedTuple):
    """A place, and what is wrong there."""

    where: Path
    message: str


@dataclass(frozen=True, slots=True)
class Rule:
    """`what` is wrong, in general, and the `advice`: what to do."""

    name: str
    severity: str
    what: str
    advice: str
    find: Callable[[_Subject], Iterable[Found]]


RULES: dict[str, Rule] = {}


def lint(config: Config, look: Look, accept: Iterable[str] = ()) -> tuple[Remark, ...]:
    """All remarks on a configuration, errors first, without those of rules that are accepted."""
    known = accepted(accept)
    subject = _Subject(config, look)
    found = [
        Remark(rule.name, rule.severity, where, message, rule.advice)
        for rule in RULES.values()
        if rule.name not in known
        for where, message in rule.find(subject)
    ]
    return tuple(sorted(found, key=lambda remark: remark.severity))


def lint_device(device: Device, look: Look) -> tuple[Remark, ...]:
    """What can be said of one device without knowing the others."""
    return lint(Config((device,)), look, RULES.keys() - {"system-backing", "unstable-path"})


def exit_code(remarks: Iterable[Remark]) -> int:
    """0 for no remarks, 1 for warnings, 2 if errors are among them."""
    return max((2 if remark.severity == ERROR else 1 for remark in remarks), default=0)


def accepted(names: Iterable[str]) -> frozenset[str]:
    """The names of rules. Raises `InvalidInput` for one that there is not."""
    found = frozenset(map(str, names)) if isinstance(names, Iterable) else frozenset((str(names),))
    wrong = [Problem(f"no rule {name!r}{hint(name, RULES)}") for name in sorted(found) if name not in RULES]
    if wrong:
        raise InvalidInput("accept", wrong)
    return found


def problems(remarks: Iterable[Remark]) -> list[Problem]:
    """Remarks as what is wrong with a file."""
    return [
        Problem(f"{remark.message}; {remark.advice}", dotted(remark.where), rule=remark.rule)
        for remark in remarks
    ]


# What rules look at.


@dataclass
class _Subject:
    """A configuration, with what several rules want to know of it."""

    config: Config
    look: Look
    _seen: dict[str, Backing] = field(default_factory=dict)

    def backing(self, path: str) -> Backing:
        """What is behind a path; it is looked at once."""
        if path not in self._seen:
            self._seen[path] = self.look(path)
        return self._seen[path]

    @cached_property
    def devices(self) -> dict[str, Device]:
        """The devices by name."""
        return {device.name: device for device in self.config.devices}

    @cached_property
    def backed(self) -> list[Device]:
        """The devices that have a path."""
        return [device for device in self.config.devices if device.path]

    @cached_property
    def identified(self) -> list[Device]:
        """The devices that are wanted with an identity that initiators tell them apart by."""
        return [device for device in self.config.devices if any(designators(device))]

    def sets(self) -> Iterator[tuple[Path, tuple[Lun, ...]]]:
        """(place, LUNs) of all sets of LUNs."""
        for target in self.config.targets:
            for group, luns in target.lun_sets():
                yield _set_place(target, group), luns

    def groups(self) -> Iterator[tuple[Path, Group]]:
        """(place, group) of all groups."""
        for target in self.config.targets:
            for group in target.groups:
                yield _set_place(target, group.name), group

    @cached_property
    def claims(self) -> list[_Claims]:
        """Who is claimed by which group, of each target."""
        return [_Claims(target) for target in self.config.targets]

    def writable(self, lun: Lun) -> bool:
        """Whether initiators can write through a LUN."""
        device = self.devices.get(lun.device)
        return not lun.read_only and device is not None and not device.read_only


class _Claims:
    """Which group of a target claims whom, by whichever portal; as `acl.decide`, for many names."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.order = sorted(target.groups, key=lambda group: (group.priority, group.name.encode()))
        self.exact: dict[str, str] = {}
        self.wild: list[tuple[str, str]] = []
        self._luns = dict(target.lun_sets())
        for group in self.order:
            for entry in self.by_any(group):
                if is_exact(entry):
                    self.exact.setdefault(name_key(entry), group.name)
                else:
                    self.wild.append((entry, group.name))

    def by_any(self, group: Group) -> list[str]:
        """Whom a group claims by whichever portal."""
        return [entry for entry in group.initiators if not asks_portal(self.target.driver, entry)]

    def group(self, name: str, spellings: Spellings) -> str:
        """The group that claims a name, '' for none."""
        if name in self.exact:
            return self.exact[name]
        return next((group for pattern, group in self.wild if spellings.match(pattern)), "")

    def numbers(self, group: str) -> dict[str, int]:
        """Device -> its number among the LUNs of a group, or the target's own (''), if it has one only."""
        found: dict[str, int] = {}
        twice = set()
        for lun in self._luns[group]:
            if found.setdefault(lun.device, lun.number) != lun.number:
                twice.add(lun.device)
        return {device: number for device, number in found.items() if device and device not in twice}


def _device_place(device: Device, *more: str) -> Path:
    return ("devices", device.handler, device.name, *more)


def _set_place(target: Target, group: str, *more: str) -> Path:
    return ("targets", target.driver, target.name, *(("groups", group) if group else ()), *more)


def _rule(name: str, severity: str, what: str, advice: str) -> Callable[[_Find], _Find]:
    def add(find: _Find) -> _Find:
        RULES[name] = Rule(name, severity, what, advice, find)
        return find

    return add


_Find = Callable[[_Subject], Iterable[Found]]


# Devices.


@_rule(
    "same-identity",
    ERROR,
    "two devices with the same serial, naa or eui64: initiators take them for one disk and mix their data",
    "give one of them another",
)
def _same_identity(subject: _Subject) -> Iterator[Found]:
    for part, text, one, two in same_identities(subject.identified):
        yield Found(_device_place(two, "id", part), f"{two.name} has the {part} {text} of {one.name}")


@_rule(
    "one-backing-twice",
    ERROR,
    "two devices write to one file or disk: what is written through one changes the other unannounced",
    "remove one of them, or make it read_only",
)
def _one_backing_twice(subject: _Subject) -> Iterator[Found]:
    for one, two in same_backing(subject.backed, lambda path: subject.backing(path).identity):
        also = f", which is {two.path}" if two.path != one.path else ""
        yield Found(_device_place(two, "path"), f"{one.name} and {two.name} both write to {one.path}{also}")


# Where systems keep what they cannot do without.
_SYSTEM = re.compile(r"/(?:bin|boot|etc|lib(?:32|64|x32)?|proc|sbin|sys|usr(?!/local/))(?:/|\Z)")


@_rule(
    "system-backing",
    ERROR,
    "a device writes to something that this machine itself uses: a mounted disk, swap, a file of the system",
    "use another backing, or make the device read_only",
)
def _system_backing(subject: _Subject) -> Iterator[Found]:
    for device in subject.backed:
        if not device.enabled or device.read_only:
            continue
        backing = subject.backing(device.path)
        use = backing.use or ("is a file of this system" if _SYSTEM.match(backing.real) else "")
        if use:
            yield Found(_device_place(device, "path"), f"{device.path} {use}")


@_rule(
    "disabled-twin",
    WARNING,
    "a device that is not enabled has the serial, naa or eui64 of another: both cannot be enabled",
    "give it another, or remove it",
)
def _disabled_twin(subject: _Subject) -> Iterator[Found]:
    # The enabled ones first: the twin is the one that is not.
    first: dict[tuple[str, str], Device] = {}
    for device in sorted(subject.identified, key=lambda device: not device.enabled):
        for part, text in designators(device):
            other = first.setdefault((part, text), device)
            if other is not device and not device.enabled:
                message = f"{device.name} has the {part} {text} of {other.name}"
                yield Found(_device_place(device, "id", part), message)


_UNSTABLE = re.compile(
    r"/dev/(?:(?:sd|hd|vd|xvd)[a-z]+[0-9]*|nvme[0-9]+n[0-9]+(?:p[0-9]+)?|mmcblk[0-9]+(?:p[0-9]+)?|dm-[0-9]+|"
    r"loop[0-9]+(?:p[0-9]+)?|sr[0-9]+|md12[0-9])"
)


@_rule(
    "unstable-path",
    WARNING,
    "a path that another disk may have after the next boot (`/dev/sdX`, `/dev/dm-N`, `/dev/loopN`)",
    "use a link of /dev/disk/by-id or /dev/mapper",
)
def _unstable_path(subject: _Subject) -> Iterator[Found]:
    for device in subject.backed:
        if _UNSTABLE.fullmatch(device.path):
            message = f"{device.path} may be another disk after the next boot"
            yield Found(_device_place(device, "path"), message)


@_rule("unused-device", WARNING, "a device that no LUN shows to anybody", "map it, or remove it")
def _unused_device(subject: _Subject) -> Iterator[Found]:
    used: set[str] = set()
    for _, luns in subject.sets():
        used.update(map(_DEVICE, luns))
    for device in subject.config.devices:
        if device.enabled and device.name not in used:
            yield Found(_device_place(device), f"no LUN is {device.name}")


# Groups and their initiators.


@_rule(
    "initiator-in-two-groups",
    ERROR,
    "one initiator in two groups of a target: it sees the LUNs of one of them only",
    "take it out of one of them",
)
def _initiator_in_two_groups(subject: _Subject) -> Iterator[Found]:
    for claims in subject.claims:
        for group in claims.order:
            for entry in group.initiators:
                winner = claims.exact.get(name_key(entry), group.name)
                if winner != group.name:
                    message = (
                        f"{entry} is in group {winner} too, which wins: it never sees what this one shows"
                    )
                    yield Found(_set_place(claims.target, group.name, "initiators"), message)


@_rule(
    "dead-pattern",
    WARNING,
    "a pattern whose initiators are all claimed by groups before it, by priority, then name",
    "give its group a lower priority, or remove it",
)
def _dead_pattern(subject: _Subject) -> Iterator[Found]:
    for claims in subject.claims:
        before = Before()
        for group in claims.order:
            patterns = [entry for entry in claims.by_any(group) if not is_exact(entry)]
            for pattern in (entry for entry in group.initiators if not is_exact(entry)):
                name, portal = parted(claims.target.driver, pattern)
                # All but one who comes by one portal are more than all but that one.
                killers = before.killers(name) if name and not (portal and name[0] == "!") else []
                if killers:
                    where = _set_place(claims.target, group.name, "initiators")
                    whose = f"{' and '.join(killers)} of groups before this one"
                    yield Found(where, f"{pattern} claims nobody: {whose} claim all that it matches")
            for pattern in patterns:
                before.add(pattern)
            everybody = claims_everybody(patterns)
            if everybody:
                before.everybody = before.everybody or " with ".join(everybody)


@_rule(
    "claims-everybody",
    WARNING,
    "patterns with a leading ! that together claim everybody: each claims all that it does not match",
    "keep one of them, or make one pattern of the names that are meant",
)
def _claims_everybody(subject: _Subject) -> Iterator[Found]:
    for claims in subject.claims:
        for group in claims.target.groups:
            found = claims_everybody(claims.by_any(group))
            if found:
                where = _set_place(claims.target, group.name, "initiators")
                yield Found(where, f"{found[0]} and {found[1]} leave nobody out")


@_rule(
    "malformed-name",
    WARNING,
    "a name that is nearly a WWN, a GID or an iSCSI name, but that no initiator can have",
    "correct it; `scstadmin sessions` shows the names of those that are logged in",
)
def _malformed_name(subject: _Subject) -> Iterator[Found]:
    for target in subject.config.targets:
        for group in target.groups:
            names = (parted(target.driver, entry)[0] for entry in group.initiators)
            yield from _malformed(_set_place(target, group.name, "initiators"), names)
        yield from _malformed(_set_place(target, "", "hosts"), target.hosts)


def _malformed(where: Path, names: Iterable[str]) -> Iterator[Found]:
    for name in names:
        reason = _why_malformed(fold(name.removeprefix("!"))) if is_exact(name.removeprefix("!")) else ""
        if reason:
            yield Found(where, f"{name} {reason}")


_PREFIXED = re.compile(r"(?:0x|naa\.|wwn\.|wwn-|ib\.|(?:fc|sas):0x)([0-9a-f:-]*)")
# A digit too few or too many, or a pair. MAC and IP addresses may be names that somebody chose.
_NEARLY = re.compile(
    r"[0-9a-f]{15}|[0-9a-f]{17}|[0-9a-f]{31}|[0-9a-f]{33}|"
    r"[0-9a-f]{2}(?:[:-][0-9a-f]{2}){6,8}|[0-9a-f]{4}(?::[0-9a-f]{4}){6,8}"
)
_IQN = re.compile(r"iqn\.[0-9]{4}-(?:0[1-9]|1[0-2])\.[^.:].*")


def _why_malformed(folded: str) -> str:
    """Why nobody can be called this; '' if somebody can."""
    if folded.startswith("iqn."):
        return "" if _IQN.fullmatch(folded) else "is no iqn name: these begin with iqn.YEAR-MONTH.DOMAIN"
    if Spellings.of(folded).digits:
        return ""
    if folded.startswith("eui."):
        return "" if len(folded) == 20 else "is no eui. name: these have 16 hex digits"
    number = _PREFIXED.fullmatch(folded)
    if number is None and not _NEARLY.fullmatch(folded):
        return ""
    count = len(re.sub("[:-]", "", number[1] if number else folded))
    if folded.startswith("naa.") and count == 32:
        return ""
    return f"has {count} hex digits; a WWN has 16, a GID 32, with one sign between pairs or none"


@_rule(
    "group-without-initiators",
    WARNING,
    "a group that shows LUNs and claims nobody",
    "add its initiators, or remove it",
)
def _group_without_initiators(subject: _Subject) -> Iterator[Found]:
    for where, group in subject.groups():
        if any(lun.device for lun in group.luns) and not group.initiators:
            yield Found((*where, "initiators"), f"group {group.name} claims nobody")


@_rule(
    "group-without-luns",
    WARNING,
    "a group that claims initiators by name and shows them nothing, not even the LUNs of strangers",
    "map what they are to see",
)
def _group_without_luns(subject: _Subject) -> Iterator[Found]:
    for where, group in subject.groups():
        if any(map(is_exact, group.initiators)) and not any(lun.device for lun in group.luns):
            yield Found((*where, "luns"), f"group {group.name} shows its initiators nothing")


# LUNs.


@_rule(
    "no-lun-0",
    WARNING,
    "LUNs without a LUN 0: some initiators ask LUN 0 what there is, and find nothing without it",
    "give one of them the number 0",
)
def _no_lun_0(subject: _Subject) -> Iterator[Found]:
    for where, luns in subject.sets():
        lowest = next((lun.number for lun in luns if lun.device), 0)
        if lowest:
            yield Found((*where, "luns"), f"the lowest LUN is {lowest}")


@_rule(
    "twice-in-a-set",
    WARNING,
    "one device as two LUNs for the same initiators: without multipath software that is two disks to them",
    "unmap one of the numbers",
)
def _twice_in_a_set(subject: _Subject) -> Iterator[Found]:
    for where, luns in subject.sets():
        if len(set(map(_DEVICE, luns))) == len(luns):
            continue
        first: dict[str, int] = {}
        for lun in luns:
            number = first.setdefault(lun.device, lun.number)
            if lun.device and number != lun.number:
                message = f"{lun.device} is LUN {number} here, and LUN {lun.number}"
                yield Found((*where, "luns", str(lun.number)), message)


@_rule(
    "different-numbers",
    WARNING,
    "one device with other LUN numbers on another target for one initiator: some take that for two disks",
    "give it the same number everywhere",
)
def _different_numbers(subject: _Subject) -> Iterator[Found]:
    told: set[tuple[Path, Path, str]] = set()
    for seen, who in _seen_together(subject).items():
        first: dict[str, tuple[Path, int]] = {}
        for claims, group in zip(subject.claims, seen, strict=True):
            where = _set_place(claims.target, group, "luns")
            for device, here in claims.numbers(group).items():
                place, there = first.setdefault(device, (where, here))
                if there != here and (place, where, device) not in told:
                    told.add((place, where, device))
                    other = f"LUN {there} for {who} at {dotted(place)}"
                    yield Found((*where, str(here)), f"{device} is {other}, and LUN {here} here")


# More names than that times more patterns are not looked up: nobody waits minutes for a warning.
_LOOKUPS = 200_000


def _seen_together(subject: _Subject) -> dict[tuple[str, ...], str]:
    """What initiators see at once: the groups that claim them, one of each target, -> one who does."""
    claims = subject.claims
    if len(claims) < 2:
        return {}
    names = {name_key(host): host for target in subject.config.targets for host in target.hosts}
    for target in subject.config.targets:
        driver = target.driver
        entries = [parted(driver, entry)[0] for group in target.groups for entry in group.initiators]
        entries = list(filter(is_exact, entries))
        names.update((name_key(entry), entry) for entry in entries)
    found = {("",) * len(claims): "initiators that no group claims"}
    if len(names) * sum(len(one.wild) + 1 for one in claims) > _LOOKUPS:
        return found
    for key, name in sorted(names.items()):
        spellings = Spellings.of(name)
        found.setdefault(tuple(one.group(key, spellings) for one in claims), name)
    return found


@_rule(
    "open-to-strangers",
    WARNING,
    "a target with groups whose own LUNs can be written by every initiator that no group claims",
    "map them to a group, or read-only",
)
def _open_to_strangers(subject: _Subject) -> Iterator[Found]:
    for target in subject.config.targets:
        open_luns = [lun for lun in target.luns if subject.writable(lun)]
        if open_luns and target.groups:
            numbers = ", ".join(str(lun.number) for lun in open_luns[:8])
            more = ", ..." if len(open_luns) > 8 else ""
            message = f"whoever no group claims can write to LUN {numbers}{more}"
            yield Found(_set_place(target, "", "luns"), message)


@_rule(
    "host-sees-nothing",
    WARNING,
    "a SCSI host of this machine that no group claims, or that sees no LUN",
    "add its name to a group; `scstadmin explain` says what it sees and why",
)
def _host_sees_nothing(subject: _Subject) -> Iterator[Found]:
    for claims in subject.claims:
        target = claims.target
        shown = {group for group, luns in target.lun_sets() if any(lun.device for lun in luns)}
        for host in target.hosts if shown else ():
            if claims.group(name_key(host), Spellings.of(host)) not in shown:
                yield Found(_set_place(target, "", "hosts"), f"{host} sees no LUN of this target")


# Device groups (ALUA).


@_rule(
    "port-in-no-group",
    WARNING,
    "a target that shows a device of a device group and is in none of its target port groups: by it the "
    "device can always be used, whatever state the others are in",
    "put it into a target port group (`add member TARGET tpg=...`)",
)
def _port_in_no_group(subject: _Subject) -> Iterator[Found]:
    for group in subject.config.alua:
        for target in subject.config.targets if group.port_groups else ():
            shown = {lun.device for _, luns in target.lun_sets() for lun in luns}
            devices = [device for device in group.devices if device in shown]
            if devices and group.of_target("/".join(target.key)) is None:
                message = f"shows {', '.join(devices[:8])}, and is no port of device group {group.name}"
                yield Found(_set_place(target, ""), message)


# iSCSI.


def _of_iscsi(subject: _Subject) -> Iterator[tuple[Target, Path]]:
    for target in subject.config.targets:
        if target.driver == "iscsi":
            yield target, _set_place(target, "")


@_rule(
    "no-portal",
    WARNING,
    "an iSCSI target without a portal: no initiator reaches it",
    "let it be reached (`add portal PORTAL target=TARGET`)",
)
def _no_portal(subject: _Subject) -> Iterator[Found]:
    for target, where in _of_iscsi(subject):
        if target.enabled and not target.portals:
            yield Found(where, "is reached nowhere")


@_rule(
    "not-at-that-portal",
    WARNING,
    "an entry `initiator#portal` of a group, and the target is at no such portal: it claims nobody",
    "correct it, or let the target be reached there (`add portal PORTAL target=TARGET`)",
)
def _not_at_that_portal(subject: _Subject) -> Iterator[Found]:
    for target, _ in _of_iscsi(subject):
        for group in target.groups:
            for entry in group.initiators:
                portal = parted(target.driver, entry)[1]
                if asks_portal(target.driver, entry) and not any(
                    matches(portal, one) for one in target.portals
                ):
                    where = _set_place(target, group.name, "initiators")
                    yield Found(where, f"{entry}: the target is at no portal {portal}")


@_rule(
    "chap-without-users",
    WARNING,
    "an iSCSI target, or a portal, that asks for CHAP, and there is no user that anybody could be: none of "
    "direction `in`, or none with a secret",
    "create a user with a secret, or set auth=none",
)
def _chap_without_users(subject: _Subject) -> Iterator[Found]:
    iscsi = subject.config.iscsi
    for target, where in _of_iscsi(subject):
        if target.settings["auth"] == "chap" and not _can_prove(target.users):
            yield Found((*where, "auth"), "is chap, and nobody can prove anything")
    for portal in iscsi.portals:
        if portal.settings["discovery_auth"] == "chap" and not _can_prove(iscsi.users):
            where = ("iscsi", "portals", portal.name, "discovery_auth")
            yield Found(where, "is chap, and nobody can prove anything to discovery")


def _can_prove(users: Iterable[User]) -> bool:
    return any(user.settings["direction"] == "in" and user.secret_file for user in users)


@_rule(
    "users-without-chap",
    WARNING,
    "an iSCSI target with users that need not prove anything: everybody whom a group claims is let in",
    "set auth=chap, or remove the users",
)
def _users_without_chap(subject: _Subject) -> Iterator[Found]:
    for target, where in _of_iscsi(subject):
        if target.users and target.settings["auth"] == "none":
            yield Found((*where, "users"), "need not prove anything: auth is none")


@_rule(
    "user-without-secret",
    WARNING,
    "a user of CHAP without a secret: nobody can prove to be that user",
    "say secret_file",
)
def _user_without_secret(subject: _Subject) -> Iterator[Found]:
    places: list[tuple[Path, tuple[User, ...]]] = [(("iscsi",), subject.config.iscsi.users)]
    places += [(where, target.users) for target, where in _of_iscsi(subject)]
    for where, users in places:
        for user in users:
            if not user.secret_file:
                yield Found((*where, "users", user.name), "has no secret")


@_rule(
    "weak-algorithm",
    WARNING,
    "an iSCSI target that takes CHAP with MD5 or SHA-1: who listens can try secrets fast",
    "leave them out (`set target TARGET chap_algorithms=sha3-256,sha256`), unless initiators know nothing "
    "else, as those of Windows and ESXi; their secrets are to be long and random",
)
def _weak_algorithm(subject: _Subject) -> Iterator[Found]:
    for target, where in _of_iscsi(subject):
        names = str(target.settings["chap_algorithms"]).split(",")
        weak = [name for name in names if name in ("md5", "sha1")]
        if target.settings["auth"] == "chap" and weak:
            yield Found((*where, "auth"), f"is chap, also with {' and '.join(weak)}")
