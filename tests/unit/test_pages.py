# SPDX-License-Identifier: GPL-2.0-or-later
"""Pages, man pages, completion and help: made from the tables, complete, and those in docs/ up to date."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyscstadmin.__main__ import main
from pyscstadmin.cli import pages
from pyscstadmin.cli.help import TOPICS
from pyscstadmin.cli.parser import FACES, options
from pyscstadmin.cli.table import FORMS, VERBS
from pyscstadmin.cli.verbs import Form
from pyscstadmin.config.settings import DRIVERS, GROUP, HANDLERS, IDENTITY, LUN, REL_TGT_ID, ROOT, TARGET

DOCS = Path(__file__).parents[2] / "docs"
DATE = "2026-11-26"
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    assert pages.main(["install", str(folder), DATE]) == 0
    return folder / "share"


def settings() -> Iterator[str]:
    for table in (ROOT, TARGET, GROUP, LUN, IDENTITY):
        yield from table
    yield REL_TGT_ID.name
    for handler in HANDLERS.values():
        yield from handler.settings
    for driver in DRIVERS.values():
        yield from driver.settings


def names(form: Form) -> set[str]:
    return {param.name for param in form.params()} | set(form.settings)


@pytest.mark.parametrize("name", ["settings", "verbs"])
def test_docs_are_up_to_date(name: str, capsys: Capture) -> None:
    """`make docs` renews them."""
    assert pages.main([name]) == 0
    assert (DOCS / f"{name}.md").read_text() == capsys.readouterr().out


def test_pages_are_complete() -> None:
    page = pages.settings_page()
    for name in settings():
        assert f"| `{name}` |" in page, name
    page = pages.verbs_page()
    for form in FORMS:
        assert form.help in page
        assert form.example in page
        assert f"    {form.title}" in page
        assert all(name in page for name in names(form))


def plain(path: Path) -> str:
    """A man page as text, as `man` has it."""
    command = ["groff", "-man", "-Tutf8", "-rLL=300n", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return re.sub("\x1b\\[[0-9;]*m|.\x08", "", done.stdout).replace("\u2010", "-").replace("\u2212", "-")


needs_groff = pytest.mark.skipif(shutil.which("groff") is None, reason="no groff")


@needs_groff
def test_man_page_of_the_command(installed: Path) -> None:
    text = plain(installed / "man/man8/scstadmin.8")
    assert DATE in text
    words = " ".join(text.split())
    for action in options()._actions:
        assert action.option_strings[-1] in words
    for form in FORMS:
        assert (
            (f"scstadmin {form.title}" in words.replace("lists", "list")) or form.shell or form.verb == "list"
        )
        if form.shell:
            assert form.help.replace("`", "") in words
            continue
        for name in names(form):
            assert name in words or name.replace("_", "-") in words, (form.title, name)
    for face in FACES:
        assert f"scstadmin {face}" in words
    assert "--once" in words


@needs_groff
def test_man_page_of_files(installed: Path) -> None:
    text = " ".join(plain(installed / "man/man5/scst.json.5").split())
    for name in settings():
        assert name in text
    assert '"fileio": { "da": { "path": "/srv/scst/da.img" } }' in text


def test_completion_for_bash(installed: Path, tmp_path: Path) -> None:
    """What bash offers at the end of a line."""
    script = installed / "bash-completion/completions/scstadmin"

    def offered(*words: str) -> set[str]:
        text = f"""
            source {script}
            COMP_WORDS=({" ".join(f"'{word}'" for word in ("scstadmin", *words))})
            COMP_CWORD={len(words)}
            $(complete -p scstadmin | sed 's/.*-F \\([^ ]*\\).*/\\1/')
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        done = subprocess.run(["bash", "-c", text], check=True, capture_output=True, text=True, cwd=tmp_path)
        return set(done.stdout.split())

    in_shell = {verb for verb, found in VERBS.items() if all(form.shell for form in found)}
    assert set(VERBS) - in_shell <= offered("")
    assert set(FACES) <= offered("")
    assert offered("creat") == {"create"}
    assert {"device", "target", "group", "lun", "initiator", "host"} <= offered("create", "")
    assert {"--group", "--read-only"} <= offered("map", "da", "--")
    assert {"--json", "--sim"} <= offered("--")
    assert offered("create", "device", "da", "--handler", "") == set(HANDLERS)
    assert "--once" in offered("watch", "--")


def test_completion_for_zsh(installed: Path) -> None:
    text = (installed / "zsh/site-functions/_scstadmin").read_text()
    assert text.startswith("#compdef scstadmin")
    for form in FORMS:
        if not form.shell:
            assert form.verb in text
            assert all(f"--{param.name.replace('_', '-')}" in text for param in form.named)


@pytest.mark.parametrize("words", [[verb] for verb in VERBS] + [[form.verb, form.kind] for form in FORMS])
def test_help_of_every_verb(words: list[str], capsys: Capture) -> None:
    words = [word for word in words if word]
    found = [form for form in FORMS if form.verb == words[0] and form.kind in ("", *words[1:], form.kind)]
    assert main(["help", *words]) == 0
    said = capsys.readouterr().out
    assert main([*words, "--help"]) == 0
    assert capsys.readouterr().out == said
    wanted = [form for form in found if len(words) == 1 or form.kind == words[1]]
    for form in wanted:
        assert form.help in said
        assert form.example in said
        assert all(name in said.lower() for name in names(form))


def test_help_of_the_rest(capsys: Capture) -> None:
    assert main(["--help"]) == main(["help"]) == 0
    assert "First steps" in capsys.readouterr().out
    for topic in TOPICS:
        assert main(["help", topic]) == 0
    for face, option in (("watch", "--once"), ("shell", "-c LINE"), ("import", "lio")):
        assert main(["help", face]) == 0
        assert option in capsys.readouterr().out
        with pytest.raises(SystemExit) as ended:
            main([face, "--help"])
        assert ended.value.code == 0
        assert option in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["import", "lio", "--help"])
    assert "--as-local" in capsys.readouterr().out
    assert main(["/targets/local/t1", "create", "--help"]) == 0
    said = capsys.readouterr().out
    assert "create group GROUP [INITIATOR ...] [SETTING=VALUE ...]\n" in said
    with pytest.raises(SystemExit):
        main(["help", "creat"])
    assert "did you mean create?" in capsys.readouterr().err
