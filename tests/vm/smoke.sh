# SPDX-License-Identifier: GPL-2.0-only
# Runs in a small machine with another kernel (tests/vm/kernels.py): the modules load there, two initiators use a
# file, a block device and a null device with different rights, a device parks and returns, everything unloads.
set -eu

say() {
	echo "smoke: $*"
}

fail() {
	say "FAILED: $*"
	exit 1
}

# node HOST LUN KIND: the device node of a LUN, once it is there; KIND is block or scsi_generic
node() {
	local folder="/sys/class/scsi_host/host$1/device/target$1:0:0/$1:0:0:$2/$3"
	wait_for 20 test -d "$folder" >&2
	echo "/dev/$(ls "$folder")"
}

# map FOLDER LUN DEVICE READ_ONLY
map() {
	mkdir "$1/luns/$2"
	echo "$4" >"$1/luns/$2/read_only"
	ln -s "$root/devices/$3" "$1/luns/$2/device"
}

# unmap FOLDER LUN
unmap() {
	rm "$1/luns/$2/device"
	rmdir "$1/luns/$2"
}

verify() {
	fio --name=verify --filename="$1" --rw=randwrite --bs=4k --size=8m --direct=1 --ioengine=libaio --iodepth=16 \
		--verify=crc32c --do_verify=1 --thread --minimal >/tmp/fio.log 2>&1 || {
		cat /tmp/fio.log
		fail "fio on $1"
	}
}

for module in configfs loop sd_mod sg ext4 crc32c_generic crc_t10dif; do
	load "$module"
done
for module in scst scst_nullio scst_fileio scst_blockio scst_local; do
	insmod "/extra/$module.ko"
done
[ -d /sys/kernel/config/scst ] || mount -t configfs configfs /sys/kernel/config
root=/sys/kernel/config/scst
dd if=/dev/zero of=/tmp/file bs=1M count=32 2>/dev/null
dd if=/dev/zero of=/tmp/block bs=1M count=32 2>/dev/null
losetup /dev/loop0 /tmp/block

mkdir "$root/devices/fileio/f" "$root/devices/blockio/b" "$root/devices/nullio/n"
echo /tmp/file >"$root/devices/fileio/f/path"
echo /dev/loop0 >"$root/devices/blockio/b/path"
echo 1073741824 >"$root/devices/nullio/n/size"
for device in fileio/f blockio/b nullio/n; do
	echo 1 >"$root/devices/$device/enabled"
	[ "$(cat "$root/devices/$device/state")" = active ] || fail "$device is not active"
done

target=$root/targets/local/t
mkdir "$target"
for name in a b; do
	mkdir "$target/groups/$name" "$target/groups/$name/initiators/$name" "$target/hosts/$name"
done
map "$target/groups/a" 0 fileio/f 0
map "$target/groups/a" 1 blockio/b 0
map "$target/groups/b" 0 fileio/f 1
map "$target/groups/b" 1 nullio/n 0
echo 1 >"$target/enabled"
a=$(cat "$target/hosts/a/host")
b=$(cat "$target/hosts/b/host")
file=$(node "$a" 0 block)
block=$(node "$a" 1 block)
other=$(node "$b" 0 block)
generic=$(node "$b" 0 scsi_generic)
null=$(node "$b" 1 block)

verify "$block"
mke2fs -q -F "$file" >/dev/null 2>&1
mount -t ext4 "$file" /mnt
cp /bin/busybox /mnt/
umount /mnt
mount -t ext4 -o ro "$other" /mnt
cmp /bin/busybox /mnt/busybox || fail "the other initiator reads other data"
umount /mnt
sg_raw -s 512 -i /dev/zero "$generic" 2a 00 00 00 00 00 00 00 01 00 >/tmp/raw.log 2>&1 &&
	fail "a read-only LUN took a write"
grep -qi "data protect" /tmp/raw.log || fail "a write to a read-only LUN: $(cat /tmp/raw.log)"
dd if="$null" of=/tmp/zeroes bs=1M count=4 iflag=direct 2>/dev/null
dd if=/dev/zero bs=1M count=4 2>/dev/null | cmp - /tmp/zeroes || fail "the null device reads as something"
sg_reset -d "$block" || fail "LUN reset"
dd if="$block" of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null || fail "a read after the LUN reset"
say "reads, writes, rights and a reset"

echo 0 >"$root/devices/blockio/b/active"
sg_raw -r 512 "$(node "$a" 1 scsi_generic)" 28 00 00 00 00 00 00 00 01 00 >/tmp/raw.log 2>&1 &&
	fail "a parked device answers reads"
grep -qi "not ready" /tmp/raw.log || fail "a read of a parked device: $(cat /tmp/raw.log)"
echo 1 >"$root/devices/blockio/b/active"
wait_for 20 dd if="$block" of=/dev/null bs=4k count=1 iflag=direct
say "parks and returns"

echo 0 >"$target/enabled"
for name in a b; do
	unmap "$target/groups/$name" 0
	unmap "$target/groups/$name" 1
	rmdir "$target/hosts/$name" "$target/groups/$name/initiators/$name" "$target/groups/$name"
done
rmdir "$target"
for device in fileio/f blockio/b nullio/n; do
	rmdir "$root/devices/$device"
done
losetup -d /dev/loop0
for module in scst_local scst_blockio scst_fileio scst_nullio scst; do
	rmmod "$module" || fail "$module cannot be unloaded"
done
say "unloaded on $(uname -r)"
