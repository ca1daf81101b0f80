# SPDX-License-Identifier: GPL-2.0-or-later
"""Text for people about what devices are on. Pure: values in, lines out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyscstadmin.kernel.prove import Was

if TYPE_CHECKING:
    from pyscstadmin.admin import Rebound
    from pyscstadmin.kernel.apply import Outcome

__all__ = ["binding_lines", "elsewhere_lines", "rebound_lines"]


def binding_lines(outcome: Outcome) -> Iterator[str]:
    """Which devices are parked and why, and which are not on what their paths say."""
    yield from _parked_lines(outcome)
    yield from elsewhere_lines(outcome)


def _parked_lines(outcome: Outcome) -> Iterator[str]:
    proofs = {proof.device: proof for proof in outcome.proofs}
    for name in outcome.opening:
        yield f"{name}: opening; its backing does not answer yet"
    for name in outcome.parked:
        proof = proofs.get(name)
        known = proof is not None and not proof.bound and proof.was is not Was.ABSENT
        yield f"{name}: parked; {proof.text}" if known and proof else f"parked, waits for its backing: {name}"


def elsewhere_lines(outcome: Outcome) -> Iterator[str]:
    """Which devices are not on what their paths say, or on something that nothing proves."""
    for proof in outcome.proofs:
        if proof.was in (Was.MOVED, Was.ANY):
            yield f"{proof.device}: {proof.text}"
        elif not proof.bound and proof.device not in (*outcome.parked, *outcome.opening):
            goes_on = "goes on with what it has open, which is not what it is to be known by"
            yield f"{proof.device}: {goes_on}: {proof.text}"


def rebound_lines(rebound: Rebound) -> Iterator[str]:
    """What a device is on from now on, and what it was on."""
    yield f"{rebound.device}: {rebound.state}, on {rebound.path}"
    if rebound.after is None:
        yield f"{rebound.path} has nothing to be known by: whatever is there will be served"
    elif rebound.before is None:
        yield f"known by {rebound.after.summary} from now on"
    for one in rebound.differences:
        yield f"{one.name} {one.found or 'none'}, was {one.known}"
