# SPDX-License-Identifier: GPL-2.0-or-later
"""Shares of the tests: all of them together are all tests."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.debug import __main__ as debug
from tests.vm.guest.share import LEAKS, WHOLE, Share

FILES = st.lists(st.sampled_from(["test_a.py", "test_b.py", "test_c.py", "test_of_a_long_name.py"]))


@given(FILES, st.integers(1, 9))
def test_each_test_is_in_one_share(files: list[str], of: int) -> None:
    taken = [Share(number, of).taken(files) for number in range(1, of + 1)]
    assert all(sum(each) == 1 for each in zip(*taken, strict=True))


@given(FILES, st.integers(1, 9), st.data())
def test_shares_of_a_file_are_alike(files: list[str], of: int, data: st.DataObject) -> None:
    share = Share(data.draw(st.integers(1, of)), of)
    taken = Counter(file for file, yes in zip(files, share.taken(files), strict=True) if yes)
    for file, count in Counter(files).items():
        assert count // of <= taken[file] <= -(-count // of)


def test_leaks_are_always_looked_for() -> None:
    assert Share(1, 9).taken([LEAKS]) == Share(2, 9).taken([LEAKS]) == [True]


def test_the_whole() -> None:
    assert all(WHOLE.taken(["a", "a", "b"]))


@pytest.mark.parametrize("text", ["", "2", "0/5", "6/5", "1/0", "a/b", "1/5/5", "-1/5"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a share is NUMBER/OF"):
        Share.parse(text)


@pytest.mark.parametrize("share", [Share(2, 5), WHOLE])
def test_faults_are_never_shared(share: Share) -> None:
    """What the debug kernel is there for is tried each time, and the search for leaks ends each machine."""
    parts = {part.name: part.command for part in debug.parts("kasan", share)}
    assert not any("SCST_SHARE" in word for word in parts["faults"])
    for name in ("guest-1", "guest-2"):
        assert f"--env=SCST_SHARE={share}" in parts[name]
        assert parts[name][-1].endswith(debug.LAST)
