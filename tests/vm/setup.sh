#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Makes a Debian machine ready for the targets of the Makefile. Run as root the first time; does nothing, fast,
# when nothing is missing.
#   setup.sh python    the virtual environment .venv with the package and its test tools
#   setup.sh vm        that, and kernel, headers, QEMU and the tools used inside the VM
#   setup.sh kernels   that, and the unpacked headers of newer kernels in the cache folder
#   setup.sh fuzz      that of "python", and clang with its fuzzer
#   setup.sh debug [6.1]   that of "vm", and the kernel's sources with what compiles them
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cache=${SCST_CACHE:-$HOME/.cache/scst}
mkdir -p "$cache"
exec 9>"$cache/setup.lock"
flock 9

python_packages=(python3 python3-venv libudev1)
vm_packages=(
	linux-image-amd64 linux-headers-amd64 gcc libc6-dev make sparse binutils kmod libc-bin
	qemu-system-x86 ipxe-qemu busybox-static zstd
	udev systemd fio sg3-utils ddpt libiscsi-bin e2fsprogs xfsprogs dmsetup lvm2 util-linux procps cpio
	libaio1 libjson-c5 libreadline8 liburcu8 python3-pycurl python3-pexpect
)
# Not installed, for they would look after the disks of this machine: unpacked, and put into the VM by who wants them.
unpacked_packages=(
	multipath-tools kpartx sg3-utils-udev open-iscsi libopeniscsiusr libisns0 open-isns-server
	fence-agents sanlock libsanlock1 libsanlock-client1 grub-pc-bin grub-common
)
kernels_packages=(mmdebstrap debian-archive-keyring util-linux)
debug_packages=(flex bison bc libelf-dev patch xz-utils zstd tar)

die() {
	echo "setup: $*" >&2
	exit 1
}

missing() {
	local package
	for package in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
	done
}

# The package index is only fetched when the one at hand has not got what is needed.
need() {
	local wanted
	mapfile -t wanted < <(missing "$@")
	[ "${#wanted[@]}" -gt 0 ] || return 0
	[ "$(id -u)" = 0 ] || die "these packages are missing: ${wanted[*]}; run as root, or install them"
	echo "setup: installing ${wanted[*]}" >&2
	export DEBIAN_FRONTEND=noninteractive
	local install=(apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 install "${wanted[@]}")
	"${install[@]}" >"$cache/apt.log" 2>&1 || {
		apt-get -qq -o DPkg::Lock::Timeout=300 update >>"$cache/apt.log" 2>&1 &&
			"${install[@]}" >>"$cache/apt.log" 2>&1
	} || {
		tail -n 20 "$cache/apt.log" >&2
		die "apt-get could not install ${wanted[*]} (log: $cache/apt.log)"
	}
}

# build/packages: what is in packages that are not to be installed here, a folder for each.
unpack() {
	local root=build/packages stamp=build/packages/.stamp part package name
	[ "$(cat "$stamp" 2>/dev/null)" = "a folder each: $*" ] && return 0
	echo "setup: unpacking $*" >&2
	part=$(mktemp -d "$cache/packages.XXXXXX")
	(
		cd "$part"
		chmod 755 .
		apt-get -qq download "$@" || { apt-get -qq update && apt-get -qq download "$@"; }
	) >"$cache/apt.log" 2>&1 || {
		tail -n 20 "$cache/apt.log" >&2
		die "apt-get could not download $* (log: $cache/apt.log)"
	}
	rm -rf "$root"
	mkdir -p "$root"
	for package in "$part"/*.deb; do
		name=${package##*/}
		dpkg-deb -x "$package" "$root/${name%%_*}"
	done
	rm -rf "$part"
	printf '%s\n' "a folder each: $*" >"$stamp"
}

# Debian's own interpreter: the VM runs it too, from the same files.
venv() {
	local stamp wanted
	stamp=.venv/.scst-stamp
	wanted=$(/usr/bin/python3 -V && cat setup.cfg && pwd)
	[ -e "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && return 0
	echo "setup: Python packages into .venv" >&2
	[ -x .venv/bin/python ] || /usr/bin/python3 -m venv .venv
	.venv/bin/python -m pip install -q --disable-pip-version-check -e '.[test]' >"$cache/pip.log" 2>&1 || {
		tail -n 20 "$cache/pip.log" >&2
		die "pip could not install the package and its test tools (log: $cache/pip.log)"
	}
	printf '%s\n' "$wanted" >"$stamp"
}

case ${1:-vm} in
python)
	need "${python_packages[@]}"
	venv
	;;
vm)
	need "${python_packages[@]}" "${vm_packages[@]}"
	unpack "${unpacked_packages[@]}"
	venv
	;;
kernels)
	need "${python_packages[@]}" "${vm_packages[@]}" "${kernels_packages[@]}"
	unpack "${unpacked_packages[@]}"
	venv
	;;
fuzz)
	need "${python_packages[@]}" gcc libc6-dev clang
	version=$(clang -dumpversion)
	need "libclang-rt-${version%%.*}-dev"
	venv
	;;
debug)
	need "${python_packages[@]}" "${vm_packages[@]}" "${debug_packages[@]}" "linux-source-${2:-6.1}"
	unpack "${unpacked_packages[@]}"
	venv
	;;
*)
	die "unknown part '$1': python, vm, kernels, fuzz or debug"
	;;
esac
