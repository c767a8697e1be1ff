"""What a loss is, and what is reported of gradient steps."""

from collections.abc import Callable, Iterable, Mapping
from math import isfinite, nan
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Metrics = dict[str, Any]
"""Numbers by name, and the arrays that a loss reports for single rows."""
Scalar = Tensor | float
"""A tensor wherever autograd, or a GPU, is to be waited for as late as can be."""
Rows = Tensor | NDArray[Any]


class Loss(NamedTuple):
    """What to minimise, and what to report of a minibatch.

    Attributes:
        total: a scalar for all optimisers; or scalars by optimiser's name, each of which trains the
            parameters of that optimiser alone. An optimiser that is not named makes no step.
        metrics: scalars, averaged over minibatches.
        arrays: [B, ...] something of every row, such as TD errors; of several minibatches, joined
            in their order. A train batch that is a single minibatch keeps its order. Tensors, or
            arrays of numpy where no autograd is.
        backward: writes the gradients of all parameters, where that is not left to autograd.
    """

    total: Scalar | Mapping[str, Scalar]
    metrics: Mapping[str, Scalar]
    arrays: Mapping[str, Rows] = {}
    backward: Callable[[], None] | None = None

    def scaled(self, scale: float) -> Any:
        """What to minimise, times ``scale``."""
        if scale == 1.0:
            return self.total
        if isinstance(self.total, Mapping):
            return {name: value * scale for name, value in self.total.items()}
        return self.total * scale

    def scalars(self) -> dict[str, Scalar]:
        """All its scalars; of several losses, ``total_loss`` is the sum."""
        if isinstance(self.total, Mapping):
            losses = {f"{name}_loss": _detached(each) for name, each in self.total.items()}
            parts = {"total_loss": sum(losses.values()), **losses}
        else:
            parts = {"total_loss": _detached(self.total)}
        for name, value in self.metrics.items():
            parts[name] = _detached(value)
        return parts


def _detached(scalar: Scalar) -> Scalar:
    return scalar.detach() if isinstance(scalar, Tensor) else scalar


class StepReport(NamedTuple):
    """What is reported of one gradient step."""

    scalars: Mapping[str, Scalar]
    arrays: Mapping[str, Rows]


class Report(NamedTuple):
    """What is reported of a learner's update, which was of ``weight`` rows."""

    weight: int
    means: dict[str, float]
    arrays: dict[str, NDArray[Any]]


def report_of(steps: Iterable[StepReport], weight: int) -> Report:
    """Means of scalars over the steps that report them, and joined arrays."""
    steps = list(steps)
    if len(steps) == 1:  # as it is mostly where experience is kept: the same, at once
        return _report_of_one(steps[0], weight)
    named = [(name, value) for step in steps for name, value in step.scalars.items()]
    columns: dict[str, list[float]] = {}
    for (name, _), number in zip(named, _numbers([value for _, value in named]), strict=True):
        columns.setdefault(name, []).append(number)
    arrays: dict[str, list[Rows]] = {}
    for step in steps:
        for name, value in step.arrays.items():
            arrays.setdefault(name, []).append(value)
    means = {name: _finite_mean(column) for name, column in columns.items()}
    joined = {name: _joined(column) for name, column in arrays.items()}
    return Report(weight, means, joined)


def _joined(parts: list[Any]) -> NDArray[Any]:
    if isinstance(parts[0], Tensor):
        return torch.cat(parts).numpy(force=True)
    joined: NDArray[Any] = np.concatenate(parts)
    return joined


def _report_of_one(step: StepReport, weight: int) -> Report:
    numbers = zip(step.scalars, _numbers([*step.scalars.values()]), strict=True)
    means = {name: number if isfinite(number) else nan for name, number in numbers}
    arrays = {
        name: value.numpy(force=True) if isinstance(value, Tensor) else value
        for name, value in step.arrays.items()
    }
    return Report(weight, means, arrays)


def _numbers(scalars: list[Scalar]) -> list[float]:
    """All tensors by one copy, which is what takes time on a GPU."""
    tensors = [each for each in scalars if isinstance(each, Tensor)]
    if not tensors:
        return [float(each) for each in scalars]
    copied = torch.stack([each.to(tensors[0].device).float() for each in tensors]).tolist()
    numbers = iter(copied)
    return [next(numbers) if isinstance(each, Tensor) else float(each) for each in scalars]


def _finite_mean(column: list[float]) -> float:
    """Without the steps that were skipped because of what they had; NaN if that is all of them."""
    finite = [number for number in column if isfinite(number)]
    return fmean(finite) if finite else nan


def merge(reports: list[Report]) -> Metrics:
    """The metrics of all learners: means weighted by rows, arrays joined in order of rank."""
    if len(reports) == 1:
        return {**reports[0].means, **reports[0].arrays}
    merged: Metrics = {}
    for name in dict.fromkeys(name for report in reports for name in report.means):
        having = [report for report in reports if name in report.means]
        weights = [report.weight for report in having]
        merged[name] = float(np.average([report.means[name] for report in having], weights=weights))
    for name in dict.fromkeys(name for report in reports for name in report.arrays):
        parts = [report.arrays[name] for report in reports if name in report.arrays]
        merged[name] = np.concatenate(parts)
    return merged
