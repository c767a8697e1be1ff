"""The command line. Options stay few: what can be set in a config is set by ``key=value``.

One file per command. Nothing heavy is imported before it is known which command is wanted, so that
``--help`` answers at once: a command imports what it runs within its function.
"""

from typing import Annotated

import typer

import rllib
from rllib.cli import (
    benchmark,
    check_env,
    cluster,
    compare,
    deploy,
    doctor,
    evaluate,
    explain,
    export,
    init,
    presets,
    schema,
    status,
    train,
)
from rllib.cli.plain_help import PlainCommand, PlainGroup

app = typer.Typer(
    cls=PlainGroup,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

TRAINING, RESULTS = "Training", "Results"
CONFIGS, LOOKING = "Configs", "Environments and machine"
MACHINES = "Many machines"

app.command(cls=PlainCommand, rich_help_panel=TRAINING)(train.train)
app.command(cls=PlainCommand, rich_help_panel=RESULTS)(evaluate.evaluate)
app.command(cls=PlainCommand, rich_help_panel=RESULTS)(evaluate.enjoy)
app.command(cls=PlainCommand, rich_help_panel=RESULTS)(compare.compare)
app.command(cls=PlainCommand, rich_help_panel=RESULTS)(compare.plot)
app.command(cls=PlainCommand, rich_help_panel=RESULTS)(export.export)
app.command(cls=PlainCommand, rich_help_panel=CONFIGS)(init.init)
app.command(cls=PlainCommand, rich_help_panel=CONFIGS)(presets.presets)
app.command(cls=PlainCommand, rich_help_panel=CONFIGS)(explain.explain)
app.command(cls=PlainCommand, rich_help_panel=CONFIGS)(schema.schema)
app.command(cls=PlainCommand, rich_help_panel=CONFIGS)(init.new_algo)
app.command(cls=PlainCommand, rich_help_panel=LOOKING)(check_env.check_env)
app.command(cls=PlainCommand, rich_help_panel=LOOKING)(benchmark.benchmark)
app.command(cls=PlainCommand, rich_help_panel=LOOKING)(doctor.doctor)
app.command(cls=PlainCommand, rich_help_panel=MACHINES)(cluster.start)
app.command(cls=PlainCommand, rich_help_panel=MACHINES)(cluster.stop)
app.command(cls=PlainCommand, rich_help_panel=MACHINES)(status.status)
app.command(cls=PlainCommand, rich_help_panel=MACHINES)(cluster.token)
app.command(cls=PlainCommand, rich_help_panel=MACHINES)(deploy.slurm)
app.command(cls=PlainCommand, rich_help_panel=MACHINES)(deploy.kubernetes)


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
