"""``rllib compare`` and ``rllib plot``."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rllib.cli import completion
from rllib.cli.shared import RunsDir, explained, find_modules_here

if TYPE_CHECKING:
    from rllib.results.compare import Comparison

Runs = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN",
        help="Names of runs, paths, or what several seeds have in common.",
        autocompletion=completion.runs,
    ),
]
Metric = Annotated[str, typer.Option(help="What the curves show.")]
Png = Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the curves.")]
Html = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write a report that needs no network.")
]
RETURN = "env_runners/episode_return_mean"


class Axis(StrEnum):
    """What curves are drawn over."""

    STEPS = "steps"
    TIME = "time"


def compare(
    runs: Runs,
    metric: Metric = RETURN,
    axis: Annotated[Axis, typer.Option("--over", help="Of the curves.")] = Axis.STEPS,
    threshold: Annotated[
        float | None, typer.Option(help="Return whose reaching is timed; by default the goal.")
    ] = None,
    png: Png = None,
    html: Html = None,
    as_json: Annotated[bool, typer.Option("--json", help="The figures, as JSON.")] = False,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Put runs beside each other: returns, time to the goal, who is better, settings, curves.

    Example: rllib compare slow fast --html report.html
    """
    find_modules_here()
    with explained():
        from rllib.results.compare import compare, table

        found = compare(runs, runs_dir, metric, axis, threshold)
        if as_json:
            typer.echo(json.dumps(found.to_dict()))
        else:
            typer.echo("\n".join(table(found)))
            for key, values in found.different_settings():
                typer.echo(f"  {key}: {' | '.join(map(str, values))}")
            _draw(found)
        _write(found, png, html, as_json)


def plot(
    runs: Runs,
    metric: Metric = RETURN,
    axis: Annotated[Axis, typer.Option("--over", help="Of the curves.")] = Axis.STEPS,
    png: Png = None,
    html: Html = None,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Draw curves of runs in the terminal, as a PNG, or as a report in one HTML file.

    Example: rllib plot ppo_cartpole --png curve.png
    """
    find_modules_here()
    with explained():
        from rllib.results.compare import compare

        found = compare(runs, runs_dir, metric, axis)
        _draw(found)
        _write(found, png, html, False)


def _draw(found: "Comparison") -> None:
    from rich.console import Console

    from rllib.results.chart import chart, legend

    console = Console(highlight=False, soft_wrap=True)
    curves = found.curves
    coloured = console.color_system is not None and not console.no_color
    braille = console.encoding.startswith("utf") and (coloured or len(curves) == 1)
    console.print(f"{found.metric} over {found.axis}")
    for line in [*chart(curves, min(78, console.width), braille=braille), *legend(curves, braille)]:
        console.print(line)


def _write(found: "Comparison", png: Path | None, html: Path | None, quiet: bool) -> None:
    if png:
        from rllib.results.picture import write_picture

        write_picture(found, png)
    if html:
        from rllib.results.page import write_page

        write_page(found, html)
    for path in filter(None, (png, html)):
        typer.echo(f"wrote {path}", err=quiet)
