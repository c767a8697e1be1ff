"""What MkDocs asks of this project: the page of all commands is made from the commands."""

from collections.abc import Iterator
from typing import Any

import click
import typer.main

from rllib.cli import app

MARK = "<!-- commands -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put every command's options where the mark is."""
    return markdown.replace(MARK, "\n".join(_pages())) if MARK in markdown else markdown


def _pages() -> Iterator[str]:
    group: Any = typer.main.get_command(app)
    for name in group.list_commands(None):
        yield from _page(name, group.get_command(None, name))


def _page(name: str, command: Any) -> Iterator[str]:
    context = command.make_context(name, [], resilient_parsing=True)
    text, _, example = (command.help or "").partition("Example:")
    usage = " ".join(command.collect_usage_pieces(context))
    yield from (f"## rllib {name}", "", text.strip(), "", "```", f"rllib {name} {usage}", "```", "")
    if example:
        yield from ("```", *(line.strip() for line in example.strip().splitlines()), "```", "")
    rows = [_row(each, context) for each in command.params]
    rows = [row for row in rows if row and not row.startswith("| `--help`")]
    if rows:
        yield from ("| | |", "|---|---|", *rows, "")


def _row(parameter: Any, context: Any) -> str:
    record = parameter.get_help_record(context)
    if record is None and isinstance(parameter, click.Argument):
        record = parameter.make_metavar(context), getattr(parameter, "help", "") or ""
    if record is None:
        return ""
    option, text = record
    return f"| `{option}` | {text.replace('|', ' or ')} |".replace("\n", " ")
