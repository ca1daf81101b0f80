#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Answers what initiators ask for by SET TARGET PORT GROUPS, of device groups with ask_ms (docs/scstadmin.md, "Consent").
#
#     alua-consent.sh COMMAND [ARGUMENT ...]
#
# For each question COMMAND is run with the arguments that follow it, and then the device group, the question's number, target,
# initiator, device, and what is wanted: NAME=STATE for each target port group that would change. If it ends with 0 the states are
# changed, otherwise nothing is. It should not take longer than ask_ms: an answer that comes too late does nothing.
set -u
root=/sys/kernel/config/scst/alua

# The open question of a device group, if there is one.
look() {
	group=$1
	shift
	read -r number left rest <"$root/$group/question" || return
	[ -n "$number" ] || return
	# Names have no blanks.
	# shellcheck disable=SC2086
	if "$@" "$group" "$number" $rest </dev/null; then
		scstadmin answer "$group" "$number" accept
	else
		scstadmin answer "$group" "$number" refuse
	fi
}

event='' state='' ready=''
udevadm monitor --kernel --property --subsystem-match=scst | while IFS='=' read -r name value; do
	case $name in
	SCST_EVENT) event=$value ;;
	SCST_STATE) state=$value ;;
	'')
		if [ -z "$ready" ]; then
			# It listens: what was asked before nobody will say again.
			ready=yes
			for folder in "$root"/*/; do
				look "$(basename "$folder")" "$@"
			done
		elif [ "$event" = alua-question ]; then
			look "$state" "$@"
		fi
		event=''
		;;
	esac
done
