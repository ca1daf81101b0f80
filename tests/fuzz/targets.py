# SPDX-License-Identifier: GPL-2.0-or-later
"""The targets of libFuzzer, and how they are built: with clang for libFuzzer, with gcc to run inputs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["SANITIZERS", "TARGETS", "Target"]

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
PURE = (REPO / "tests/unit/kernel",)
# With as much of the kernel as a connection of iSCSI touches.
CONNECTION = (HERE / "kernel", *PURE)
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1")
WARNINGS = ("-Wall", "-Wextra", "-Wshadow", "-Wno-unused-parameter", "-Wno-sign-compare", "-Werror")


@dataclass(frozen=True, slots=True)
class Target:
    """A driver (a C file here), the files of kmod/*folder* it drives, and what they see of the kernel."""

    name: str
    files: tuple[str, ...]
    folder: str = "core"
    kernel: tuple[Path, ...] = PURE

    @property
    def corpus(self) -> Path:
        """Inputs that are kept: a file each."""
        return HERE / "corpus" / self.name

    def inputs(self) -> list[bytes]:
        """Those inputs."""
        return [path.read_bytes() for path in sorted(self.corpus.iterdir())]

    def _compile(self, command: Sequence[str], sources: Sequence[str], program: Path) -> Path:
        files = [
            str(HERE / f"{self.name}.c"),
            *sources,
            *(f"{REPO}/kmod/{self.folder}/{name}.c" for name in self.files),
        ]
        places = (*self.kernel, REPO / "kmod/include", REPO / "kmod" / self.folder)
        includes = [f"-I{place}" for place in places]
        subprocess.run([*command, *WARNINGS, *includes, *files, "-o", str(program)], check=True)
        return program

    def build_fuzzer(self, compiler: str, program: Path) -> Path:
        """A program of libFuzzer."""
        return self._compile([compiler, *SANITIZERS, "-fsanitize=fuzzer"], [], program)

    def build_replay(self, program: Path) -> Path:
        """A program that reads inputs from stdin, each behind its length (4 bytes, little-endian)."""
        return self._compile(["gcc", *SANITIZERS], [str(HERE / "stdin.c")], program)


TARGETS = (
    Target(
        "reservations",
        ("pr-state", "pr-parse", "pr-report", "pr-access", "pr-record", "transport-id", "spelling"),
    ),
    Target("unmap", ("unmap",)),
    Target("alua", ("alua-state",)),
    Target("mode", ("mode-pages",)),
    Target("copy", ("copy-parse",)),
    Target("tokens", ("copy-token-parse", "copy-parse")),
    Target("names", ("acl", "spelling")),
    Target("iscsi_pdu", ("pdu",), "targets/iscsi"),
    Target("iscsi_conn", ("pdu", "rx", "cmd", "task", "req", "tx"), "targets/iscsi", CONNECTION),
)
