# SPDX-License-Identifier: GPL-2.0-or-later
"""The SCSI families of libiscsi's conformance suite through the wire, and the same through driver ``local``.

The suite speaks to /dev/sg of the in-tree initiator. What it finds must not depend on how the commands came:
each test has to end as it does through ``local``, on an equal device in the same machine.
"""

from __future__ import annotations

from collections import Counter

from . import initramfs
from .lab import Lab, check
from .machine import Machine
from .ours import access, clear, serve
from .packages import Cache, cache_root
from .scenarios import attach, log_is_clean, scenario

PACKAGE, PROGRAM = "libiscsi-bin", "iscsi-test-cu"
BAD = ("FAILED", "TIMEOUT", "NO-RESULT")
LEAST_PASSED = 55
"""So many tests at least must do something: the others are about commands that there are not."""
SUITE = """sg={generic}
list() {{ iscsi-test-cu -l | sed -n 's/^ *\\(SCSI\\.[A-Za-z0-9_]*\\)\\.\\([A-Za-z0-9_-]*\\) *$/\\1 \\2/p'; }}
run() {{
	timeout -s KILL 90 iscsi-test-cu -d -S -V -t "$1" $sg >/tmp/cu 2>&1 </dev/null
	code=$?
	sg_raw $sg 00 00 00 00 00 00 >/dev/null 2>&1
	return $code
}}
verdicts() {{
	awk -v suite="$1" '
		function verdict() {{ return bad ? "FAILED" : skip ? "SKIPPED" : end ? "PASSED" : "NO-RESULT" }}
		function say() {{ if (name != "") print suite "." name, verdict() }}
		/^Suite: / {{ say(); name = "" }}
		/^  Test: / {{ say(); name = $2; sub(/\\.\\.\\..*/, "", name); bad = skip = end = 0 }}
		/SKIPPED/ {{ skip = 1 }}
		/FAILED/ {{ bad = 1 }}
		/passed/ {{ end = 1 }}
		/^Run Summary/ {{ say(); name = "" }}
		END {{ say() }}' /tmp/cu
}}
list >/tmp/tests
for suite in $(cut -d' ' -f1 /tmp/tests | uniq); do
	if run "$suite"; then
		verdicts "${{suite#SCSI.}}"
		continue
	fi
	[ $code -ge 128 ] || {{ verdicts "${{suite#SCSI.}}"; continue; }}
	# The tool itself has crashed: then each test by itself.
	sed -n "s/^$suite //p" /tmp/tests >/tmp/alone
	while read -r test; do
		run "$suite.$test" || [ $code -lt 128 ] || {{ echo "${{suite#SCSI.}}.$test" CRASHED; continue; }}
		verdicts "${{suite#SCSI.}}"
	done </tmp/alone
done
"""


def table(machine: Machine, generic: str) -> dict[str, str]:
    """How each test ends on a device."""
    text = machine.run(SUITE.format(generic=generic), timeout=1500)
    rows = [line.split() for line in text.splitlines()]
    check(all(len(row) == 2 for row in rows), f"the suite's output: {text[-500:]}")
    return {row[0]: row[1] for row in rows}


def generic_of(machine: Machine, disk: str) -> str:
    """A disk's sg node."""
    return "/dev/" + machine.run(f"ls /sys/block/{disk.removeprefix('/dev/')}/device/scsi_generic").strip()


@scenario("scst-conformance")
def conformance(lab: Lab) -> None:
    """iscsi-test-cu through the wire, test by test as through driver local."""
    tools = Cache(cache_root()).package(PACKAGE)
    initiator, target = lab.board("2432"), lab.board("2432")
    files = initramfs.build_programs(tools, (PROGRAM,))
    machine = lab.boot(memory=896, cpus=2, files=files)
    serve(machine, target, "qlini_mode=dual", access(target, "a", initiator, "0 fileio/f 0"))
    wire = table(machine, generic_of(machine, attach(machine, initiator, target.settings.wwpn)))
    host = machine.run("set -e\n. /scst.sh\nscst_local t fileio/g").strip()
    found = f"/sys/bus/scsi/devices/{host}:0:0:0/block"
    local = machine.run(f"wait_for 30 [ -d {found} ]; ls {found}").strip()
    here = table(machine, generic_of(machine, f"/dev/{local}"))
    differences = [
        f"{test}: {wire.get(test, 'missing')}, through local {here.get(test, 'missing')}"
        for test in sorted({*wire, *here})
        if wire.get(test) != here.get(test)
    ]
    counts = Counter(wire.values())
    print(f"    {', '.join(f'{count} {verdict}' for verdict, count in sorted(counts.items()))}", flush=True)
    check(not differences, "; ".join(differences))
    bad = [f"{test}: {verdict}" for test, verdict in wire.items() if verdict in BAD]
    check(not bad, "; ".join(bad))
    check(counts["PASSED"] >= LEAST_PASSED, f"only {counts['PASSED']} tests passed")
    clear(machine)
    log_is_clean(machine)
