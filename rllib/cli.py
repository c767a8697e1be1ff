"""The command line. Options stay few: what can be set in a config is set by ``key=value``.

Nothing heavy is imported before it is known that training is wanted.
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import rllib

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


class Engine(StrEnum):
    """What tasks and actors run on."""

    NATIVE = "native"
    INLINE = "inline"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rllib {rllib.__version__}")
        raise typer.Exit


@app.callback()
def rllib_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Reinforcement learning that scales from a laptop to a cluster with one config."""


@app.command()
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
    # A module of the user's that registers an environment is found beside the command, but last.
    sys.path.append(str(Path.cwd()))
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


@app.command()
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
    sys.path.append(str(Path.cwd()))
    from rllib.env_check import report

    raise typer.Exit(report(env, env_config or [], typer.echo))


@app.command()
def benchmark(
    suite: Annotated[str, typer.Option(help="What to measure.")] = "short",
    compare: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Compare with a file that --save wrote.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the measurements to a file.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Training time of each run.")] = 5.0,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each row.")] = 5,
    tolerance: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Relative differences that do not count.")
    ] = 0.05,
) -> None:
    """Measure how fast training is; exit code 1 if it is slower than in the file compared with.

    Example: rllib benchmark --suite cartpole --compare benchmarks/results/baseline_short.json
    """
    from rllib.benchmarking.report import report

    raise typer.Exit(report(suite, compare, save, seconds, repeats, tolerance, typer.echo))
