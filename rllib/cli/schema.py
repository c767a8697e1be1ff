"""``rllib schema``."""

from typing import Annotated

import typer

from rllib.cli.shared import explained, find_modules_here


def schema(
    algorithm: Annotated[
        str | None,
        typer.Argument(help="One algorithm alone; by default every one that there is."),
    ] = None,
) -> None:
    """Print the JSON schema of config files, by which editors complete and check them.

    Example: rllib schema > rllib.schema.json, and as first line of a config:
    # yaml-language-server: $schema=rllib.schema.json
    """
    find_modules_here()
    with explained():
        from rllib.config.schema import schema_text

        typer.echo(schema_text(algorithm))
