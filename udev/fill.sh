#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# fill.sh <folder of scstadmin> <unit >filled unit: systemd looks for programs in a path of its own, so units name
# theirs in full.
set -eu
case $1 in
/*) ;;
*) echo "fill: $1: not an absolute path" >&2 && exit 1 ;;
esac
exec sed "s|@SBINDIR@|$(printf %s "$1" | sed 's/[&|\\]/\\&/g')|g"
