# SPDX-License-Identifier: GPL-2.0-or-later
"""Simulated hardware ports: which are there is said by a file beside the simulated tree, so that they come
and go as boards do, whoever looks.

`ports.json` is a list of objects, one for each port, with the members of `config.ports.Port`; `driver` and
`name` are needed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any

from pyscstadmin.config.ports import Port
from pyscstadmin.config.settings import DRIVERS
from pyscstadmin.errors import NotPresent

__all__ = ["PORTS", "SimPorts"]

PORTS = "ports.json"
_MEMBERS = frozenset(field.name for field in fields(Port))


class SimPorts:
    """The ports: of the file in a directory, or in memory (None)."""

    def __init__(self, directory: str | None = None) -> None:
        self._path = os.path.join(directory, PORTS) if directory else ""
        self._known: list[Port] = []
        self._stamp: tuple[int, int, int] | None = None

    def all(self) -> list[Port]:
        """The ports that are there. Raises `NotPresent` for a file that is none of these."""
        if self._path:
            self._look()
        return list(self._known)

    def find(self, driver: str, name: str) -> Port | None:
        """The port of that name, None if it is not there."""
        return next((port for port in self.all() if (port.driver, port.name) == (driver, name)), None)

    def plug(self, port: Port) -> None:
        """A port comes, or is another one now."""
        self._put([*self._others(port.driver, port.name), port])

    def unplug(self, driver: str, name: str) -> None:
        """A port goes."""
        self._put(self._others(driver, name))

    def _others(self, driver: str, name: str) -> list[Port]:
        return [port for port in self.all() if (port.driver, port.name) != (driver, name)]

    def _put(self, ports: Iterable[Port]) -> None:
        self._known = sorted(ports, key=lambda port: (port.driver, port.name))
        if not self._path:
            return
        text = json.dumps([asdict(port) for port in self._known], indent=2)
        with open(f"{self._path}.new", "w", encoding="utf-8") as file:
            file.write(text + "\n")
        os.replace(f"{self._path}.new", self._path)

    def _look(self) -> None:
        """Read the file, if it is another one than it was."""
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            self._known, self._stamp = [], None
            return
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        if stamp != self._stamp:
            self._known, self._stamp = _read(self._path), stamp


def _read(path: str) -> list[Port]:
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
        if type(data) is not list:
            raise ValueError("must be a list")
        return [_port(one) for one in data]
    except (OSError, ValueError) as error:
        raise NotPresent(path, f"it cannot be read as simulated ports: {error}") from error


def _port(data: Any) -> Port:
    if type(data) is not dict or not all(type(value) is str for value in data.values()):
        raise ValueError(f"{data!r:.70} must be an object of texts")
    wrong = sorted(data.keys() - _MEMBERS)
    if wrong or not data.keys() >= {"driver", "name"}:
        raise ValueError(f"unknown {wrong[0]!r}" if wrong else f"{data!r:.70} needs driver and name")
    spec = DRIVERS.get(data["driver"])
    if spec is None or spec.ports is None:
        raise ValueError(f"targets of {data['driver']!r} are no hardware")
    fault = spec.name.fault(data["name"])
    if fault is not None:
        raise ValueError(f"{data['name']!r} {fault.reason}")
    return Port(**{**data, "name": spec.name.canonical(data["name"])})
