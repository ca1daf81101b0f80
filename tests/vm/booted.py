# SPDX-License-Identifier: GPL-2.0-or-later
"""What systemd finds in a machine that it is the first process of: this repository's units as they are
installed, a saved configuration, and those of Debian's units that have to do with it.

Nothing else of the machine's is started, whatever is enabled there. What units are given besides is in MORE.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from tests.vm import machine
from tests.vm.machine import PYTHON, REPO

__all__ = ["ADDRESS", "CARD", "DISK", "LATE", "NAME", "NETNS", "UNITS", "layer"]

FOLDER = REPO / "build/systemd"
UNITS = "/etc/scst-units"
SBIN = "usr/local/sbin"
PROGRAMS = {"scstadmin": "pyscstadmin", "scst-iscsid": "pyscstadmin.iscsi.daemon"}

# The configuration that is restored: one portal can listen at once, the others wait for something.
NAME = "iqn.2026-11.test:t"
DISK, SIZE_MIB = "/run/scst-disk", 8
CARD, ADDRESS, NETNS = "san0", "10.77.0.1", "far"
CONFIG = {
    "version": 1,
    "devices": {
        "fileio": {
            "disk": {"path": DISK, "id": {"naa": "60000000000000000000000000000001", "serial": "disk"}}
        }
    },
    "iscsi": {
        "portals": {
            "here": {"address": "127.0.0.1"},
            "san": {"address": ADDRESS, "port": 860},
            "card": {"address": CARD, "port": 3261},
            "far": {"netns": NETNS},
        }
    },
    "targets": {
        "iscsi": {
            NAME: {
                "nop_interval": 0,  # the tests' initiator answers only while it is asked something
                "portals": ["card", "far", "here", "san"],
                "luns": {"0": {"device": "disk"}},
            }
        }
    },
}
# The network is as slow as the tests like: it begins when this file is there.
LATE = "/run/scst-network"

DEBIAN = Path("/lib/systemd/system")
TARGET = "scst-test.target"  # what the agent has it boot to
WANTS = {
    TARGET: ("scst.service", "systemd-networkd.service"),
    "sysinit.target": (
        "local-fs.target",
        "sys-kernel-config.mount",
        "systemd-journald.service",
        "systemd-udevd.service",
    ),
    "sockets.target": (
        "systemd-journald.socket",
        "systemd-journald-dev-log.socket",
        "systemd-networkd.socket",
        "systemd-udevd-control.socket",
        "systemd-udevd-kernel.socket",
    ),
}
NEEDED = ("basic.target", "modprobe@.service", "network-pre.target", "network.target", "shutdown.target")

# The machine is slow, and this repository may be where a unit may not look.
PATIENT = "[Service]\nTimeoutStartSec=30min\nTimeoutStopSec=30min\n"
MORE = {
    "scst.service": f"{PATIENT}ExecStartPre=/usr/bin/truncate --size={SIZE_MIB}M {DISK}\n",
    "scst-iscsid.service": f"{PATIENT}BindReadOnlyPaths={REPO}\n",
    "scst-watch.service": PATIENT,
    "systemd-networkd.service": "[Service]\nTimeoutStartSec=infinity\n"
    f"ExecStartPre=/bin/sh -c 'until [ -e {LATE} ]; do sleep 0.2; done'\n",
}
FILES = {
    "etc/fstab": "",
    "etc/hostname": "scst-vm\n",
    "etc/machine-id": "5c57" * 8 + "\n",
    "etc/scst/scst.json": json.dumps(CONFIG),
    "etc/systemd/journald.conf.d/test.conf": "[Journal]\nStorage=volatile\nForwardToConsole=yes\n",
    "etc/systemd/network/10-san.netdev": f"[NetDev]\nName={CARD}\nKind=dummy\n",
    "etc/systemd/network/10-san.network": f"[Match]\nName={CARD}\n"
    f"[Network]\nAddress={ADDRESS}/24\nLinkLocalAddressing=no\n",
}


def layer() -> Path:
    """The folder that lies over the machine's root. It is not touched while it is as it should be: another
    machine may be running with it.
    """
    wanted = _files()
    with machine.locked(FOLDER.with_suffix(".lock")):
        there = {path.relative_to(FOLDER): path.read_text() for path in FOLDER.rglob("*") if path.is_file()}
        if there != {Path(name): text for name, text in wanted.items()}:
            shutil.rmtree(FOLDER, ignore_errors=True)
            for name, text in wanted.items():
                path = FOLDER / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
                path.chmod(0o755 if name.startswith(SBIN) else 0o644)
    return FOLDER


def _files() -> dict[str, str]:
    """All of them, by path in the machine."""
    made = FILES | {f"{UNITS[1:]}/{name}": text for name, text in _units().items()}
    for name, module in PROGRAMS.items():
        made[f"{SBIN}/{name}"] = f'#!/bin/sh\nexec {PYTHON} -m {module} "$@"\n'
    # Not below lib, which is a link in the machine.
    made["usr/lib/udev/rules.d/60-scst.rules"] = (REPO / "udev/60-scst.rules").read_text()
    return made


def _units() -> dict[str, str]:
    """systemd's."""
    made = {unit.name: _filled(unit) for unit in (REPO / "udev").glob("*.service")}
    made[TARGET] = "[Unit]\nRequires=basic.target\nAfter=basic.target\n"
    for name in {*NEEDED, *WANTS, *(name for names in WANTS.values() for name in names)} - made.keys():
        made[name] = (DEBIAN / name).read_text()
    made |= {f"{name}.d/test.conf": text for name, text in MORE.items()}
    made |= {f"{name}.d/wants.conf": f"[Unit]\nWants={' '.join(names)}\n" for name, names in WANTS.items()}
    return made


def _filled(unit: Path) -> str:
    """As `make install` would have it."""
    argv = [str(REPO / "udev/fill.sh"), f"/{SBIN}"]
    done = subprocess.run(argv, input=unit.read_text(), stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout
