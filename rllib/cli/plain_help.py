"""Help as plain text, headings and names in colour on a terminal.

Typer can draw help with rich, but importing what draws it takes as long as all the rest of
``--help``.
"""

import os
import re
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

_HEADING = re.compile(r"^\S[^\n:]*(?=:$)", re.MULTILINE)
_NAME = re.compile(r"^  (-\S+(?:, -\S+)*|[\w-]+(?=  ))", re.MULTILINE)


class PlainCommand(TyperCommand):
    """A command whose help is plain text."""

    def get_help(self, ctx: Any) -> str:
        """The help, as it is printed."""
        return _coloured(super().get_help(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the arguments; of a wrong one the error says what was probably meant."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            _explain(error, ctx.command_path, given)
            raise


def _explain(error: Any, command: str, arguments: list[str]) -> None:
    """Add to typer's error what those mean by it who come from another tool."""
    from rllib.cli import elsewhere

    if option := getattr(error, "option_name", None):
        if hint := elsewhere.option_hint(option):
            error.message, error.possibilities = f"{error.message}; {hint}", None
    elif getattr(getattr(error, "param", None), "name", None) == "config" and not error.message:
        error.message = elsewhere.config_hint(command, arguments)


class PlainGroup(TyperGroup):
    """Commands under the headings that ``rich_help_panel`` names, each with its whole sentence."""

    def get_help(self, ctx: Any) -> str:
        """The help, as it is printed."""
        return _coloured(super().get_help(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is meant; of one that there is not, what does that here."""
        from rllib.cli import elsewhere

        hint = None if args[0] in self.commands else elsewhere.command_hint(args[0])
        if hint is not None:
            ctx.fail(f"No such command {args[0]!r}: {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, in the order in which they were added."""
        panels: dict[str, list[tuple[str, str]]] = {}
        width = max(map(len, self.commands))
        for name, command in self.commands.items():
            row = name.ljust(width), command.get_short_help_str(limit=1000)
            panels.setdefault(str(getattr(command, "rich_help_panel", "")), []).append(row)
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)


def _coloured(text: str) -> str:
    """Whoever prints it takes the colours away where there is no terminal."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    text = _HEADING.sub(lambda found: typer.style(found[0], bold=True), text)
    return _NAME.sub(lambda found: "  " + typer.style(found[1], fg="cyan"), text)
