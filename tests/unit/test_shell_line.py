# SPDX-License-Identifier: GPL-2.0-or-later
"""Command lines of the shell: understood to the end, or refused."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyscstadmin.config.names import parse_size
from pyscstadmin.shell.line import Line, LineError, parse, quote, split, to_bool, unfinished

PRINTABLE = st.text(st.characters(exclude_categories=("Cc", "Cs")))


def nowhere(word: str) -> bool:
    return False


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", Line()),
        ("   # only a comment", Line()),
        ("ls", Line("", "ls")),
        ("ls depth=2", Line("", "ls", (), {"depth": "2"})),
        ("/devices/fileio create d /a", Line("/devices/fileio", "create", ("d", "/a"))),
        ("..", Line("..")),
        ("groups/ create g iqn.*", Line("groups/", "create", ("g", "iqn.*"))),
        ("groups/a*/ ls", Line("groups/a*/", "ls")),
        ("create '/srv/a b.img' ro=yes", Line("", "create", ("/srv/a b.img",), {"ro": "yes"})),
        ('create d path="/srv/a b"c', Line("", "create", ("d",), {"path": "/srv/a bc"})),
        ("create d /srv/é|x{1} ro=yes", Line("", "create", ("d", "/srv/é|x{1}"), {"ro": "yes"})),
        ("create d '' x=", Line("", "create", ("d", ""), {"x": ""})),
        ("create 'a=b' /c=d", Line("", "create", ("a=b", "/c=d"))),
        (r"create a\ b\\ # comment", Line("", "create", ("a b\\",))),
        ("map a#b", Line("", "map", ("a#b",))),
    ],
)
def test_lines(line: str, said: Line) -> None:
    assert parse(line, nowhere) == said


def test_first_word_may_be_a_place_below() -> None:
    assert parse("groups create g", {"groups"}.__contains__) == Line("groups", "create", ("g",))


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ('create d "/srv/a', 10),
        ("create d 'x", 10),
        ("create d x\\", 11),
        ("create d a=1 b=2 a=3", 18),
        ("ls\x00", 3),
        ("ls a\x1b[1m", 5),
        ("depth=2 ls", 1),
        ("'' x", 1),
        ("ls 'a\rb'", 6),
    ],
)
def test_refused_lines_say_where(line: str, column: int) -> None:
    with pytest.raises(LineError) as caught:
        parse(line, nowhere)
    assert caught.value.column == column


@given(st.lists(PRINTABLE, min_size=1))
def test_quoted_words_come_back(values: list[str]) -> None:
    words = split(" ".join(quote(value) for value in values))
    assert [(word.value, word.name) for word in words] == [(value, "") for value in values]


@given(PRINTABLE)
def test_named_value_comes_back(value: str) -> None:
    (word,) = split(f"path={quote(value)}")
    assert (word.name, word.value) == ("path", value)


@given(st.text())
def test_nothing_is_cut_off(line: str) -> None:
    """Another reader of the same rules of quoting finds the same words, or the line is refused."""
    try:
        words = split(line)
    except LineError:
        return
    text = "".join(f"{word.name}={word.value}" if word.name else word.value for word in words)
    kept = [sign for sign in text if sign not in " \t"]
    given_ = [sign for sign in line if sign not in " \t'\"\\"]
    if "#" not in line:
        assert [sign for sign in kept if sign not in "'\"\\"] == given_


@given(st.text(st.sampled_from("ab= \\'\"")))
def test_words_are_those_of_the_posix_shell(line: str) -> None:
    """Within what both understand: the rules are the usual ones, so that no quoting has to be learnt."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="")
    lexer.whitespace_split, lexer.commenters, lexer.escapedquotes = True, "", ""
    lexer.escape = ""
    if "\\" in line:
        return
    try:
        expected = list(lexer)
    except ValueError:
        with pytest.raises(LineError):
            split(line)
        return
    assert [f"{w.name}={w.value}" if w.name else w.value for w in split(line)] == expected


@given(st.text())
def test_unfinished_lines_never_fail(line: str) -> None:
    if any((ord(sign) < 32 and sign != "\t") or ord(sign) == 127 for sign in line):
        return
    words, current, _ = unfinished(line)
    assert current.start <= len(line)
    assert all(word.start < current.start for word in words)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("1K", 1024),
        ("3MiB", 3 << 20),
        ("2g", 2 << 30),
        ("1.5G", 3 << 29),
        ("512B", 512),
        ("1TiB", 1 << 40),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1.5", "2GB", "1MB", "0.3K", "G", "1 G", "0x10", "1GG", "\u0661"])
def test_wrong_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="number of bytes"):
        parse_size(text)


def test_booleans() -> None:
    assert [to_bool(word) for word in ("yes", "Y", "true", "on", "1")] == [True] * 5
    assert [to_bool(word) for word in ("no", "n", "FALSE", "off", "0")] == [False] * 5
    with pytest.raises(ValueError, match="not yes or no"):
        to_bool("")
