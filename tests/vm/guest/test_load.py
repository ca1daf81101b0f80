# SPDX-License-Identifier: GPL-2.0-or-later
"""The modules load and unload, again and again."""

from __future__ import annotations

from tests.vm import guest_plugin
from tests.vm.guest.long import often


def test_all_modules_are_loaded() -> None:
    assert sorted(guest_plugin.loaded_modules()) == guest_plugin.product_modules() != []


def test_unload_and_load_again() -> None:
    for _ in range(often(2, 10)):
        assert guest_plugin.left_behind() == []
        for name in guest_plugin.product_modules():
            guest_plugin.command("modprobe", name)
