"""``rllib export``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rllib.cli.shared import Run, RunsDir, explained, find_modules_here


class Format(StrEnum):
    """A kind of file."""

    ONNX = "onnx"
    TORCH = "torch"
    SAFETENSORS = "safetensors"
    CARD = "card"


def export(
    run: Run,
    formats: Annotated[
        list[Format] | None, typer.Option("--format", help="Some of them; by default all.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where to; by default export/ in the run's folder.")
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Of the card's evaluation.")] = 20,
    iteration: Annotated[
        int | None, typer.Option(help="Of the checkpoint; by default the latest.", min=0)
    ] = None,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Write a run's policy for others: ONNX and torch.export, compared with it, weights, a card.

    Example: rllib export ppo_cartpole --format onnx
    """
    find_modules_here()
    with explained():
        from rllib.exporting.export import export
        from rllib.results.saved import find_run

        chosen = list(formats or Format)
        export(find_run(run, runs_dir), folder, chosen, episodes, iteration, typer.echo)
