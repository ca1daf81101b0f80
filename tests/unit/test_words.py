# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands as words: understood to the end, or refused."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyscstadmin.cli.words import Line, LineError, named, of_argv, of_words, parse, quote, split, unfinished
from pyscstadmin.config.names import parse_size

PRINTABLE = st.text(st.characters(exclude_categories=("Cc", "Cs")))


Said = tuple[str, str, tuple[str, ...], dict[str, str]]


def nowhere(word: str) -> bool:
    return False


def is_flag(name: str) -> bool:
    return name == "read_only"


def said_by(line: Line) -> Said:
    values, found = named(line.arguments, is_flag)
    return line.path, line.command, tuple(values), found


def line_of(path: str = "", command: str = "", values: tuple[str, ...] = (), /, **found: str) -> Said:
    return path, command, values, found


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", line_of()),
        ("   # only a comment", line_of()),
        ("ls", line_of("", "ls")),
        ("ls depth=2", line_of("", "ls", (), depth="2")),
        ("/devices/fileio create d /a", line_of("/devices/fileio", "create", ("d", "/a"))),
        ("..", line_of("..")),
        ("groups/ create g iqn.*", line_of("groups/", "create", ("g", "iqn.*"))),
        ("groups/a*/ ls", line_of("groups/a*/", "ls")),
        ("create '/srv/a b.img' ro=yes", line_of("", "create", ("/srv/a b.img",), ro="yes")),
        ('create d path="/srv/a b"c', line_of("", "create", ("d",), path="/srv/a bc")),
        ("create d /srv/é|x{1} ro=yes", line_of("", "create", ("d", "/srv/é|x{1}"), ro="yes")),
        ("create d '' x=", line_of("", "create", ("d", ""), x="")),
        ("create 'a=b' /c=d", line_of("", "create", ("a=b", "/c=d"))),
        (r"create a\ b\\ # comment", line_of("", "create", ("a b\\",))),
        ("map a#b", line_of("", "map", ("a#b",))),
    ],
)
def test_lines(line: str, said: Said) -> None:
    assert said_by(parse(line, nowhere)) == said


def test_first_word_may_be_a_place_below() -> None:
    line = parse("groups create g", {"groups"}.__contains__)
    assert said_by(line) == line_of("groups", "create", ("g",))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["map", "da", "lun=5"], line_of("", "map", ("da",), lun="5")),
        (["map", "da", "--lun=5"], line_of("", "map", ("da",), lun="5")),
        (["map", "--lun", "5", "da"], line_of("", "map", ("da",), lun="5")),
        (["map", "--read-only", "da"], line_of("", "map", ("da",), read_only="yes")),
        (["map", "da", "--read-only=no"], line_of("", "map", ("da",), read_only="no")),
        (["/t", "add", "--", "a=b", "--x", "--"], line_of("/t", "add", ("a=b", "--x", "--"))),
        (["save", "-"], line_of("", "save", ("-",))),
        (["create", "a b", "path=/a b=c"], line_of("", "create", ("a b",), path="/a b=c")),
        (["create", "--Xy", "-5", "---"], line_of("", "create", ("--Xy", "-5", "---"))),
    ],
)
def test_words_of_the_command_line(words: list[str], said: Said) -> None:
    assert said_by(of_words(of_argv(words), nowhere)) == said
    # The same words in a line of the shell.
    line = " ".join(
        word if word == "--" or "=" in word or word[:2] == "--" else quote(word) for word in words
    )
    if " b=c" not in line:
        assert said_by(parse(line, nowhere)) == said


@pytest.mark.parametrize(
    "words", [["map", "--lun"], ["map", "--lun", "group=x"], ["map", "lun=1", "--lun=2"]]
)
def test_options_without_value_or_twice(words: list[str]) -> None:
    with pytest.raises(LineError):
        said_by(of_words(of_argv(words), nowhere))


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
        said_by(parse(line, nowhere))
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
    text = "".join(word.typed for word in words)
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
    assert [word.typed for word in split(line)] == expected


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
