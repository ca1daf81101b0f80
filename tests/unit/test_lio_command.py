# SPDX-License-Identifier: GPL-2.0-or-later
"""`scstadmin import lio`: output, exit codes, and that nothing else is touched."""

from __future__ import annotations

import io
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from pyscstadmin.__main__ import main
from pyscstadmin.config.document import Document
from pyscstadmin.config.model import Target
from pyscstadmin.config.schema import loads
from pyscstadmin.migrate import lio_kernel
from pyscstadmin.store import load, save

Capture = pytest.CaptureFixture[str]

SAMPLES = Path(__file__).with_name("lio")
COMPLETE, NOT_ALL = str(SAMPLES / "kernel-6.17.json"), str(SAMPLES / "ramdisk.json")


@pytest.fixture
def complete(tmp_path: Path) -> str:
    """A file of which everything can be expressed."""
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(4096))
    data = json.loads((SAMPLES / "loopback.json").read_text())
    data["storage_objects"][0] |= {"dev": str(image), "size": 4096}
    path = tmp_path / "saveconfig.json"
    path.write_text(json.dumps(data))
    return str(path)


def run(capsys: Capture, *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    code = main(["import", "lio", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_configuration_and_account(capsys: Capture, complete: str) -> None:
    code, out, err = run(capsys, complete)
    assert code == 0
    config = loads(out)
    assert [device.name for device in config.devices] == ["data", "disk1"]
    assert "differs: " in err
    assert "0 cannot be expressed" in err
    assert "a hint to initiators" in err


def test_what_cannot_be_expressed_is_4(capsys: Capture) -> None:
    code, out, err = run(capsys, NOT_ALL)
    assert code == 4
    assert loads(out).devices
    assert "cannot be expressed: storage_objects[0]: scst has no RAM disk that keeps data" in err


@pytest.mark.parametrize("way", ["", "--json"])
def test_a_signal_when_it_is_written(
    way: str, complete: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """It is not said then that nothing has changed; whether it is heard or not, the exit code is of that."""
    monkeypatch.setattr(save, "sync_folder", lambda path: os.kill(os.getpid(), signal.SIGTERM))
    output = tmp_path / "scst.json"
    assert main([*way.split(), "import", "lio", complete, "-o", str(output)]) == 0
    assert loads(output.read_text()).devices
    assert "nothing changed" not in "".join(capsys.readouterr())


def test_a_name_that_no_file_has(capsys: Capture) -> None:
    code, _, err = run(capsys, "a\0b")
    assert (code, err) == (2, "scstadmin: 'a\\x00b': cannot be read: embedded null byte\n")


def test_every_item_with_verbose(capsys: Capture, complete: str) -> None:
    code, _, err = run(capsys, complete, "-v")
    assert code == 0
    lines = err.splitlines()
    assert "storage_objects[0].wwn -> devices.fileio.disk1.id.serial, devices.fileio.disk1.id.naa" in lines
    assert any(line.startswith("storage_objects[1].exclusive needs nothing") for line in lines)
    assert len(lines) > 80


def test_the_same_is_said_once(capsys: Capture) -> None:
    _, _, err = run(capsys, str(SAMPLES / "iscsi-chap.json"), "--as-local")
    (line,) = [line for line in err.splitlines() if "cannot ask initiators to authenticate" in line]
    assert line.startswith("cannot be expressed: targets[0].tpgs[0].chap_password, ")
    assert "and 3 more: " in line


def test_json_is_one_document(capsys: Capture, tmp_path: Path) -> None:
    out_file = tmp_path / "out.json"
    code, out, err = run(capsys, NOT_ALL, "--json", "-o", str(out_file))
    data = json.loads(out)
    assert (code, err) == (4, "")
    assert (data["exit_code"], data["source"], data["file"]) == (4, NOT_ALL, str(out_file))
    assert loads(json.dumps(data["config"])) == loads(out_file.read_text())
    assert sum(data["count"].values()) == len(data["items"])
    assert {item["verdict"] for item in data["items"]} == {"mapped", "same", "differs", "lost"}
    assert data["items"][0].keys() == {"item", "verdict", "to", "text"}


def test_output_file(capsys: Capture, complete: str, tmp_path: Path) -> None:
    path = tmp_path / "scst.json"
    path.write_text('{"version": 1}')
    path.chmod(0o640)
    code, out, err = run(capsys, complete, "-o", str(path))
    assert (code, out) == (0, "")
    assert loads(path.read_text()).devices
    assert path.stat().st_mode & 0o777 == 0o640
    assert Path(f"{path}.1").read_text() == '{"version": 1}'
    assert f"scstadmin plan {path}" in err
    assert not any(word in err for word in ("apply ", "clear", "restore"))


def test_something_else_is_not_overwritten(capsys: Capture, complete: str, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("{}")
    code, _, err = run(capsys, complete, "-o", str(path))
    assert code == 1
    assert "something else than a configuration; give another file" in err
    assert path.read_text() == "{}"


def test_standard_input(capsys: Capture, complete: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(capsys, complete)[1]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path(complete).read_bytes())))
    assert run(capsys, "-")[:2] == (0, expected)


def test_the_running_one(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    data = json.loads((SAMPLES / "running.json").read_text())
    monkeypatch.setattr(lio_kernel, "running", lambda: Document(lio_kernel.SOURCE, data))
    code, out, _ = run(capsys)
    assert code == 4
    hosts = Target("local", "t", hosts=("naa.5001405d2f9f3aff",)).hosts
    assert [target.hosts for target in loads(out).targets] == [hosts]


BAD: list[tuple[bytes, str]] = [
    (b"", "not JSON"),
    (b"null", "must be an object, not null"),
    (b"[]", "must be an object, not a list"),
    (b'{"version": 1, "devices": {}}', "is no saveconfig.json"),
    (b'{"targets": [}', "not JSON"),
    (b'{"targets": [], "targets": []}', 'duplicate key "targets"'),
    (b'{"storage_objects": [{"name": "\xff"}]}', "not UTF-8"),
    (b'{"storage_objects": [{"plugin": "block", "name": "d"}]}', 'storage_objects[0]: "dev" is missing'),
    (b'{"targets": [NaN]}', "NaN"),
    (b'{"targets": ' + b"[" * 100_000, "nested too deeply"),
]


@pytest.mark.parametrize(("content", "message"), BAD)
def test_no_saveconfig_is_2(capsys: Capture, tmp_path: Path, content: bytes, message: str) -> None:
    path, out_file = tmp_path / "bad.json", tmp_path / "out.json"
    path.write_bytes(content)
    code, out, err = run(capsys, str(path), "-o", str(out_file))
    assert (code, out) == (2, "")
    assert message in err
    assert str(path) in err
    assert not out_file.exists()


def test_large_files(capsys: Capture, complete: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LIO's files are longer than ours; what is longer than any is refused without being read whole."""
    path = tmp_path / "large.json"
    path.write_text(Path(complete).read_text() + " " * (9 << 20))
    assert run(capsys, str(path))[0] == 0
    monkeypatch.setattr(load, "FILE_MAX", 1 << 20)
    code, _, err = run(capsys, "/dev/zero")
    assert (code, "larger than 1 MiB" in err) == (2, True)


def test_no_file_is_2(capsys: Capture, tmp_path: Path) -> None:
    assert run(capsys, str(tmp_path / "missing"))[0] == 2
    assert run(capsys, str(tmp_path))[0] == 2


def test_options_stand_anywhere(capsys: Capture, complete: str, tmp_path: Path) -> None:
    for number, words in enumerate((["-o", "FILE", complete], [complete, "-o", "FILE"])):
        path = tmp_path / str(number)
        assert run(capsys, *(word.replace("FILE", str(path)) for word in words))[0] == 0
        assert path.exists()


@pytest.mark.parametrize("words", [[""], ["-o", "", NOT_ALL]])
def test_empty_names_are_wrong_usage(capsys: Capture, words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(capsys, *words)
    assert caught.value.code == 2
    assert "must not be empty" in capsys.readouterr().err


def test_other_stacks_are_wrong_usage(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["import", "windows"])
    assert caught.value.code == 2


def test_nothing_replaces_nothing(capsys: Capture, tmp_path: Path) -> None:
    """A LIO of which nothing is left does not make an empty configuration of a good one."""
    path = tmp_path / "scst.json"
    path.write_text("good")
    code, _, err = run(capsys, str(SAMPLES / "empty.json"), "-o", str(path))
    assert (code, path.read_text()) == (1, "good")
    assert "nothing in it that could be imported" in err


def test_result_is_served(capsys: Capture, complete: str, tmp_path: Path) -> None:
    """What was imported is applied as it is, and is complete: nothing is left to do then."""
    path, sim = tmp_path / "scst.json", str(tmp_path / "sim")
    assert run(capsys, complete, "-o", str(path))[0] == 0
    data: dict[str, Any] = json.loads(path.read_text())
    del data["devices"]["blockio"], data["targets"]["local"]["naa.5001405d2f9f3a01"]["luns"]["1"]
    path.write_text(json.dumps(data))
    assert main(["--sim", sim, "apply", str(path)]) == 0
    capsys.readouterr()
    assert main(["--sim", sim, "plan", str(path)]) == 0
    assert "nothing to do" in capsys.readouterr().out
