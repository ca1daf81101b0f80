# SPDX-License-Identifier: GPL-2.0-or-later
"""Loading the kernel modules a configuration names."""

from __future__ import annotations

from collections.abc import Iterable

from pyscstadmin.config.model import Config
from pyscstadmin.config.settings import DRIVERS, HANDLERS
from pyscstadmin.errors import NotPresent
from pyscstadmin.kernel.cfs import View

__all__ = ["missing", "modprobe"]


def missing(tree: View, config: Config) -> dict[str, str]:
    """What the configuration needs and the tree has no directory for: directory -> module."""
    handlers = {device.handler for device in config.devices}.difference(tree.list("devices"))
    drivers = {target.driver for target in config.targets}.difference(tree.list("targets"))
    found = {f"devices/{handler}": HANDLERS[handler].module for handler in sorted(handlers)}
    found.update({f"targets/{driver}": DRIVERS[driver].module for driver in sorted(drivers)})
    return found


def modprobe(names: Iterable[str], where: str) -> None:
    """Load modules. Raises `NotPresent` for `where`, with what modprobe said, when one cannot be loaded."""
    for name in names:
        _load(name, where)


def _load(name: str, where: str) -> None:
    import subprocess  # costs more to import than most commands take to run

    try:
        subprocess.run(["modprobe", "--", name], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise NotPresent(where, f"module {name} is not loaded, and there is no modprobe") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip() or f"exit {error.returncode}"
        raise NotPresent(where, f"modprobe {name}: {said}") from error
