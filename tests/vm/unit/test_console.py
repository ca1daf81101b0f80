# SPDX-License-Identifier: GPL-2.0-or-later
"""What is shown of the console of a machine that ended by itself."""

from pathlib import Path

from tests.vm import machine


def written(out: Path, *lines: str) -> str:
    """What is shown of a console with these lines."""
    text = "".join(f"[   41.{number:06}] {line}\n" for number, line in enumerate(lines))
    (out / "console.log").write_text(text)
    return machine.console(out, 1000)


def test_beginning_of_the_trouble_is_shown(tmp_path: Path) -> None:
    """However much the kernel says after it."""
    shown = written(tmp_path, "booting", "kernel BUG at a.c:45!", *["? vfs_read+0x1/0x2"] * 1000)
    assert shown.splitlines()[:2] == ["[   41.000001] kernel BUG at a.c:45!", "..."]
    assert len(shown) < 1100


def test_what_the_last_part_holds_is_shown_once(tmp_path: Path) -> None:
    shown = written(tmp_path, *["booting"] * 100, "kernel BUG at a.c:45!", "Kernel panic - not syncing")
    assert shown.count("kernel BUG") == 1
    assert "..." not in shown


def test_a_line_at_the_cut_is_whole(tmp_path: Path) -> None:
    for words in range(20, 40):
        shown = written(tmp_path, "kernel BUG at a.c:45!", "x" * (1000 - words))
        assert "kernel BUG at a.c:45!" in shown


def test_nothing_written_yet(tmp_path: Path) -> None:
    assert machine.console(tmp_path) == ""
