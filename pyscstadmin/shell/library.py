# SPDX-License-Identifier: GPL-2.0-or-later
"""The library of the shell, imported so that nothing of it is noticed elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pyscstadmin.kernel.stops import handlers_kept

__all__ = ["ConfigNode", "ConfigShell", "undisturbed"]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep what the library does to the whole program from staying."""
    with warnings.catch_warnings(), handlers_kept():  # importing it takes over control-C
        # Its grammar, which is not used here, is built with functions that pyparsing 3.3 calls deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


with undisturbed():
    from configshell import ConfigNode, ConfigShell
