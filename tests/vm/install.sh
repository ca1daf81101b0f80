#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# install.sh <kernel build folder> <DESTDIR> <PREFIX>: modules, scstadmin, udev rules and units of this repository.
# With DESTDIR nothing of the running system is touched (for packagers); without it the module index and the
# device manager's rules are brought up to date.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

kdir=$1 destdir=$2 prefix=$3

die() {
	echo "install: $*" >&2
	exit 1
}

[ -f "$kdir/Makefile" ] || die "KDIR=$kdir: no kernel build folder; install the kernel's headers or set KDIR"
[ -n "$destdir" ] || [ "$(id -u)" = 0 ] || die "must be root, or set DESTDIR"

make --no-print-directory setup
built=$(.venv/bin/python -m tests.vm build --kdir "$kdir" | tail -n 1)
release=$(basename "$(dirname "$built")")
install -d "$destdir/lib/modules/$release/updates"
install -m 644 "$built/"*.ko "$destdir/lib/modules/$release/updates/"

# A virtual environment of its own: the distribution's Python stays as it is.
venv=$prefix/lib/scst
/usr/bin/python3 -m venv "$destdir$venv"
"$destdir$venv/bin/python" -m pip install -q --disable-pip-version-check .
install -d "$destdir$prefix/sbin"
# Relative to the environment, so that a staged tree works at its final place.
printf '#!/bin/sh\nexec %s/bin/python -m pyscstadmin "$@"\n' "$venv" >"$destdir$prefix/sbin/scstadmin"
printf '#!/bin/sh\nexec %s/bin/python -m pyscstadmin.iscsi.daemon "$@"\n' "$venv" >"$destdir$prefix/sbin/scst-iscsid"
chmod 755 "$destdir$prefix/sbin/scstadmin" "$destdir$prefix/sbin/scst-iscsid"

# Man pages and completion, made from the tables by the environment that built the modules: no network is needed.
.venv/bin/python -m pyscstadmin.cli.pages install "$destdir$prefix" "$(date -u -d "@${SOURCE_DATE_EPOCH:-$(date +%s)}" +%F)"

for rule in udev/*.rules; do
	[ -e "$rule" ] && install -D -m 644 "$rule" "$destdir/lib/udev/rules.d/${rule##*/}"
done
for unit in udev/*.service udev/*.path udev/*.target udev/*.timer; do
	[ -e "$unit" ] || continue
	install -d "$destdir/lib/systemd/system"
	udev/fill.sh "$prefix/sbin" <"$unit" >"$destdir/lib/systemd/system/${unit##*/}"
	chmod 644 "$destdir/lib/systemd/system/${unit##*/}"
done

if [ -z "$destdir" ]; then
	depmod "$release"
	if [ -S /run/udev/control ]; then udevadm control --reload; fi
	if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
fi
echo "installed: modules for $release, $prefix/sbin/scstadmin, man pages, completion, udev rules and units"
