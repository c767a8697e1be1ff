"""``rllib presets``."""

import typer


def presets() -> None:
    """List the presets: algorithm, environment, and the return at which a run is done.

    Example: rllib presets
    """
    from rllib.config.presets import presets_table

    typer.echo(presets_table())
