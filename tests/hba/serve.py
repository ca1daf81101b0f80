# SPDX-License-Identifier: GPL-2.0-or-later
"""A test bed that stays up for machines and drivers under development."""

from __future__ import annotations

import argparse
import json
import signal
from pathlib import Path

from .boards import TestBed
from .control import ControlSocket
from .fc.disk import RamDisk
from .fc.frames import format_wwn
from .fc.media import AnyMedium, ArbitratedLoop, Switch
from .fc.scripted import ScriptedTarget
from .loop import Loop
from .trace import PcapTrace, TextTrace

TARGET_WWPN = 0x5006016000000001


def build(loop: Loop, args: argparse.Namespace) -> TestBed:
    """The bed that the command line describes."""
    sink = PcapTrace(args.pcap) if args.pcap else None
    medium: AnyMedium = Switch(loop, sink=sink) if args.medium == "switch" else ArbitratedLoop(loop, sink)
    args.folder.mkdir(parents=True, exist_ok=True)
    bed = TestBed(loop, medium, TextTrace(args.trace) if args.trace else None, args.folder)
    for model in args.model:
        bed.add_board(model)
    if args.disk:
        ScriptedTarget(loop, medium, TARGET_WWPN, {0: RamDisk(args.disk << 20)}).plug()
        print(f"target {format_wwn(TARGET_WWPN)} with a RAM disk of {args.disk} MiB")
    return bed


def qemu_device(path: Path) -> str:
    """The QEMU option that attaches a board."""
    device = {"driver": "vfio-user-pci", "socket": {"type": "unix", "path": str(path)}}
    return f"-device '{json.dumps(device)}'"


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    loop = Loop()
    bed = build(loop, args)
    control = ControlSocket(bed, args.folder / "control")
    for chip, endpoint in zip(bed.chips, bed.endpoints, strict=True):
        print(
            f"{chip.name}: {chip.model.name} {format_wwn(chip.settings.wwpn)} {qemu_device(endpoint.path)}",
            flush=True,
        )
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, frame: stopped.append(got))
    while not stopped:
        loop.step(0.5)
    control.close()
    bed.close()
    for file in (args.trace, args.pcap):
        if file:
            file.close()
    return 0
