"""``rllib train``."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rllib.cli import completion
from rllib.cli.shared import explained, find_modules_here
from rllib.runs.signals import CLEAN_UP_S, GRACE_S, Interrupted, StopSignals


class LogFormat(StrEnum):
    """How a run speaks."""

    AUTO = "auto"
    JSON = "json"


def _checked_address(address: str) -> str:
    known = address in ("native", "inline", "ray") or address.startswith("ray:")
    if not (known or re.fullmatch(r"[^:]+:\d+|\[[^]]+\]:\d+", address)):
        raise typer.BadParameter(
            f"{address!r} is none of native, inline, HOST:PORT, ray, ray:HOST:PORT, ray://HOST:PORT"
        )
    return address


def train(
    config: Annotated[
        str,
        typer.Option(
            help="Name of a preset, or path of a YAML file.", autocompletion=completion.presets
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Settings that replace those of the config.",
            autocompletion=completion.settings,
        ),
    ] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Stop when this metric reaches the value."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over; removes what the run has written.")
    ] = False,
    resume_with_changes: Annotated[
        bool,
        typer.Option(
            "--resume-with-changes", help="Go on with what the run has learnt, as configured now."
        ),
    ] = False,
    grace: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=CLEAN_UP_S,
            help="From Ctrl-C, SIGTERM, SIGUSR1 or SIGHUP to the end: the iteration ends, a "
            "checkpoint is written.",
        ),
    ] = GRACE_S,
    name: Annotated[
        str | None, typer.Option(help="Name of the run; by default that of the config.")
    ] = None,
    runs_dir: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    address: Annotated[
        str,
        typer.Option(
            metavar="native|inline|HOST:PORT|ray|ray:HOST:PORT|ray://HOST:PORT",
            callback=_checked_address,
            help="What actors run on: processes of this machine, this process alone, a cluster "
            "that `rllib start` has made, or a Ray cluster: from one of its nodes, or (ray://) "
            "from anywhere through Ray Client.",
        ),
    ] = "native",
    seeds: Annotated[
        str | None,
        typer.Option(metavar="1..5", help="One run after the other, NAME_seed1 and so on."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what it would be: shapes, speed, memory, settings."),
    ] = False,
    profile: Annotated[
        str | None,
        typer.Option(metavar="30s", help="Where the time goes: a flame graph and a trace."),
    ] = None,
    log_format: Annotated[
        LogFormat, typer.Option(help="A live view on a terminal, else lines; or JSON lines.")
    ] = LogFormat.AUTO,
) -> None:
    """Train; the same command continues a run that was interrupted.

    Example: rllib train --config ppo_cartpole lr=3e-4 num_env_runners=4
    """
    find_modules_here()
    code = 0
    try:
        with StopSignals(grace).installed() as signals, explained():
            from rllib.runs.console import Console, JsonConsole
            from rllib.runs.session import Order, Session, with_seeds

            order = Order(
                config=config,
                overrides=tuple(overrides or ()),
                stop=tuple(stop or ()),
                fresh=fresh,
                resume_with_changes=resume_with_changes,
                name=name,
                runs_dir=runs_dir,
                address=address,
                dry_run=dry_run,
                profile=profile,
            )
            for each in with_seeds(order, seeds):
                console = JsonConsole() if log_format is LogFormat.JSON else Console()
                code = Session(each, console).execute(signals) or code
                if signals.received is not None:
                    break
    except Interrupted as interruption:  # before the session could say anything about it
        code = interruption.exit_code
    raise typer.Exit(code)
