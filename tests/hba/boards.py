# SPDX-License-Identifier: GPL-2.0-or-later
"""Putting a test bed together: chips on sockets, plugged into one medium, in one event loop."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .fc.media import AnyMedium, Switch
from .isp.chip import Chip, Tracer
from .isp.fw2x import Firmware2x
from .isp.fw24 import Firmware24
from .isp.models import MODELS, Family, Model, Settings
from .isp.regs2x import Isp2200, Isp2300
from .isp.regs24 import Isp2400
from .isp.regs27 import Isp2700
from .loop import Loop
from .vfio.server import Endpoint

DEFAULT_WWPN = 0x210000E08B123401


def make_chip(
    loop: Loop,
    medium: AnyMedium,
    model: str,
    settings: Settings,
    name: str,
    tracer: Tracer | None = None,
    interrupt: str = "msix",
) -> Chip:
    """A chip with its firmware; ValueError for a model that does not exist."""
    if model not in MODELS:
        raise ValueError(f"there is no chip model {model!r}; known are {', '.join(MODELS)}")
    kind: Model = MODELS[model]
    if kind.family in (Family.ISP2400, Family.ISP2700):
        new = Isp2700 if kind.family is Family.ISP2700 else Isp2400
        chip = new(loop, medium, kind, settings, name, tracer, interrupt)
        Firmware24(chip)
        chip.power_on()
        return chip
    old = (Isp2200 if kind.family is Family.ISP2200 else Isp2300)(loop, medium, kind, settings, name, tracer)
    Firmware2x(old)
    old.power_on()
    return old


class TestBed:
    """A medium and the boards on it; each board listens on a socket of its own."""

    __test__ = False

    def __init__(
        self,
        loop: Loop | None = None,
        medium: AnyMedium | None = None,
        tracer: Tracer | None = None,
        folder: Path | None = None,
    ) -> None:
        """``folder`` for the sockets: without it a temporary one that is removed at the end."""
        self.loop = loop or Loop()
        self.medium = medium or Switch(self.loop)
        self.tracer = tracer
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="hba-"))
        self.chips: list[Chip] = []
        self.endpoints: list[Endpoint] = []

    def add_board(self, model: str, *, wwpn: int = 0, interrupt: str = "msix", **settings: int) -> Chip:
        """A board of a model; names that are not given are numbered."""
        number = len(self.chips)
        wwpn = wwpn or DEFAULT_WWPN + number
        setup = Settings(wwpn=wwpn, wwnn=wwpn & ~(0xF << 56) & ~(0x1 << 48) | 0x2000 << 48, **settings)  # type: ignore[arg-type]
        chip = make_chip(self.loop, self.medium, model, setup, f"hba{number}", self.tracer, interrupt)
        self.chips.append(chip)
        self.endpoints.append(Endpoint(self.loop, self.folder / f"hba{number}.sock", chip))
        return chip

    def close(self) -> None:
        """Close all sockets; remove their folder if it was temporary."""
        for endpoint in self.endpoints:
            endpoint.close()
        if self._temporary:
            self.folder.rmdir()
