# SPDX-License-Identifier: GPL-2.0-or-later
"""Structures written from a module's own description lie where its compiler has put them.

gcc makes the description (``-gbtf``) of structures invented at random, and compiles what is made of it.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HERE = Path(__file__).resolve().parents[2] / "kmod/targets/qla2xxx"
PRELUDE = """#include <stddef.h>
#include <stdint.h>
#include <assert.h>
typedef uint8_t u8;
#define sizeof_field(type, member) sizeof(((type *)0)->member)
"""
KINDS = ("scalar", "array", "bits", "bits", "bits", "inner")
WIDTHS = (1, 1, 1, 2, 5, 8, 17, 32)
SCALARS = ("char", "unsigned short", "int", "unsigned long", "void *", "int (*{})(struct s *, long)")


@pytest.fixture(scope="module")
def scripts() -> Iterator[tuple[ModuleType, ModuleType]]:
    """btf.py and layout.py, as they are run."""
    sys.path.insert(0, str(HERE))
    try:
        loaded = []
        for name in ("btf", "layout"):
            spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
            loaded.append(module)
        yield loaded[0], loaded[1]
    finally:
        sys.path.remove(str(HERE))
        for name in ("btf", "layout"):
            sys.modules.pop(name, None)


def gcc(source: str, folder: Path, *words: str) -> Path:
    """Compile; the object file."""
    (folder / "x.c").write_text(source)
    target = folder / "x.o"
    done = subprocess.run(
        ["gcc", "-c", *(words or ("-w",)), "-o", str(target), str(folder / "x.c")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + source
    return target


@st.composite
def structures(draw: st.DrawFn, depth: int = 0) -> tuple[str, list[str]]:
    """The inside of a structure in C, and the paths of its members."""
    lines, paths = [], []
    for number in range(draw(st.integers(1, 6))):
        name = f"m{depth}{number}"
        kind = draw(
            st.sampled_from(("scalar", "array", "bits", "bits", "inner") if depth < 2 else ("scalar",))
        )
        scalar = draw(st.sampled_from(SCALARS))
        if kind == "bits":
            lines.append(f"unsigned int {name} : {draw(st.sampled_from(WIDTHS))};")
        elif kind == "inner":
            body, below = draw(structures(depth + 1))
            lines.append(f"{draw(st.sampled_from(('struct', 'union')))} {{ {body} }} {name};")
            paths += [f"{name}.{path}" for path in below]
        elif "{}" in scalar:
            lines.append(f"{scalar.format(name)};")
        else:
            lines.append(f"{scalar} {name}{'[3]' if kind == 'array' else ''};")
        if kind != "inner":
            paths.append(name)
    return " ".join(lines), paths


def made(scripts: tuple[ModuleType, ModuleType], folder: Path, body: str, paths: Sequence[str]) -> str:
    """What layout.py writes of ``struct s``."""
    btf, layout = scripts
    object_file = gcc(f"{PRELUDE}struct s {{ {body} }}; struct s it;", folder, "-gbtf")
    raw = btf.section(object_file.read_bytes(), ".BTF")
    return "\n".join(layout.Writer(btf.Btf(raw)).structure("s", paths))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_members_lie_where_they_did(
    data: st.DataObject, scripts: tuple[ModuleType, ModuleType], tmp_path: Path
) -> None:
    """Offsets and sizes are asserted by what is written; bit fields are tried."""
    body, paths = data.draw(structures())
    wanted = data.draw(st.lists(st.sampled_from(paths), min_size=1, unique=True))
    text = made(scripts, tmp_path, body, wanted)
    gcc(PRELUDE + text, tmp_path)
    bits = [path for path in wanted if "." not in path and f"int {path} :" in body]
    for path in bits:
        images = []
        for source in (f"struct s {{ {body} }};", text):
            whole = f"{PRELUDE}{source}\nstruct s it = {{ .{path} = -1 }};"
            images.append(
                scripts[0].section(gcc(whole, tmp_path, "-fno-zero-initialized-in-bss").read_bytes(), ".data")
            )
        assert images[0] == images[1], path


def test_member_that_is_gone(scripts: tuple[ModuleType, ModuleType], tmp_path: Path) -> None:
    """It is missed by name; one that some kernels do not have is left out, and one that is there is said."""
    with pytest.raises(scripts[0].BtfError, match="s has no b"):
        made(scripts, tmp_path, "int a;", ["a", "b"])
    assert "QLA_HAS" not in made(scripts, tmp_path, "int a;", ["a", "b?"])
    assert "#define QLA_HAS_s_a\t1" in made(scripts, tmp_path, "int a;", ["a?"])


def test_member_of_another_type(scripts: tuple[ModuleType, ModuleType], tmp_path: Path) -> None:
    """The compiler sees what it is now."""
    text = made(scripts, tmp_path, "long a; const char *b;", ["b"])
    assert "const char *b;" in text
    source = PRELUDE + text + "\nint f(struct s *s, char **c) { *c = s->b; return 0; }"
    with pytest.raises(AssertionError, match="discards"):
        gcc(source, tmp_path, "-Wdiscarded-qualifiers", "-Werror")


def test_no_description(scripts: tuple[ModuleType, ModuleType], tmp_path: Path) -> None:
    """A module or kernel without one, and a file that is neither, are told by name."""
    btf = scripts[0]
    plain = gcc("int x;", tmp_path)
    with pytest.raises(btf.BtfError, match="CONFIG_DEBUG_INFO_BTF"):
        btf.of_kernel(plain)
    (tmp_path / "junk").write_bytes(b"junk" * 100)
    with pytest.raises(btf.BtfError, match="no kernel in it"):
        btf.of_kernel(tmp_path / "junk")
    with pytest.raises(btf.BtfError, match="no ELF"):
        btf.section(b"junk" * 100, ".BTF")


def test_usage(scripts: tuple[ModuleType, ModuleType], capsys: pytest.CaptureFixture[str]) -> None:
    layout = scripts[1]
    assert layout.main([]) == 2
    assert layout.main(["/nonexistent/vmlinux", "/nonexistent/qla2xxx.ko"]) == 1
    assert "/nonexistent/" in capsys.readouterr().err
    assert layout.main(["--find", "0.0.0-none", "/nonexistent"]) == 1
    assert "scst_qla2xxx is not built" in capsys.readouterr().err
