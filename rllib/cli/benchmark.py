"""``rllib benchmark``."""

from pathlib import Path
from typing import Annotated

import typer


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
