# SPDX-License-Identifier: GPL-2.0-or-later
# Functions for scripts that run in the guest.

# load MODULE [PARAMETER...]: a module with everything it needs, once
load() {
	local name="$1" module
	shift
	[ -f "/modules/$name.order" ] || return 0
	while read -r module; do
		grep -q "^$module " /proc/modules && continue
		if [ "$module" = "$name" ]; then
			insmod "/modules/$module.ko" "$@" || return 1
		else
			insmod "/modules/$module.ko" || return 1
		fi
	done <"/modules/$name.order"
}

# wait_for SECONDS COMMAND...: until the command succeeds; fails with a message when the time is over, which is longer in a slow machine
wait_for() {
	local end=$(($(cut -d. -f1 /proc/uptime) + $1 * ${SLOW:-1}))
	shift
	until "$@" >/dev/null 2>&1; do
		if [ "$(cut -d. -f1 /proc/uptime)" -ge "$end" ]; then
			echo "gave up waiting for: $*"
			return 1
		fi
		usleep 50000
	done
}

# host_by_wwn WWPN: the SCSI host name of a port, 16 hexadecimal digits
host_by_wwn() {
	local file
	for file in /sys/class/fc_host/host*/port_name; do
		[ "$(cat "$file")" = "0x$1" ] && basename "$(dirname "$file")" && return 0
	done
	return 1
}

online() {
	local host
	host=$(host_by_wwn "$1") && [ "$(cat "/sys/class/fc_host/$host/port_state")" = Online ]
}

# disk_of WWPN LUN: the block device reached through the target port of that name
disk_of() {
	local link device
	for link in /sys/block/sd*; do
		[ -e "$link/device" ] || continue
		device=$(readlink -f "$link/device")
		case "$device" in *"/rport-"*":$2") ;; *) continue ;; esac
		[ "$(cat "$(dirname "$device")"/fc_transport/*/port_name 2>/dev/null)" = "0x$1" ] &&
			echo "/dev/$(basename "$link")" && return 0
	done
	return 1
}

# units INITIATOR TARGET: the SCSI devices that an initiator's port sees at a target's, by their addresses
units() {
	local device address
	for device in /sys/bus/scsi/devices/[0-9]*; do
		address=${device##*/}
		[ "$(cat "/sys/class/fc_host/host${address%%:*}/port_name" 2>/dev/null)" = "0x$1" ] || continue
		[ "$(cat "$(dirname "$(readlink -f "$device")")"/fc_transport/*/port_name 2>/dev/null)" = "0x$2" ] &&
			echo "$address"
	done
	return 0
}

# luns_of INITIATOR TARGET: their LUNs
luns_of() {
	units "$1" "$2" | sed 's/.*://'
}

# unit_of INITIATOR TARGET LUN: its SCSI address
unit_of() {
	local address
	for address in $(units "$1" "$2"); do
		[ "${address##*:}" = "$3" ] && echo "$address" && return 0
	done
	return 1
}

# lun_of INITIATOR TARGET LUN: its block device
lun_of() {
	local address
	address=$(unit_of "$1" "$2" "$3") && echo "/dev/$(ls "/sys/bus/scsi/devices/$address/block")"
}
