"""The pages of ``docs/`` are true: programs run, commands exist, names and links lead somewhere."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import pytest
import typer

from rllib import core
from rllib.cli import app
from rllib.config.file import load_plan
from rllib.config.names import RENAMED
from rllib.config.presets import preset_paths

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
OWN_TESTS = {
    *("clusters.md", "coming-from-ray.md", "coming-from-rllib.md", "command-line.md"),
    *("environments.md", "faults.md", "rl-kit.md", "your-own-algorithm.md"),
}
"""Pages whose programs are run by tests of their own."""
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def blocks(page: Path) -> Iterator[tuple[str, str, int]]:
    """Language, text and line of every fenced block."""
    text = page.read_text()
    for found in re.finditer(r"^```(\w*)[^\n]*\n(.*?)^```", text, re.M | re.S):
        yield found[1], found[2], text.count("\n", 0, found.start(2))


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def with_programs() -> list[Path]:
    return [
        page
        for page in PAGES
        if page.name not in OWN_TESTS and any(kind == "python" for kind, *_ in blocks(page))
    ]


@pytest.mark.parametrize("page", with_programs(), ids=name_of)
def test_the_programs_of_a_page_run_one_after_the_other(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    try:
        for kind, text, line in blocks(page):
            if kind == "python":
                exec(compile("\n" * line + text, str(page), "exec"), names)
    finally:
        core.shutdown()


def test_the_programs_of_every_page_are_run_by_some_test() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for name in OWN_TESTS:
        assert f'"{name}"' in tests.replace(__file__, ""), name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_programs_of_other_libraries_are_python(page: Path) -> None:
    for kind, text, line in blocks(page):
        if kind == "py":
            compile("\n" * line + text, str(page), "exec")


def commands(page: Path) -> Iterator[list[str]]:
    """Arguments of every ``rllib`` in blocks that are no programs."""
    for kind, text, _ in blocks(page):
        if kind in ("", "bash", "console"):
            for found in re.finditer(r"(?:^|\$ +|\| )rllib ([^\n|>#]+)", text, re.M):
                yield shlex.split(found[1])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_commands_of_a_page_are_understood(page: Path) -> None:
    for name, *arguments in commands(page):
        try:
            context = COMMANDS[name].make_context(name, list(arguments))
        except click.exceptions.Exit:  # --help
            continue
        given = context.params
        if name == "train" and given["config"] in preset_paths():
            load_plan(given["config"], given["overrides"] or (), given["stop"] or ())


def names_of(page: str) -> list[tuple[str, str]]:
    """Rows of tables whose two cells are one name each."""
    text = (DOCS / page).read_text()
    return re.findall(r"^\| `(\w+)` \| `([\w.]+)` \|$", text, re.M)


@pytest.mark.parametrize("page", ["coming-from-sb3.md", "coming-from-cleanrl.md"])
def test_the_names_of_other_libraries_lead_where_the_page_says(page: str) -> None:
    rows = names_of(page)
    assert len(rows) >= 9
    assert {theirs: RENAMED[theirs] for theirs, _ in rows} == dict(rows)


@pytest.mark.skipif(
    not all(map(find_spec, ("material", "mkdocstrings"))),
    reason='the site is built with the extra "docs": pip install "rllib-scale[docs]"',
)
def test_the_site_is_built_without_warnings_and_loads_nothing_from_elsewhere(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(PAGES) - 1
    for page in pages:
        text = page.read_text()
        assert not re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="https?:', text), page
    reference = (tmp_path / "site" / "reference" / "python.html").read_text()
    assert "compute_single_action" in reference
    assert "rllib export" in (tmp_path / "site" / "reference" / "commands.html").read_text()
