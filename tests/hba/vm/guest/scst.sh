# SPDX-License-Identifier: GPL-2.0-or-later
# The project's own target in the guest; on top of lib.sh.

SCST=/sys/kernel/config/scst

# scst_load [PARAMETER OF QLA2XXX...]: the modules, and the in-box driver with a mode that allows targets
scst_load() {
	local module
	load qla2xxx "$@"
	load configfs
	load loop
	load target_core_mod
	load crc_t10dif
	for module in scst scst_fileio scst_blockio scst_nullio scst_qla2xxx; do
		grep -q "^$module " /proc/modules || insmod "/extra/$module.ko" || return 1
	done
	[ -d "$SCST" ] || mount -t configfs configfs /sys/kernel/config
}

# scst_file NAME MIB: a device on a file, which may be there already
scst_file() {
	[ -e "/tmp/$1" ] || dd if=/dev/zero of="/tmp/$1" bs=1M count="$2" 2>/dev/null
	mkdir "$SCST/devices/fileio/$1" || return 1
	echo "/tmp/$1" >"$SCST/devices/fileio/$1/path"
	echo 1 >"$SCST/devices/fileio/$1/enabled"
}

# scst_disk NAME MIB: a device on a block device, which is a file's
scst_disk() {
	local loop
	dd if=/dev/zero of="/tmp/$1" bs=1M count="$2" 2>/dev/null
	loop=$(losetup -f) && losetup "$loop" "/tmp/$1" || return 1
	mkdir "$SCST/devices/blockio/$1" || return 1
	echo "$loop" >"$SCST/devices/blockio/$1/path"
	echo 1 >"$SCST/devices/blockio/$1/enabled"
}

# scst_null NAME BYTES: a device on nothing
scst_null() {
	mkdir "$SCST/devices/nullio/$1" || return 1
	echo "$2" >"$SCST/devices/nullio/$1/size"
	echo 1 >"$SCST/devices/nullio/$1/enabled"
}

# scst_map FOLDER LUN DEVICE READ_ONLY
scst_map() {
	mkdir "$1/luns/$2" || return 1
	echo "$4" >"$1/luns/$2/read_only"
	ln -s "$SCST/devices/$3" "$1/luns/$2/device"
}

# scst_group TARGET GROUP INITIATOR
scst_group() {
	mkdir -p "$SCST/targets/qla2xxx/$1/groups/$2/initiators/$3"
}

# scst_local NAME DEVICE: a target of driver local, with the device as LUN 0 of its one initiator; that one's SCSI host
scst_local() {
	local folder="$SCST/targets/local/$1"
	insmod /extra/scst_local.ko && mkdir "$folder" "$folder/hosts/initiator" || return 1
	scst_map "$folder" 0 "$2" 0 && echo 1 >"$folder/enabled" && cat "$folder/hosts/initiator/host"
}

# scst_clear: nothing is left, all modules go
scst_clear() {
	local folder module
	for folder in "$SCST"/targets/*/*; do
		[ -d "$folder" ] && echo 0 >"$folder/enabled"
	done
	for folder in "$SCST"/targets/*/*/groups/*/luns/* "$SCST"/targets/*/*/luns/*; do
		[ -d "$folder" ] && rm "$folder/device" && rmdir "$folder"
	done
	for folder in "$SCST"/targets/*/*/groups/*/initiators/* "$SCST"/targets/*/*/groups/* "$SCST"/targets/*/*/hosts/* \
		"$SCST"/targets/*/* "$SCST"/devices/*/*; do
		[ ! -d "$folder" ] || rmdir "$folder" || return 1
	done
	for module in $(sed -n 's/^\(scst_[a-z0-9_]*\) .*/\1/p' /proc/modules); do
		rmmod "$module" || return 1
	done
	scst_objects && rmmod scst
}

# scst_objects: none is left
scst_objects() {
	[ -d /sys/kernel/debug/scst ] || mount -t debugfs debugfs /sys/kernel/debug
	! grep -v ' 0$' /sys/kernel/debug/scst/objects
}
