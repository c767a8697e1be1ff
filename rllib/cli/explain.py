"""``rllib explain``."""

from typing import Annotated

import typer

from rllib.cli.shared import explained, find_modules_here


def explain(
    key: Annotated[str, typer.Argument(help="A setting, its section.name, or a section.")],
    algorithm: Annotated[
        str | None, typer.Option(help="Of this algorithm; by default of all that have it.")
    ] = None,
) -> None:
    """Say what a setting means: type, limits, default, effect, and which algorithms have it.

    Example: rllib explain lr
    """
    find_modules_here()
    with explained():
        from rllib.config.explain import explanation

        typer.echo(explanation(key, algorithm))
