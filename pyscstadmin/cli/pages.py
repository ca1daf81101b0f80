# SPDX-License-Identifier: GPL-2.0-or-later
"""Pages about settings, files and verbs, and completion for shells of the system: all made from the tables.

    python -m pyscstadmin.cli.pages settings > docs/settings.md
    python -m pyscstadmin.cli.pages verbs > docs/verbs.md
    python -m pyscstadmin.cli.pages install DIR [DATE]     man pages and completion, below DIR/share

A test compares docs/. The last one needs argparse-manpage and shtab, which nothing else does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping

from pyscstadmin import __version__
from pyscstadmin.cli.parser import parser
from pyscstadmin.cli.table import VERBS
from pyscstadmin.cli.verbs import Form, usage
from pyscstadmin.config.faultpoints import FAULT, FAULT_STATES
from pyscstadmin.config.settings import (
    DEVICE,
    DEVICE_GROUP,
    DEVICE_STATES,
    DRIVERS,
    GROUP,
    GROUP_ID,
    HANDLERS,
    HOST_STATES,
    IDENTITY,
    ISCSI,
    ISCSI_STATES,
    ISCSI_USER,
    LUN,
    LUN_STATES,
    PORT_GROUP,
    PORT_STATE,
    PORTAL,
    PORTAL_STATES,
    REL_TGT_ID,
    ROOT,
    ROOT_STATES,
    TARGET,
    TARGET_STATES,
    Rows,
    Setting,
    State,
)

__all__ = ["command_page", "completion", "file_page", "install", "settings_page", "verbs_page"]

_EXAMPLE = """{
  "version": 1,
  "devices": {
    "fileio": { "da": { "path": "/srv/scst/da.img" } }
  },
  "targets": {
    "local": {
      "t1": {
        "hosts": ["iqn.2026-11.com.example:a"],
        "groups": {
          "a": {
            "initiators": ["iqn.2026-11.com.example:a"],
            "luns": { "0": { "device": "da", "read_only": true } }
          }
        }
      }
    }
  }
}"""


_SETTINGS = """# Settings

Made from the table of settings: `python -m pyscstadmin.cli.pages settings`. The names are the same in files,
in configfs, in commands and in Python. `scstadmin get` shows what they are now.

*When*: *live* can be changed while the object serves, without anybody noticing more than the change; *off*
means that the object is off for a moment, which `scstadmin` does by itself, and `plan` says. Numbers of bytes
may have K, M, G, T or P after them in commands (powers of 1024).
"""

_VERBS = """# Verbs

Made from the table of verbs: `python -m pyscstadmin.cli.pages verbs`. `scstadmin help VERB` says the same.

The words are the same on the command line (`scstadmin WORDS`), in the shell, and in scripts. `name=VALUE`,
`--name=VALUE` and `--name VALUE` are the same; `--name` alone is `name=yes`. At a place, what it says is left
out: `/targets/local/t1 create group g`.
"""

_FILES = """A JSON document, which scstadmin save writes and scstadmin apply and restore read. Reading is
strict: unknown keys, duplicates and wrong types are errors. What is left out has its default; vendor,
product, revision, serial, naa, rel_tgt_id, and group_id and state of target port groups stay as they are.
What the file does not have is removed. The default file is /etc/scst/scst.json."""

_PLACES = """Commands may be written at a place of the tree, as in scstadmin /targets/local/t1 create group g.
NAME=VALUE is the same as --NAME VALUE. Scripts have one command a line; # begins a comment."""


# What there is to set.


def _tables() -> Iterator[tuple[str, str, Rows, Iterable[State]]]:
    """(heading, where in the file, settings, states)."""
    yield "The whole", "beside `version`", ROOT, ROOT_STATES
    yield "Every device", "`devices.HANDLER.NAME`", DEVICE, DEVICE_STATES
    for name, handler in HANDLERS.items():
        yield f"Devices of {name}", f"`devices.{name}.NAME`", handler.settings, ()
    yield "Identity of a device", "`devices.HANDLER.NAME.id`", IDENTITY, ()
    target = {**TARGET, REL_TGT_ID.name: REL_TGT_ID}
    yield "Every target", "`targets.DRIVER.NAME`", target, TARGET_STATES
    for name, driver in DRIVERS.items():
        yield f"Targets of {name}", f"`targets.{name}.NAME`", driver.settings, ()
    yield "Groups", "`targets.DRIVER.NAME.groups.GROUP`", GROUP, ()
    yield "LUNs", "`...luns.NUMBER`, beside `device`", LUN, LUN_STATES
    yield "Hosts", "not in files", {}, HOST_STATES
    ports = {GROUP_ID.name: GROUP_ID, PORT_STATE.name: PORT_STATE, **PORT_GROUP}
    yield "Device groups (ALUA)", "`alua.GROUP`, beside `devices`", DEVICE_GROUP, ()
    where = "`alua.GROUP.target_port_groups.NAME`, beside `targets` and `remote_ports`"
    yield "Target port groups", where, ports, ()
    yield "iSCSI", "`iscsi`, beside `portals` and `users`", ISCSI, ISCSI_STATES
    yield "iSCSI portals", "`iscsi.portals.NAME`", PORTAL, PORTAL_STATES
    users = "`targets.iscsi.NAME.users.USER`, and `iscsi.users.USER` for discovery"
    yield "iSCSI users", users, ISCSI_USER, ()
    yield "Faults that are injected on purpose", "not in files", FAULT, FAULT_STATES


def settings_page() -> str:
    """docs/settings.md."""
    lines = _SETTINGS.splitlines()
    for heading, where, rows, states in _tables():
        lines += ["", f"## {heading}", "", f"In files: {where}.", ""]
        if rows:
            lines += ["| setting | values | default | when | what it is |", "|---|---|---|---|---|"]
            lines += [_row(row) for row in rows.values()]
        own = [state for state in states if state.name not in rows]
        if own:
            lines += ["", "Shown, and not set:", "", "| state | what it is |", "|---|---|"]
            lines += [f"| `{state.name}` | {_cell(state.help)} |" for state in own]
    return "\n".join(lines) + "\n"


def _row(row: Setting) -> str:
    when = "live" if row.live else "off"
    return f"| `{row.name}` | {_cell(row.type.words)} | {_default(row)} | {when} | {_cell(row.help)} |"


def _default(row: Setting) -> str:
    if row.required:
        return "must be set"
    if row.default == "" or row.type.refuse(row.default):
        return "none"
    return f"`{row.type.to_text(row.default)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# What can be done.


def verbs_page() -> str:
    """docs/verbs.md."""
    lines = _VERBS.splitlines()
    for verb, found in VERBS.items():
        lines += ["", f"## {verb}"]
        for form in found:
            lines += ["", f"    {usage(form)}", "", *_about(form)]
    return "\n".join(lines) + "\n"


def _about(form: Form) -> Iterator[str]:
    yield form.help + (f" {' '.join(form.more.split())}" if form.more else "")
    if form.shell:
        yield "In the shell and in scripts only."
    params = list(form.params())
    if params:
        yield ""
    for param in params:
        name = f"`{param.name}=`" if param in form.named else f"`{param.shown}`"
        values = f" ({', '.join(param.choices)})" if param.choices and not param.flag else ""
        yield f"* {name}: {param.help}{values}{'' if param.needed else ' (optional)'}"
    if form.settings:
        yield f"* settings: {', '.join(f'`{name}`' for name in form.settings)}"
    yield ""
    yield f"Example: `scstadmin {form.example}`" if not form.shell else f"Example: `{form.example}`"


# Man pages.


def _roff(text: str) -> str:
    """A text as one line of a man page."""
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "")
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain


def file_page(date: str) -> str:
    """scst.json(5)."""
    lines = [
        f'.TH SCST.JSON 5 "{date}" "scst {__version__}" "File formats"',
        ".SH NAME",
        _roff("scst.json - configuration of the scst SCSI target"),
        ".SH DESCRIPTION",
        _roff(" ".join(_FILES.split())),
        ".SH EXAMPLE",
        ".nf",
        *map(_roff, _EXAMPLE.splitlines()),
        ".fi",
    ]
    for heading, where, rows, _ in _tables():
        if rows:
            lines += [f".SH {_roff(heading.upper())}", _roff(f"In the file: {where}.")]
            for row in rows.values():
                lines += [".TP", f".B {_roff(row.name)}", _roff(_sentence(row))]
    lines += [".SH SEE ALSO", _roff("scstadmin(8); scstadmin schema prints the JSON Schema.")]
    return "\n".join(lines) + "\n"


def _sentence(row: Setting) -> str:
    default = _default(row).strip("`")
    return f"{row.help}. Values: {row.type.words}. " + (
        "It must be set." if row.required else f"Default: {default}."
    )


def command_page(date: str) -> str:
    """scstadmin(8). Needs argparse-manpage."""
    from argparse_manpage.manpage import Manpage

    page = Manpage(parser())
    page.section, page.date, page.manual = "8", date, "System administration"
    page.source, page.description = f"scst {__version__}", "administer the scst SCSI target"
    page.add_section("words", ">", _words())
    page.add_section("files", ">", _roff("/etc/scst/scst.json: see scst.json(5)"))
    return str(page)


def _words() -> str:
    """What the parser does not say: words of the shell and of scripts."""
    forms = [form for found in VERBS.values() for form in found if form.shell]
    lines = [
        _roff(" ".join(_PLACES.split())),
        ".PP",
        _roff("In the shell and in scripts only:"),
    ]
    for form in forms:
        lines += [".TP", f".B {_roff(usage(form))}", _roff(form.help)]
    return "\n".join(lines)


# Completion.


def completion(shell: str) -> str:
    """For bash or zsh. Needs shtab."""
    import shtab

    text: str = shtab.complete(parser(), shell)
    return text


def install(directory: str, date: str) -> Mapping[str, str]:
    """Write man pages and completion below a directory; returns the paths with their texts."""
    found = {
        "share/man/man8/scstadmin.8": command_page(date),
        "share/man/man5/scst.json.5": file_page(date),
        "share/bash-completion/completions/scstadmin": completion("bash"),
        "share/zsh/site-functions/_scstadmin": completion("zsh"),
    }
    for path, text in found.items():
        full = os.path.join(directory, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)
    return found


def main(words: list[str]) -> int:
    """The command above."""
    match words:
        case ["settings"]:
            sys.stdout.write(settings_page())
        case ["verbs"]:
            sys.stdout.write(verbs_page())
        case ["install", directory, *date]:
            install(directory, date[0] if date else "")
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
