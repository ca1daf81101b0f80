# SPDX-License-Identifier: GPL-2.0-or-later
"""The project's own target driver on emulated boards, with the in-tree driver as initiator."""

from __future__ import annotations

from ..fc import frames as fc
from ..isp.chip import Chip
from .lab import Lab, check
from .machine import Machine
from .scenarios import attach, log_is_clean, scenario, verify, write_and_compare

SERVE = """set -e
. /scst.sh
scst_load {parameters}
wait_for 20 [ -d /sys/class/scst/port.qla2xxx.{target} ]
scst_file f 32
scst_file g 32
scst_null n 1073741824
mkdir $SCST/targets/qla2xxx/{target}
{access}
echo 1 >$SCST/targets/qla2xxx/{target}/enabled
wait_for 60 online {wwpn}
"""
ACCESS = """scst_group {target} {group} {initiator}
{luns}"""


def name(chip: Chip) -> str:
    """A port as its target is called."""
    return fc.format_wwn(chip.settings.wwpn)


def access(target: Chip, group: str, initiator: Chip, *luns: str) -> str:
    """Script: what an initiator may use; each LUN as ``NUMBER DEVICE READ_ONLY``."""
    lines = "\n".join(f"scst_map $SCST/targets/qla2xxx/{name(target)}/groups/{group} {lun}" for lun in luns)
    return ACCESS.format(target=name(target), group=group, initiator=name(initiator), luns=lines)


def serve(machine: Machine, target: Chip, parameters: str, *accesses: str) -> None:
    """A target with files behind it."""
    wwpn = f"{target.settings.wwpn:016x}"
    text = SERVE.format(target=name(target), wwpn=wwpn, parameters=parameters, access="\n".join(accesses))
    machine.run(text)


def clear(machine: Machine) -> None:
    """Everything goes, nothing is left."""
    machine.run("set -e\n. /scst.sh\nscst_clear", timeout=200)


@scenario("scst-one-vm", smoke=True)
def scst_one_vm(lab: Lab) -> None:
    """Initiator and our target on two boards of one VM with two CPUs."""
    initiator, target = lab.board("2432"), lab.board("2432")
    machine = lab.boot(memory=768, cpus=2)
    serve(machine, target, "qlini_mode=dual", access(target, "a", initiator, "0 fileio/f 0", "1 nullio/n 0"))
    disk = attach(machine, initiator, target.settings.wwpn)
    write_and_compare(machine, disk)
    verify(machine, disk)
    machine.run(f"sg_reset -d {disk}; dd if={disk} of=/dev/null bs=4k count=1 iflag=direct")
    check("scst" in machine.run(f"sg_inq {disk}").lower(), "it is not our disk")
    clear(machine)
    log_is_clean(machine)
