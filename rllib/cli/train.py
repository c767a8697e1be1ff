"""``rllib train``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rllib.cli.shared import find_modules_here


class Engine(StrEnum):
    """What tasks and actors run on."""

    NATIVE = "native"
    INLINE = "inline"


def train(
    config: Annotated[str, typer.Option(help="Name of a preset, or path of a YAML file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings that replace those of the config."),
    ] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Stop when this metric reaches the value."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over; removes what the run has written.")
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="Name of the run; by default that of the config.")
    ] = None,
    runs_dir: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    address: Annotated[Engine, typer.Option(help="What actors run on.")] = Engine.NATIVE,
) -> None:
    """Train; the same command continues a run that was interrupted.

    Example: rllib train --config ppo_cartpole lr=3e-4 num_env_runners=4
    """
    find_modules_here()
    from rllib.runs.signals import Interrupted, StopSignals

    try:
        with StopSignals().installed() as signals:
            from rllib.runs.session import Order, Session

            order = Order(
                config=config,
                overrides=tuple(overrides or ()),
                stop=tuple(stop or ()),
                fresh=fresh,
                name=name,
                runs_dir=runs_dir,
                inline=address is Engine.INLINE,
            )
            code = Session(order).execute(signals)
    except Interrupted as interruption:  # before the session could say anything about it
        code = interruption.exit_code
    raise typer.Exit(code)
