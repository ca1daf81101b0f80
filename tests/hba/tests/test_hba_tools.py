# SPDX-License-Identifier: GPL-2.0-or-later
"""Traces, the control socket, packages, the initial RAM disk, the command line; nothing here starts QEMU."""

from __future__ import annotations

import argparse
import io
import json
import lzma
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hba import cli, fuzz, serve
from hba.boards import TestBed, make_chip
from hba.control import ControlError, Controller, ControlSocket
from hba.fc import frames as fc
from hba.fc.frames import Frame
from hba.fc.media import ArbitratedLoop, Switch
from hba.hostside import Driver2300, Driver2400, HostError, Memory
from hba.isp import iocb
from hba.isp.firmware_images import DUMMIES
from hba.isp.models import MODELS, Settings, nvram_2300
from hba.isp.regs2x import SerialMemory
from hba.loop import Loop
from hba.trace import Both, PcapTrace, TextTrace, describe_entry, describe_frame, wire_frames
from hba.vfio.server import Bus
from hba.vm import initramfs, packages
from hba.vm.machine import BAD_LOG, qemu_command
from hba.vm.packages import Cache, Kernel, SetupError, Tools

ROOT = Path(__file__).resolve().parents[1]


def test_trace_of_a_bring_up() -> None:
    loop = Loop(virtual=True)
    out, raw = io.StringIO(), io.BytesIO()
    text, pcap = TextTrace(out), PcapTrace(raw)
    medium = Switch(loop, sink=Both(text, pcap))
    for model, driver in (("2432", Driver2400), ("2312", Driver2300)):
        chip = make_chip(loop, medium, model, Settings(0x210000E08B000001, 0x200000E08B000001), "hba0", text)
        host = driver(loop, chip)
        assert isinstance(host, (Driver2400, Driver2300))
        host.start()
        host.submit(bytes((iocb.MARKER, 1)) + bytes(62), bytes((0xEE, 1)) + bytes(62))
        host.response(0xEE)
        host.close()
    lines = out.getvalue()
    for part in (
        "mbx  60 initialize firmware",
        "aen  8011 loop up 0003",
        "FLOGI",
        "SCR",
        "report id vp=0",
        "---  reset",
        ">    marker",
        "<    entry ee",
        "entry-status=04",
        "execute firmware",
    ):
        assert part in lines
    blocks = raw.getvalue()
    assert blocks[:4] == bytes.fromhex("0a0d0d0a")
    assert len(blocks) % 4 == 0
    place, kinds = 0, []
    while place < len(blocks):
        kind, size = struct.unpack_from("<II", blocks, place)
        assert struct.unpack_from("<I", blocks, place + size - 4)[0] == size
        kinds.append(kind)
        place += size
    assert kinds[:2] == [0x0A0D0D0A, 1]
    assert set(kinds[2:]) == {6}


def test_every_entry_type_has_a_line() -> None:
    for kind in range(256):
        for swapped in (True, False):
            assert describe_entry(bytes((kind, 1, 0, 0)) + bytes(range(60)), swapped=swapped)


def test_frame_lines() -> None:
    def line(r_ctl: int, kind: int, payload: bytes) -> str:
        return describe_frame(Frame(r_ctl, 0x010200, 0x010100, kind, 0, 1, 2, 0, payload))

    assert "PLOGI" in line(fc.R_ELS_REQUEST, 1, fc.login_payload(fc.ELS_PLOGI, 1, 2))
    assert "GID_FT" in line(fc.R_CT_REQUEST, 0x20, bytes(8) + b"\x01\x71" + bytes(10))
    assert "FCP_CMND lun=0 cdb=28" in line(
        fc.R_COMMAND, 8, fc.Command(bytes(8), b"\x28" + bytes(15)).encode()
    )
    assert "FCP_RSP status=02" in line(fc.R_STATUS, 8, fc.Response(2, b"x").encode())
    assert "FCP_DATA off=0 len=3" in line(fc.R_DATA, 8, b"abc")
    assert "r_ctl ee" in line(0xEE, 9, b"")


def test_long_sequences_become_frames() -> None:
    frames = wire_frames(Frame(fc.R_DATA, 0x010200, 0x010100, 8, fc.F_DATA, 0x11, 0x22, 512, bytes(5000)))
    assert [len(frame) for frame in frames] == [24 + 2048, 24 + 2048, 24 + 904]
    assert frames[1][:12] == bytes.fromhex("01010200 00010100 08800008".replace(" ", ""))
    assert [struct.unpack_from(">HHHI", frame, 14) for frame in frames] == [
        (0, 0x11, 0x22, 512),
        (1, 0x11, 0x22, 2560),
        (2, 0x11, 0x22, 4608),
    ]
    assert len(wire_frames(Frame(fc.R_ABTS, 1, 2, 0, 0, 1, 2, 0, b""))) == 1


def controller(medium: type[Switch] | type[ArbitratedLoop] = Switch) -> tuple[TestBed, Controller]:
    loop = Loop(virtual=True)
    bed = TestBed(loop, medium(loop))
    for model in ("2432", "2312"):
        bed.add_board(model)
    return bed, Controller(bed)


def test_control_verbs() -> None:
    bed, control = controller()
    for chip, driver in zip(bed.chips, (Driver2400, Driver2300), strict=True):
        host = driver(bed.loop, chip)
        assert isinstance(host, (Driver2400, Driver2300))
        host.start()
    listing = control.execute({"do": "list"})
    assert [board["model"] for board in listing["boards"]] == ["2432", "2312"]
    assert len(listing["ports"]) == 2
    first = bed.chips[0]
    ids = [chip.port.port_id for chip in bed.chips]
    control.execute({"do": "swap", "board": "hba0", "with": "hba1"})
    bed.loop.run_for(1)
    assert [chip.port.port_id for chip in bed.chips] == ids[::-1]
    control.execute({"do": "cable", "board": "hba0", "connected": False})
    assert not first.port.online
    control.execute({"do": "cable", "board": "hba0", "connected": True})
    bed.loop.run_for(1)
    assert first.port.online
    control.execute({"do": "rscn", "board": "hba1", "count": 3})
    control.execute({"do": "disturb", "board": "hba0"})
    control.execute(
        {"do": "chip", "board": "hba0", "lose": 2, "delay": 0.5, "dma_rate": 1000, "queue_full": 7}
    )
    assert (first.faults.lose, first.faults.delay, first.faults.dma_rate, first.faults.queue_full) == (
        2,
        0.5,
        1000,
        7,
    )
    slow = {
        "request_rate": 3,
        "stall": True,
        "exchanges": 2,
        "iocbs": 4,
        "ctio_failures": 1,
        "ctio_status": 41,
    }
    control.execute({"do": "chip", "board": "hba0", **slow})
    assert {key: getattr(first.faults, key) for key in slow} == slow
    habits = control.execute({"do": "habits", "board": "hba0", "abts_ends_ctio": True})
    assert habits["abts_ends_ctio"]
    assert habits["back_pressure"]
    assert first.habits.abts_ends_ctio
    for board in ("hba0", "hba1"):
        control.execute({"do": "notify", "board": board, "kind": "lip reset"})
    control.execute({"do": "frames", "kind": "data", "count": 2, "clip": 100})
    control.execute({"do": "frames", "kind": "els", "delay": 1})
    assert len(bed.medium.wire.faults) == 2
    control.execute({"do": "calm"})
    assert not bed.medium.wire.faults
    assert not first.faults.any()
    assert not first.faults.stall
    control.execute({"do": "disconnect", "board": "hba0"})
    control.execute({"do": "crash", "board": "hba0"})
    assert not first.port.online
    control.execute({"do": "remove", "board": "hba1"})
    assert bed.chips[1].dead
    bed.close()


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({}, "no verb None"),
        ({"do": "dance"}, "known are list"),
        ({"do": "crash"}, "no board None"),
        ({"do": "cable", "board": "hba0"}, "true or false"),
        ({"do": "chip", "board": "hba0", "lose": -1}, "not negative"),
        ({"do": "chip", "board": "hba0", "lose": True}, "not True"),
        ({"do": "frames", "kind": "x"}, "no frames 'x'"),
        ({"do": "chip", "board": "hba0", "stall": 1}, "true or false"),
        ({"do": "habits", "board": "hba0", "kind": True}, "known are back_pressure"),
        ({"do": "habits", "board": "hba0", "back_pressure": 0}, "true or false"),
        ({"do": "notify", "board": "hba0"}, "have to be text"),
        ({"do": "notify", "board": "hba0", "kind": "x"}, "known are lip reset"),
        ({"do": "notify", "board": "hba0", "kind": "lip reset", "port": "x"}, "not a WWN"),
        ({"do": "swap", "board": "hba0", "with": "hba7"}, "no board 'hba7'"),
    ],
)
def test_control_errors(request_: dict[str, object], text: str) -> None:
    bed, control = controller()
    with pytest.raises(ControlError, match=text):
        control.execute(request_)
    bed.close()


def test_control_needs_a_switch() -> None:
    bed, control = controller(ArbitratedLoop)
    with pytest.raises(ControlError, match="needs a switch"):
        control.execute({"do": "rscn", "board": "hba0"})
    bed.close()


def test_control_socket(tmp_path: Path) -> None:
    bed, _ = controller()
    server = ControlSocket(bed, tmp_path / "control")
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(tmp_path / "control"))
    client.setblocking(False)

    def ask(line: bytes) -> dict[str, object]:
        client.sendall(line + b"\n")
        got = b""

        def arrived() -> bool:
            nonlocal got
            try:
                got += client.recv(65536)
            except BlockingIOError:
                return False
            return got.endswith(b"\n")

        assert bed.loop.run_until(arrived, 5)
        answer: dict[str, object] = json.loads(got)
        return answer

    assert ask(b'{"do": "list"}')["ok"] is True
    assert "malformed" in str(ask(b"{")["error"])
    assert "JSON object" in str(ask(b"[]")["error"])
    assert "no verb" in str(ask(b'{"do": 5}')["error"])
    client.sendall(b"x" * 70000)
    assert bed.loop.run_until(lambda: not server._clients, 5)
    client.close()
    server.close()
    bed.close()


def test_firmware_dummies() -> None:
    words = struct.unpack(">32I", DUMMIES["ql2400_fw.bin"]())
    assert (words[2], words[3], words[18], words[19]) == (0x100000, 16, 0x110000, 16)
    assert any(words[4:8])
    assert any(words[20:24])
    short = struct.unpack(">32H", DUMMIES["ql2300_fw.bin"]())
    assert short[3] == 32
    assert any(short[4:8])


def test_serial_memory() -> None:
    image = nvram_2300(Settings(0x210000E08B000001, 0x200000E08B000001, loop_preferred=True))
    assert sum(image) & 0xFF == 0
    assert image[18:26] == (0x210000E08B000001).to_bytes(8, "big")
    memory = SerialMemory(image)

    def transfer(command: int, value: int = 0) -> int:
        result = 0
        for bit in range(27):
            line = command >> (10 - bit) & 1 if bit < 11 else value >> (26 - bit) & 1
            memory.write(0x2 | line << 2)
            memory.write(0x3 | line << 2)
            if bit >= 11:
                result = result << 1 | (memory.read() >> 3 & 1)
        memory.write(0)
        return result

    assert [transfer(6 << 8 | word) for word in range(128)] == list(struct.unpack("<128H", image))
    transfer(5 << 8 | 100, 0xBEEF)
    assert transfer(6 << 8 | 100) == 0xBEEF


def test_models_and_memory() -> None:
    with pytest.raises(ValueError, match="known are 2200"):
        make_chip(Loop(), Switch(Loop()), "9999", Settings(1, 2), "x")
    assert set(MODELS) == {"2200", "2300", "2312", "2432", "2532", "2261"}
    memory = Memory(Bus(), 4096)
    memory.allocate(4000)
    with pytest.raises(HostError, match="used up"):
        memory.allocate(200)
    memory.close()


STANZAS = """\
Package: linux-image-amd64
Depends: linux-image-7.3.4+deb13-amd64 (= 7.3.4-1~bpo13+1)

Package: linux-image-amd64
Depends: linux-image-6.12.107+deb13-amd64 (= 6.12.107-1)

Package: linux-image-amd64
Depends: linux-image-6.1.0-50-amd64 (= 6.1.176-1)
"""


def test_newest_release() -> None:
    releases = [packages.newest_release(STANZAS, series) for series in packages.SERIES]
    assert releases == ["6.1.0-50-amd64", "6.12.107+deb13-amd64", "7.3.4+deb13-amd64"]
    with pytest.raises(SetupError, match=r"no kernel 5\.10"):
        packages.newest_release(STANZAS, "5.10")


def fake_root(tmp_path: Path) -> tuple[Tools, Kernel]:
    """A tool folder and a kernel folder made of the machine's own programs."""
    tools, kernel = tmp_path / "tools", tmp_path / "kernel-6.1"
    for folder in ("usr/bin", "usr/lib64", "usr/lib/x86_64-linux-gnu"):
        (tools / folder).mkdir(parents=True)
    (tools / "usr/bin/busybox").write_bytes(b"busybox")
    modules = kernel / "lib/modules/6.1.0-1-amd64"
    (modules / "kernel").mkdir(parents=True)
    (kernel / "boot").mkdir()
    (kernel / "boot/vmlinuz-6.1.0-1-amd64").write_bytes(b"kernel")
    (modules / "kernel/a.ko").write_bytes(b"module a")
    (modules / "kernel/b-x.ko.xz").write_bytes(lzma.compress(b"module b"))
    (modules / "modules.dep").write_text("kernel/a.ko: kernel/b-x.ko.xz\nkernel/b-x.ko.xz:\n")
    (modules / "modules.builtin").write_text("kernel/c.ko\n")
    return Tools(tools), Kernel("6.1", "6.1.0-1-amd64", kernel)


def test_initial_ram_disk(tmp_path: Path) -> None:
    tools, kernel = fake_root(tmp_path)
    extra = tmp_path / "own.ko"
    extra.write_bytes(b"own module")
    archive = initramfs.build(tools, kernel, ("a", "c"), (), [extra])
    listing = (
        subprocess.run(["cpio", "-it"], input=archive, capture_output=True, check=True)
        .stdout.decode()
        .split()
    )
    assert {
        "init",
        "lib.sh",
        "bin/busybox",
        "modules/a.ko",
        "modules/b_x.ko",
        "modules/a.order",
        "extra/own.ko",
        "lib/firmware/ql2400_fw.bin",
    } <= set(listing)
    assert b"module b" in archive
    assert b"b_x\na\n" in archive
    with pytest.raises(SetupError, match="no module nonsense"):
        initramfs.build(tools, kernel, ("nonsense",), ())


def test_administration_in_the_ram_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools, _ = fake_root(tmp_path)
    home, source = tools.root / "usr/lib/python3.99", tmp_path / "source/pyscstadmin"
    for folder in (home / "lib-dynload", home / "json", source / "cli"):
        folder.mkdir(parents=True)
    (tools.root / "usr/bin/python3.99").write_bytes(b"interpreter")
    (tools.root / "usr/bin/python3").symlink_to("python3.99")
    (tools.root / "usr/lib64/ld-linux-x86-64.so.2").write_bytes(b"loader")
    library = tools.root / "usr/lib/x86_64-linux-gnu/libffi.so.8"
    threads = library.with_name(initramfs.THREADS)
    for path in (
        library,
        threads,
        home / "os.py",
        home / "json/tool.py",
        source / "cli/main.py",
        source / "a.json",
    ):
        path.write_bytes(b"text")
    for name in ("_ctypes", "_ctypes_test", "_ssl"):
        (home / f"lib-dynload/{name}.cpython-399.so").write_bytes(b"code")
    monkeypatch.setattr(Tools, "libraries", lambda self, program: [library] if program.suffix else [])
    archive = initramfs.build_admin(tools, source.parent)
    listing = subprocess.run(["cpio", "-it"], input=archive, capture_output=True, check=True).stdout.decode()
    files = {
        "bin/python3",
        "bin/scstadmin",
        "usr/lib/python3.99/os.py",
        "usr/lib/python3.99/json/tool.py",
        "usr/lib/python3.99/lib-dynload/_ctypes.cpython-399.so",
        "lib/x86_64-linux-gnu/libffi.so.8",
        "lib/x86_64-linux-gnu/libgcc_s.so.1",
        "opt/pyscstadmin/cli/main.py",
        "opt/pyscstadmin/a.json",
    }
    assert files <= set(listing.split())
    assert "_ssl" not in listing
    assert "_ctypes_test" not in listing


def test_a_kernel_that_is_not_packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, kernel = fake_root(tmp_path)
    monkeypatch.setattr(packages, "KERNEL_ROOT", str(kernel.root))
    cache = Cache(tmp_path / "nothing in it")
    assert cache.kernel("6.1") == kernel
    with pytest.raises(SetupError, match=r"no kernel 6\.12"):
        cache.kernel("6.12")


def test_folders_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools, kernel = fake_root(tmp_path)
    monkeypatch.setenv("SCST_CACHE", str(tmp_path))
    cache = Cache(packages.cache_root())
    assert cache.tools() == tools
    assert cache.kernel("6.1") == kernel
    assert kernel.image.name == "vmlinuz-6.1.0-1-amd64"
    with pytest.raises(SetupError, match="is not in"):
        tools.find("nothing")
    command = (
        qemu_command(tools, kernel, tmp_path, [], 512, "quiet", 1)
        if (tools.root / "usr/bin").exists() and _add_qemu(tools)
        else []
    )
    assert "-kernel" in command
    assert "512" in command
    (tmp_path / "kernel-7.3").mkdir()
    with pytest.raises(SetupError, match="no usable kernel"):
        cache.kernel("7.3")
    (kernel.root / "boot/vmlinuz-6.1.0-1-amd64").unlink()
    with pytest.raises(SetupError, match="no kernel image"):
        _ = kernel.image


def _add_qemu(tools: Tools) -> bool:
    (tools.root / "usr/bin/qemu-system-x86_64").write_bytes(b"")
    return True


def test_set_up_failures_are_explained(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="false failed with exit code 1"):
        packages._run(["false"])
    with pytest.raises(SetupError, match="apt, dpkg and kmod"):
        packages._run(["/nonexistent"])
    broken = tmp_path / "broken.deb"
    broken.write_bytes(b"nonsense")
    with pytest.raises(SetupError, match="cannot be unpacked"):
        packages._unpack([broken], tmp_path / "out")


def test_private_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []

    def record(argv: list[str], cwd: Path | None = None) -> str:
        calls.append(list(argv))
        return "linux-base linux-image-x\n"

    monkeypatch.setattr(packages, "_run", record)
    apt = packages.Apt(tmp_path)
    apt.update()
    apt.closure(["a"])
    apt.download(["b"], tmp_path / "packages")
    assert apt.cache("pkgnames").split()[0] == "linux-base"
    assert [call[-1] for call in calls] == ["update", "a", "b", "pkgnames"]
    assert all(f"-oDir::State={tmp_path}/state" in call for call in calls)
    assert "trixie-backports main" in (tmp_path / "sources.list").read_text()


def test_kernel_log_patterns() -> None:
    assert BAD_LOG.search("[   12.3] WARNING: CPU: 0 PID: 1 at foo.c:1")
    assert BAD_LOG.search("BUG: unable to handle page fault")
    assert not BAD_LOG.search("AMD IOMMUv2 functionality not available on this system - This is not a bug.")


def test_command_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    assert "serve" in capsys.readouterr().out
    fake_root(tmp_path)
    monkeypatch.setenv("SCST_CACHE", str(tmp_path))
    assert cli.main(["setup", "--kernel", "6.1"]) == 0
    assert "kernel 6.1: 6.1.0-1-amd64" in capsys.readouterr().out
    assert cli.main(["vm", "nonsense"]) == 2
    assert "no scenario nonsense" in capsys.readouterr().err


def test_serve(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "run.py"),
            "serve",
            str(tmp_path / "bed"),
            "2432",
            "2200",
            "--disk",
            "4",
            "--trace",
            str(tmp_path / "trace"),
            "--pcap",
            str(tmp_path / "pcap"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    assert "5006016000000001" in lines[0].replace(":", "")
    assert "vfio-user-pci" in lines[1]
    assert "hba1: 2200" in lines[2]
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(tmp_path / "bed/control"))
    client.sendall(b'{"do": "list"}\n')
    assert json.loads(client.recv(65536))["ok"]
    client.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert not list((tmp_path / "bed").glob("*"))
    process.stdout.close()


def test_serve_builds_a_loop(tmp_path: Path) -> None:
    args = argparse.Namespace(pcap=None, trace=None, medium="loop", folder=tmp_path, model=["2312"], disk=1)
    bed = serve.build(Loop(virtual=True), args)
    assert isinstance(bed.medium, ArbitratedLoop)
    assert len(bed.medium.ports) == 1
    assert json.loads(serve.qemu_device(bed.endpoints[0].path).split("'")[1])["socket"]["type"] == "unix"
    bed.close()


def test_fuzzer_for_a_moment(capsys: pytest.CaptureFixture[str]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    assert fuzz.run(1.0, 4711) == 0
    assert "checks of the other board" in capsys.readouterr().out
    assert len(os.listdir("/proc/self/fd")) <= before + 4
