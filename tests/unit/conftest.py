# SPDX-License-Identifier: GPL-2.0-or-later
"""Settings of the unit tests."""

from hypothesis import settings

from tests.nothing_left import nothing_left

__all__ = ("nothing_left",)

# An example may take as long as a busy machine makes it take: time is no property of what is tested here.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")
