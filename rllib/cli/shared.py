"""What all commands share: where the user's modules are found, and how an error ends a command."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from rllib.cli import completion

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="Name of a run, or path of its folder.",
        autocompletion=completion.runs,
    ),
]
RunsDir = Annotated[Path, typer.Option(help="Folder of all runs.")]


def fail(text: str) -> NoReturn:
    """End the command with that error."""
    typer.echo(f"error: {text}", err=True)
    raise typer.Exit(2)


def find_modules_here() -> None:
    """A module of the user's, of an environment for example, is found beside the command."""
    sys.path.append(str(Path.cwd()))  # last, so that it hides no other


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """An error of ours ends the command with its message and exit code, and no traceback.

    So does a file that cannot be read or written.
    """
    from rllib.errors import RLlibError

    try:
        yield
    except RLlibError as error:
        from rllib.runs.console import complain
        from rllib.runs.failures import describe

        complain(f"error: {describe(error)}")
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        if error.filename is None:
            raise
        fail(f"{error.filename}: {error.strerror}")
