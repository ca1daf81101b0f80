# SPDX-License-Identifier: GPL-2.0-or-later
"""What the target driver refuses, and what it says: names, modes, other drivers' ports, other builds."""

from __future__ import annotations

from ..fc.scripted import ScriptedInitiator
from ..isp.chip import Chip
from .both import LIO
from .initramfs import read_module
from .lab import Lab, check
from .machine import Machine
from .ours import access, clear, name, serve
from .packages import Kernel
from .scenarios import log_is_clean, scenario

NOTE = bytes.fromhex("040000001400000003000000") + b"GNU\0"
"""How a build-id of 20 bytes begins."""
SIGNED = b"~Module signature appended~\n"
LOAD = """set -e
. /scst.sh
scst_load {parameters}
wait_for 20 [ -d /sys/class/scst/port.qla2xxx.{port} ]
"""
UNLOAD = """set -e
. /scst.sh
rmmod scst_qla2xxx; rmmod qla2xxx
"""
END_OF_LIO = """set -e
cd /sys/kernel/config/target/qla2xxx/{port}/tpgt_1
echo 0 >enable
rm lun/lun_0/port
cd ..
rmdir tpgt_1/lun/lun_0 tpgt_1
cd ..
rmdir {port}
cd ..
rmdir core/rd_mcp_0/disk0 core/rd_mcp_0
"""


def refused(machine: Machine, command: str, error: str, log: str = "") -> None:
    """It fails with an error, and the kernel log says why."""
    before = len(machine.console())
    said = machine.run(f". /scst.sh; if {{ {command}; }} 2>&1; then echo it succeeded; fi")
    check(error in said, f"{command}: {said.strip()}, and not {error}")
    check(log in machine.console()[before:], f"{command}: the kernel log does not say: {log}")


def enable(port: str) -> str:
    """A command."""
    return f"echo 1 >$SCST/targets/qla2xxx/{port}/enabled"


def names(machine: Machine, port: str) -> None:
    """A target is called as a port is, and not otherwise."""
    dashed, bare = port.replace(":", "-"), port.replace(":", "")
    upper = port[:-1] + "A"
    for wrong in (dashed, bare, upper, port[:-1], port[:-3], port + "0", port + ":00", "x" + port[1:], "a"):
        command = f"mkdir $SCST/targets/qla2xxx/{wrong}"
        refused(machine, command, "Invalid argument", f"target {wrong}: a port's name is needed")


def mode(machine: Machine, port: str) -> None:
    """A board whose mode allows no targets is shown with its mode, and refused."""
    machine.run(LOAD.format(parameters="qlini_mode=enabled", port=port))
    names(machine, port)
    shown = machine.run(f"cat /sys/class/scst/port.qla2xxx.{port}/qlini_mode").strip()
    check(shown == "enabled", f"qlini_mode is shown as {shown}")
    machine.run(f". /scst.sh; mkdir $SCST/targets/qla2xxx/{port}")
    refused(machine, enable(port), "Operation not supported", "=exclusive or =dual is needed")
    machine.run(f". /scst.sh; rmdir $SCST/targets/qla2xxx/{port}")
    machine.run(UNLOAD)


def other_build(machine: Machine, kernel: Kernel) -> None:
    """The in-box driver is another build than ours was made for: by its build-id, all else is the same."""
    data = read_module(next(kernel.modules.glob("kernel/drivers/scsi/qla2xxx/qla2xxx.ko*")))
    at = data.find(NOTE) + len(NOTE)
    check(at > len(NOTE), "qla2xxx.ko has no build-id")
    # A signature would be one of something else.
    length = len(data.removesuffix(SIGNED))
    machine.run(f"""set -e
        head -c {length} /modules/qla2xxx.ko >/tmp/other.ko
        printf '\\125\\252' | dd of=/tmp/other.ko bs=1 seek={at} conv=notrunc 2>/dev/null
        insmod /tmp/other.ko qlini_mode=dual""")
    # So says insmod of ENOEXEC.
    refused(machine, "insmod /extra/scst_qla2xxx.ko", "invalid module format", "build it again")
    machine.run("rmmod qla2xxx; rm /tmp/other.ko")


def lio_first(machine: Machine, target: Chip) -> None:
    """A port that LIO uses is shown and refused, until LIO has left it."""
    port = name(target)
    wwpn = f"{target.settings.wwpn:016x}"
    machine.run(LIO.format(parameters="", name=port, wwpn=wwpn))
    machine.run(LOAD.format(parameters="", port=port))
    machine.run(f". /scst.sh; mkdir $SCST/targets/qla2xxx/{port}")
    refused(machine, enable(port), "Device or resource busy", "is another target driver's")
    state = machine.run(f"cat /sys/kernel/config/scst/targets/qla2xxx/{port}/state").strip()
    check(state == "disabled", f"the target is {state}")
    # Also one that LIO has and does not use.
    machine.run(f"echo 0 >/sys/kernel/config/target/qla2xxx/{port}/tpgt_1/enable; sleep 2")
    refused(machine, enable(port), "Device or resource busy", "is another target driver's")
    machine.run(f"[ -d /sys/class/scst/port.qla2xxx.{port} ]")
    machine.run(f"echo 1 >/sys/kernel/config/target/qla2xxx/{port}/tpgt_1/enable; wait_for 60 online {wwpn}")
    machine.run(END_OF_LIO.format(port=port), timeout=100)
    machine.run(f". /scst.sh; rmdir $SCST/targets/qla2xxx/{port}")


def lio_after(lab: Lab, machine: Machine, target: Chip) -> None:
    """LIO is refused a port of ours, and virtual ports of its own on it; ours goes on."""
    port = name(target)
    initiator = ScriptedInitiator(lab.loop, lab.medium, 0x10000000C9000001)
    initiator.plug()
    serve(machine, target, "", access(target, "a", initiator, "0 fileio/f 0"))
    address = initiator.find(target.settings.wwpn)
    initiator.login(address)
    for _ in range(4):
        initiator.scsi(address, bytes(6))
    fabric = "/sys/kernel/config/target/qla2xxx"
    # So says LIO whatever the reason is.
    refused(machine, f"mkdir {fabric}/{port}", "Invalid argument")
    virtual = "2101000000000001:2001000000000001"
    machine.run(f"mkdir -p {fabric}_npiv")
    refused(machine, f"mkdir {fabric}_npiv/{port}@{virtual}", "Invalid argument", "tpg_1 not available")
    check(initiator.scsi(address, bytes(6)).status == 0, "our target does not serve any more")


@scenario("scst-guards", smoke=True)
def scst_guards(lab: Lab) -> None:
    """Names, a mode without targets, another build of the in-box driver, LIO before and after us."""
    target = lab.board("2432")
    machine = lab.boot(memory=512)
    mode(machine, name(target))
    other_build(machine, lab.kernel)
    machine.run("insmod /modules/qla2xxx.ko qlini_mode=dual")
    lio_first(machine, target)
    lio_after(lab, machine, target)
    clear(machine)
    log_is_clean(machine)
