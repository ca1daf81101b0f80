# SPDX-License-Identifier: GPL-2.0-or-later
"""What waits after a plan was executed: devices for their backing, targets for their port."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pyscstadmin.config.layout import device_dir, target_dir
from pyscstadmin.config.model import Config
from pyscstadmin.config.plan import Plan
from pyscstadmin.config.ports import waits
from pyscstadmin.config.settings import DRIVERS
from pyscstadmin.errors import OperationError
from pyscstadmin.kernel.apply import Outcome
from pyscstadmin.kernel.cfs import View, optional

__all__ = ["device_states", "target_states", "with_devices", "with_targets"]


def device_states(tree: View, config: Config, steps: Plan) -> Mapping[str, str]:
    """The states of the devices that a plan touched."""
    touched = {operation.path for operation in steps.operations}
    found = {}
    for device in config.devices:
        path = device_dir(device.handler, device.name)
        if path in touched:
            try:
                found[device.name] = tree.read(f"{path}/state")
            except OperationError:  # left out, and reported as such
                continue
    return found


def target_states(tree: View, config: Config, steps: Plan) -> Mapping[tuple[str, str], str]:
    """The states of the targets that a plan touched, if they are to be enabled and are hardware."""
    touched = {operation.path for operation in steps.operations}
    found = {}
    for target in config.targets:
        path = target_dir(*target.key)
        if path in touched and target.enabled and DRIVERS[target.driver].ports is not None:
            found[target.key] = optional(tree, f"{path}/state") or ""
    return found


def with_devices(outcome: Outcome, states: Mapping[str, str]) -> Outcome:
    """With the devices that wait for their backing, by their states."""
    parked = sorted(name for name, state in states.items() if state == "parked")
    opening = sorted(name for name, state in states.items() if state == "opening")
    return replace(outcome, parked=tuple(parked), opening=tuple(opening))


def with_targets(outcome: Outcome, config: Config, states: Mapping[tuple[str, str], str]) -> Outcome:
    """With the targets that wait for their port, by their states."""
    enabled = {target.key: target.enabled for target in config.targets}
    waiting = [key for key, state in states.items() if waits(key[0], enabled.get(key, False), state)]
    return replace(outcome, waiting=tuple(sorted("/".join(key) for key in waiting)))
