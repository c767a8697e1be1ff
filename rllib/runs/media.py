"""Pictures in TensorBoard every so many iterations: histograms of weights and gradients, films."""

import io
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from rllib.errors import ConfigError
from rllib.learning.gradients import named_gradients
from rllib.results.video import FPS, Frame, add_picture, film_player
from rllib.runs.loggers import Loggers
from rllib.runs.record import ENV_STEPS, Metrics
from rllib.runs.tensorboard import TensorBoard, load_tensorboardx

if TYPE_CHECKING:
    from rllib.algorithm import Algorithm

BINS = 40
MOST_FRAMES, MOST_LINES = 200, 160
"""Of a film: every second, third, ... frame is left out, and line as well, until it is as small."""
MISSING = 'films in TensorBoard need the extra "video": pip install "rllib-scale[video]"'


class Histogram(NamedTuple):
    """How numbers are distributed.

    Attributes:
        edges: [BINS + 1] of the bins.
        counts: [BINS] of numbers in each.
        total: sum of the numbers.
        squares: sum of their squares.
    """

    edges: list[float]
    counts: list[int]
    total: float
    squares: float


def histogram(values: Any) -> Histogram | None:
    """Of the finite numbers of an array; ``None`` if there are none."""
    flat = np.asarray(values, np.float64).ravel()
    flat = flat[np.isfinite(flat)]
    if not flat.size:
        return None
    counts, edges = np.histogram(flat, BINS)
    return Histogram(edges.tolist(), counts.tolist(), float(flat.sum()), float(flat @ flat))


def histograms(learner: Any) -> dict[str, Histogram]:
    """Of every weight and of its last gradient, where the learner lives."""
    found = {}
    for prefix, each in _learners(learner):
        for name, weight in each.module.named_parameters():
            found[f"weights/{prefix}{name}"] = histogram(weight.detach().float().cpu())
        for name, gradient in named_gradients(each.module, each.optimizers):
            found[f"gradients/{prefix}{name}"] = histogram(gradient.detach().float().cpu())
    return {name: each for name, each in found.items() if each is not None}


def _learners(learner: Any) -> Iterator[tuple[str, Any]]:
    """The learners of all modules, with what their names begin with."""
    several: Mapping[str, Any] | None = getattr(learner, "learners", None)
    if several is None:
        yield "", learner
    else:
        yield from ((f"{name}/", each) for name, each in several.items())


class Media:
    """Adds pictures to TensorBoard as the settings want it; use it as a context.

    Args:
        algo: whose weights, gradients and episodes.

    Raises:
        ConfigError: the environment has no pictures, or an extra is missing.
    """

    def __init__(self, algo: "Algorithm") -> None:
        self._algo, config = algo, algo.config
        self._histograms_every = config.tensorboard_histograms_every
        self._videos_every = config.tensorboard_videos_every
        self._stack = ExitStack()
        if self._videos_every:
            if not find_spec("PIL"):
                raise ConfigError(MISSING)
            self._player = self._stack.enter_context(film_player(algo, explore=False))

    def add(self, loggers: Loggers, metrics: Metrics) -> None:
        """Add what is due after an iteration."""
        iteration, step = self._algo.iteration, int(metrics.get(ENV_STEPS, 0))
        if _is_due(iteration, self._histograms_every):
            _show(loggers, list(self._histogram_values()), step)
        if _is_due(iteration, self._videos_every):
            _show(loggers, [self._film(seed=iteration)], step)

    def _histogram_values(self) -> Iterator[Any]:
        load_tensorboardx()
        from tensorboardX.proto.summary_pb2 import HistogramProto, Summary

        first = self._algo.learner_group.foreach_learner(histograms)[0]
        for name, (edges, counts, total, squares) in first.items():
            proto = HistogramProto(
                min=edges[0],
                max=edges[-1],
                num=sum(counts),
                sum=total,
                sum_squares=squares,
                bucket_limit=edges[1:],
                bucket=counts,
            )
            yield Summary.Value(tag=name, histo=proto)

    def _film(self, seed: int) -> Any:
        load_tensorboardx()
        from tensorboardX.proto.summary_pb2 import Summary

        frames: list[Frame] = []
        self._player.play(seed, partial(add_picture, frames))
        data = gif(frames, float(self._player.env.metadata.get("render_fps", FPS)))
        height, width, _ = frames[0].shape
        picture = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=data)
        return Summary.Value(tag="evaluation/film", image=picture)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _show(loggers: Loggers, values: list[Any], step: int) -> None:
    loggers.also(TensorBoard, lambda board: board.add(values, step))


def _is_due(iteration: int, every: int) -> bool:
    return every > 0 and iteration % every == 0


def gif(frames: list[Frame], fps: float) -> bytes:
    """An animated GIF of frames, smaller and fewer of them if need be, that lasts as long."""
    from PIL import Image

    skip, scale = -(-len(frames) // MOST_FRAMES), -(-frames[0].shape[0] // MOST_LINES)
    pictures = [Image.fromarray(frame[::scale, ::scale]) for frame in frames[::skip]]
    file = io.BytesIO()
    lasts = max(20, round(1000 * skip / fps))  # ms; viewers take less for a mistake
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=lasts, loop=0)
    return file.getvalue()
