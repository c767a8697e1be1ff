"""What the shell is offered where it asks for more than options: presets, runs, settings.

Pressing Tab waits for these, so they look at files and import nothing heavy.
"""

import importlib.resources

import typer

FILES = ".yaml", ".yml"


def presets(incomplete: str) -> list[str]:
    """Names of presets that begin so; none offers files."""
    folder = importlib.resources.files("rllib.configs")
    stems = [file.name.rpartition(".")[0] for file in folder.iterdir() if file.name.endswith(FILES)]
    return sorted(stem for stem in stems if stem.startswith(incomplete))


def runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of runs in ``--runs-dir`` that begin so."""
    from rllib.runs.record import PROGRESS

    found = ctx.params["runs_dir"].glob(f"*/{PROGRESS}")
    return sorted(path.parent.name for path in found if path.parent.name.startswith(incomplete))


def settings(incomplete: str) -> list[str]:
    """Settings of all algorithms that begin so, from the schema that is for editors."""
    import json

    file = importlib.resources.files("rllib.configs") / "rllib.schema.json"
    definitions = json.loads(file.read_text(encoding="utf-8"))["definitions"]
    names = {name for each in definitions.values() for name in each.get("properties", ())}
    return sorted(name for name in names if name.startswith(incomplete))
