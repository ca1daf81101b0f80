# SPDX-License-Identifier: GPL-2.0-or-later
"""The library of the shell, imported so that nothing of it is noticed elsewhere."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ConfigNode", "ConfigShell", "undisturbed"]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep what the library does to the whole program from staying."""
    ctrl_c = signal.getsignal(signal.SIGINT)
    with warnings.catch_warnings():
        # Its grammar, which is not used here, is built with functions that pyparsing 3.3 calls deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, ctrl_c)  # importing it has set its own


with undisturbed():
    from configshell import ConfigNode, ConfigShell
