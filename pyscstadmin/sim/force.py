# SPDX-License-Identifier: GPL-2.0-or-later
"""What is in force while the tree shows something else: only what differs is kept, as it was."""

from __future__ import annotations

from typing import Any

__all__ = ["Access", "InForce"]

# Target path -> its LUNs and groups, as plain data.
Access = dict[str, Any]


class InForce:
    """What was changed and is not in force, as it is in force. Notes of one thing after the first are not
    heard: it is in force as it was before all of them.
    """

    def __init__(self) -> None:
        # Priorities of groups, whether a name is in a group, and LUNs; None for what is not in force.
        self._groups: dict[tuple[str, str], int | None] = {}
        self._names: dict[tuple[str, str, str], bool] = {}
        self._luns: dict[tuple[str, str, str], dict[str, Any] | None] = {}

    def group(self, target: str, name: str, priority: int | None) -> None:
        """Note a group; None: there is none."""
        self._groups.setdefault((target, name), priority)

    def name(self, target: str, group: str, name: str, there: bool) -> None:
        """Note whether a name is in a group."""
        if not self._is_new(target, group):
            self._names.setdefault((target, group, name), there)

    def lun(self, target: str, group: str, number: str, access: dict[str, Any] | None) -> None:
        """Note a LUN of a group or of the target ('')."""
        if not self._is_new(target, group):
            self._luns.setdefault((target, group, number), access)

    def _is_new(self, target: str, group: str) -> bool:
        """Whether nothing of a group is in force, which tells all of what is in it."""
        return self._groups.get((target, group), 0) is None

    def forget(self, target: str) -> None:
        """A target is gone, and nothing of it is in force."""
        self._groups = {key: value for key, value in self._groups.items() if key[0] != target}
        self._names = {key: value for key, value in self._names.items() if key[0] != target}
        self._luns = {key: value for key, value in self._luns.items() if key[0] != target}

    def uses(self, device: str) -> bool:
        """Whether a LUN that was changed is this device."""
        return any(lun is not None and lun["device"] == device for lun in self._luns.values())

    def apply(self, shown: Access) -> Access:
        """What is in force, made of what the tree shows, which is changed for it."""
        for (target, name), priority in self._groups.items():
            groups = _target(shown, target)["groups"]
            if priority is not None:
                groups.setdefault(name, {"initiators": [], "luns": {}})["priority"] = priority
        for (target, group, name), there in self._names.items():
            names = _target(shown, target)["groups"].get(group, {"initiators": []})
            names["initiators"] = sorted(
                {*names["initiators"], name} if there else {*names["initiators"]} - {name}
            )
        for (target, group, number), lun in self._luns.items():
            luns = _luns(shown, target, group)
            luns.pop(number, None)
            if lun is not None:
                luns[number] = lun
        for (target, name), priority in self._groups.items():
            if priority is None:
                shown[target]["groups"].pop(name, None)
        return {path: access for path, access in shown.items() if access["luns"] or access["groups"]}

    @classmethod
    def between(cls, shown: Access, forced: Access) -> InForce:
        """What has to be known to make the one of the other."""
        made = cls()
        for path in {*shown, *forced}:
            made._note(path, shown.get(path, _NOTHING), forced.get(path, _NOTHING))
        return made

    def _note(self, path: str, shown: Access, forced: Access) -> None:
        self._note_luns(path, "", shown["luns"], forced["luns"])
        for name in {*shown["groups"], *forced["groups"]}:
            there, was = shown["groups"].get(name), forced["groups"].get(name)
            if (there or {}).get("priority") != (was or {}).get("priority"):
                self.group(path, name, was["priority"] if was is not None else None)
            old, new = (was or _GROUP)["initiators"], (there or _GROUP)["initiators"]
            for initiator in {*old} ^ {*new}:
                self.name(path, name, initiator, initiator in old)
            self._note_luns(path, name, (there or _GROUP)["luns"], (was or _GROUP)["luns"])

    def _note_luns(self, path: str, group: str, shown: Access, forced: Access) -> None:
        for number in {*shown, *forced}:
            if shown.get(number) != forced.get(number):
                self.lun(path, group, number, forced.get(number))


_NOTHING: Access = {"luns": {}, "groups": {}}
_GROUP: Access = {"initiators": [], "luns": {}}


def _target(shown: Access, path: str) -> Any:
    return shown.setdefault(path, {"luns": {}, "groups": {}})


def _luns(shown: Access, target: str, group: str) -> Any:
    found = _target(shown, target)
    return found["groups"].get(group, {"luns": {}})["luns"] if group else found["luns"]
