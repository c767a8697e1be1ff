"""``rllib check-env``."""

from typing import Annotated

import typer

from rllib.cli.shared import find_modules_here


def check_env(
    env: Annotated[
        str, typer.Argument(help="Gymnasium id, a registered name, or module:Class of one's own.")
    ],
    env_config: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Arguments of the environment (env_config)."),
    ] = None,
) -> None:
    """Look for mistakes in an environment before training on it; exit code 1 if there are errors.

    Example: rllib check-env my_package.envs:Robot arm=left
    """
    find_modules_here()
    from rllib.env_check import report

    raise typer.Exit(report(env, env_config or [], typer.echo))
