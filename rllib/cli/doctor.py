"""``rllib doctor``."""

from pathlib import Path
from typing import Annotated

import typer


def doctor(
    fix: Annotated[
        bool, typer.Option("--fix", help="Remove what killed runs have left behind.")
    ] = False,
    trial: Annotated[
        bool, typer.Option("--trial/--no-trial", help="Try the runtime and training, too.")
    ] = True,
    runs_dir: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
) -> None:
    """Look whether this machine is fit for training; exit code 1 if something is wrong.

    Example: rllib doctor --fix
    """
    from rllib.doctor.report import report

    raise typer.Exit(report(fix, trial, runs_dir, typer.echo))
