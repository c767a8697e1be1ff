"""``rllib evaluate`` and ``rllib enjoy``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from rllib.cli.shared import Run, RunsDir, explained, find_modules_here

Seed = Annotated[int, typer.Option(min=0, help="Of the first episode; others have the next.")]
Explore = Annotated[bool, typer.Option("--explore", help="Draw actions, as training does.")]
Iteration = Annotated[
    int | None, typer.Option(help="Of the checkpoint; by default the latest.", min=0)
]


def evaluate(
    run: Run,
    episodes: Annotated[int, typer.Option(min=1, help="Exactly so many.")] = 100,
    seed: Seed = 0,
    explore: Explore = False,
    iteration: Iteration = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    video: Annotated[
        Path | None, typer.Option(metavar="FILE.mp4", help="Film the first four of them, too.")
    ] = None,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Play a run's policy: mean, interquartile mean and their 95 % intervals.

    Example: rllib evaluate ppo_cartpole --episodes 200 --video cartpole.mp4
    """
    find_modules_here()
    with explained():
        from rllib.results.evaluate import evaluate_run
        from rllib.results.saved import find_run

        saved = find_run(run, runs_dir)
        if video:
            from rllib.results.video import check_film, film

            check_film(video)
        found = evaluate_run(saved, episodes, seed, explore, iteration)
        typer.echo(json.dumps(found.to_dict()) if as_json else str(found))
        if video:
            film(saved, video, min(4, episodes), seed, explore, iteration)
            typer.echo(f"  video   {video}", err=as_json)


def enjoy(
    run: Run,
    episodes: Annotated[int, typer.Option(min=1, help="How many to watch.")] = 3,
    seed: Seed = 0,
    explore: Explore = False,
    iteration: Iteration = None,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Watch a run's policy in a window; where there is no screen, as a film in the run's folder.

    Example: rllib enjoy ppo_cartpole
    """
    find_modules_here()
    with explained():
        from rllib.results.enjoy import watch
        from rllib.results.saved import find_run

        watch(find_run(run, runs_dir), episodes, seed, explore, iteration, typer.echo)
