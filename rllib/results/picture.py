"""Curves as a PNG, by matplotlib."""

from importlib.util import find_spec
from pathlib import Path

from rllib.errors import ConfigError
from rllib.results.compare import Comparison
from rllib.results.page import COLOURS
from rllib.runs.record import ENV_STEPS

MISSING = 'pictures need the extra "plots": pip install "rllib-scale[plots]" (--html needs none)'


def write_picture(comparison: Comparison, path: Path) -> None:
    """Draw the curves of a comparison with their bands.

    Raises:
        ConfigError: matplotlib is not installed, or cannot write such a file.
    """
    if not find_spec("matplotlib"):
        raise ConfigError(MISSING)
    if not path.suffix:  # matplotlib would write another file than was named
        raise ConfigError(f"{path}: name the kind of picture, as in {path}.png")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for index, curve in enumerate(comparison.curves):
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(curve.x, curve.y, color=colour, label=curve.name)
        axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
    axes.set_xlabel("env steps" if comparison.axis == ENV_STEPS else "seconds of training")
    axes.set_ylabel(comparison.metric)
    axes.legend(frameon=False)
    try:
        figure.savefig(path, dpi=150)
    except ValueError as error:  # a suffix that it does not know
        raise ConfigError(f"{path}: {error}") from error
