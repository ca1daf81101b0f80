# SPDX-License-Identifier: GPL-2.0-or-later
"""The units of systemd: filled in, complete, and no more exposed than they need to be."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import RawConfigParser
from fnmatch import fnmatch
from pathlib import Path

import pytest

from pyscstadmin.__main__ import FACES
from pyscstadmin.cli import main as cli
from pyscstadmin.cli.engine import understand_line

FOLDER = Path(__file__).parents[2] / "udev"
UNITS = sorted(path.name for path in FOLDER.glob("*.service"))
# Logs initiators in, and needs none of the administrator's files; the others are scstadmin.
DAEMON = "scst-iscsid.service"
TOOLS = [name for name in UNITS if name != DAEMON]
# Of ten; systemd calls up to 4.9 "OK". What is left is the price of seeing files as the administrator does.
LIMIT = 4.0


def fill(name: str, folder: str) -> str:
    """A unit as it is installed."""
    with (FOLDER / name).open("rb") as unit:
        done = subprocess.run([FOLDER / "fill.sh", folder], stdin=unit, capture_output=True, check=True)
    return done.stdout.decode()


def section(name: str, title: str) -> dict[str, str]:
    """The settings of a section; of those that are there twice, the last."""
    parser = RawConfigParser(strict=False, comment_prefixes=("#",), delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(fill(name, "/opt/s bin/&|"))
    return dict(parser[title])


@pytest.mark.parametrize("name", TOOLS)
def test_commands_are_named_in_full_and_are_commands(name: str) -> None:
    """Whatever characters the folder has; each line is one that scstadmin takes."""
    found = [text for key, text in section(name, "Service").items() if key.startswith("Exec")]
    assert found
    for line in found:
        program = "/opt/s bin/&|/scstadmin "
        assert line.removeprefix("-").startswith(program), line
        args = cli.parsed(line.removeprefix("-").removeprefix(program).split(), FACES)
        if args.run is not FACES.watch:
            assert understand_line(args.words).form.title in ("restore", "apply", "clear")
    assert "@" not in "".join(found)


def test_folder_must_be_absolute() -> None:
    done = subprocess.run(
        [FOLDER / "fill.sh", "sbin"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert done.returncode == 1


def test_watcher_is_never_given_up() -> None:
    assert section("scst-watch.service", "Unit")["StartLimitIntervalSec"] == "0"
    assert section("scst-watch.service", "Service")["Restart"] == "always"


def test_logins_come_back_at_once() -> None:
    """Sessions do not need it, but who wants to log in does."""
    service = section(DAEMON, "Service")
    assert service["ExecStart"] == "/opt/s bin/&|/scst-iscsid"
    assert (service["Restart"], service["RestartSec"]) == ("always", "200ms")
    assert section(DAEMON, "Unit")["StartLimitIntervalSec"] == "0"


def test_partial_restore_is_no_failure_and_is_stopped_in_order() -> None:
    service = section("scst.service", "Service")
    assert {"3", "4"} <= set(service["SuccessExitStatus"].split())
    assert service["ExecStop"].startswith("-")
    assert " --settle 5 " in service["ExecStop"]
    assert service["RemainAfterExit"] == "yes"
    assert "apply" in service["ExecReload"]


@pytest.mark.parametrize("name", TOOLS)
def test_no_mount_namespace(name: str) -> None:
    """The kernel opens files for it, as the administrator sees them."""
    private = (
        "ProtectSystem",
        "ProtectHome",
        "ProtectKernel",
        "ProtectControlGroups",
        "ProtectProc",
        "Private",
    )
    assert not [key for key in section(name, "Service") if key.startswith(private)]


def test_sessions_are_no_units() -> None:
    """The manager would keep one for each, of any number; targets and devices can be waited for."""
    tagged = []
    for line in (FOLDER / "60-scst.rules").read_text().splitlines():
        if line.startswith("#") or 'TAG+="systemd"' not in line:
            continue
        (names,) = re.findall(r'KERNEL=="([^"]+)"', line)
        tagged += names.split("|")
    assert not [pattern for pattern in tagged if fnmatch("session.12", pattern)]
    for name in ("device.da", "target.local.t1", "scst"):
        assert [pattern for pattern in tagged if fnmatch(name, pattern)], name


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
@pytest.mark.parametrize("name", UNITS)
def test_exposure(name: str, tmp_path: Path) -> None:
    unit = tmp_path / name
    unit.write_text(fill(name, "/usr/sbin"))
    argv = ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={int(LIMIT * 10)}"]
    done = subprocess.run([*argv, str(unit)], capture_output=True, text=True, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze looks at running systems only")
    last = done.stdout.strip().splitlines()[-1]
    exposure = float(last.rpartition(": ")[2].split()[0])
    assert exposure < LIMIT, last
    assert done.returncode == 0
