"""``rllib init`` and ``rllib new-algo``."""

from pathlib import Path
from typing import Annotated

import typer

from rllib.cli.shared import explained, find_modules_here

Folder = Annotated[Path, typer.Option(help="Where to write.", file_okay=False, exists=True)]


def init(
    env: Annotated[
        str, typer.Argument(help="An environment that there is, or module:Class of a new one.")
    ],
    algorithm: Annotated[str, typer.Option(help="To train by.")] = "PPO",
    folder: Folder = Path(),
) -> None:
    """Write a config, an environment to start from if there is none, and a test that passes.

    Example: rllib init my_env:Reach
    """
    find_modules_here()
    with explained():
        from rllib.skeletons.write import new_env

        files = new_env(env, algorithm, folder)
    _say(files, f"rllib train --config {files[0]}")


def new_algo(
    algorithm: Annotated[str, typer.Argument(help="module:Class of the new algorithm.")],
    folder: Folder = Path(),
) -> None:
    """Write an algorithm as a plug-in: its file, a config, a test that passes, and a package.

    Example: rllib new-algo my_algo:Reinforce
    """
    find_modules_here()
    with explained():
        from rllib.skeletons.write import new_algorithm

        files = new_algorithm(algorithm, folder)
    _say(files, f"rllib train --config {files[1]}")


def _say(files: list[Path], command: str) -> None:
    tests = [str(file) for file in files if file.name.startswith("test_")]
    typer.echo(f"wrote {', '.join(map(str, files))}")
    typer.echo(f"  train  {command}")
    typer.echo(f"  test   python -m pytest {' '.join(tests)}")
