"""From losses to gradients: which loss trains which parameters, and the learners' common gradient.

{"critic": loss, "actor": loss} -> backward -> average over learners -> clip -> step
"""

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rllib.errors import TrainingError
from rllib.learning.loss import Scalar
from rllib.learning.optimizer import Adam
from rllib.learning.peers import Peers

Optimizers = Mapping[str, Adam]


def own_parameters(module: nn.Module, optimizers: Optimizers) -> None:
    """Keep from training all parameters of the module that no optimiser has.

    Raises:
        ValueError: two optimisers have the same parameter.
    """
    owners: dict[nn.Parameter, str] = {}
    for name, optimizer in optimizers.items():
        for parameter in optimizer.parameters:
            if parameter in owners:
                raise ValueError(
                    f"optimisers {owners[parameter]!r} and {name!r} have a parameter in common, of "
                    f"shape {list(parameter.shape)}; give each parameter to one"
                )
            owners[parameter] = name
    for parameter in module.parameters():
        parameter.requires_grad_(parameter in owners)


def backward(total: Tensor | Mapping[str, Tensor], optimizers: Optimizers) -> Optimizers:
    """Compute the gradients; returns the optimisers that have any.

    Args:
        total: one loss for the parameters of all optimisers; or by optimiser's name one for its own
            parameters alone, in which case those without a loss make no step.
        optimizers: all.

    Raises:
        TrainingError: a loss has no gradient.
    """
    for loss in (total,) if isinstance(total, Tensor) else total.values():
        _check_differentiable(loss)
    if isinstance(total, Tensor):
        _zero(optimizers)
        total.backward()  # type: ignore[no-untyped-call]
        return optimizers
    trained = {name: optimizers[name] for name in total}
    _zero(trained)
    last = next(reversed(trained))
    for name, optimizer in trained.items():
        # The losses may share a part of their graph.
        keep = name != last
        total[name].backward(  # type: ignore[no-untyped-call]
            inputs=optimizer.parameters, retain_graph=keep
        )
    return trained


def _check_differentiable(loss: Tensor) -> None:
    if not loss.requires_grad:
        raise TrainingError(
            "the loss depends on no parameter of the module: what its _forward_train gave has no "
            "gradient (detach(), numpy or torch.no_grad() on the way?)"
        )


def _zero(optimizers: Optimizers) -> None:
    for optimizer in optimizers.values():
        optimizer.zero_grad()


class Averaged(NamedTuple):
    """Which optimisers a gradient step is of, and the loss, of all learners together."""

    trained: Optimizers
    total: Scalar


def average(
    trained: Optimizers, total: Scalar, weight: int, optimizers: Optimizers, peers: Peers
) -> Averaged:
    """Replace every learner's gradients by their mean, by one operation.

    A step of one learner alone, and a step of several that each have a part of the same rows, are
    the same if losses are means over rows.

    Args:
        trained: those of ``optimizers`` for which this learner has gradients; none without rows.
        total: its loss.
        weight: its rows.
        optimizers: all.
        peers: the learners.
    """
    _zero({name: each for name, each in optimizers.items() if name not in trained})
    gradients = [optimizer.gradient for optimizer in optimizers.values()]
    told = [float(weight), weight * float(total), *(float(name in trained) for name in optimizers)]
    weighted = [gradient * weight for gradient in gradients]
    added = peers.allreduce_sum(torch.cat([*weighted, gradients[0].new_tensor(told)]))
    *sums, totals = torch.split(added, [*map(len, gradients), len(told)])
    weights, losses, *flags = totals.tolist()
    for gradient, summed in zip(gradients, sums, strict=True):
        torch.div(summed, max(weights, 1.0), out=gradient)
    found = {name: optimizers[name] for name, flag in zip(optimizers, flags, strict=True) if flag}
    return Averaged(found, losses / max(weights, 1.0))


def not_finite(
    scalars: Mapping[str, Scalar], module: nn.Module, optimizers: Optimizers
) -> Iterator[str]:
    """Name every part of the loss and every gradient that is not finite."""
    for name, value in scalars.items():
        if not isfinite(float(value)):
            yield f"{name} = {float(value)}"
    for name, gradient in named_gradients(module, optimizers):
        if not gradient.isfinite().all():
            yield f"gradient of {name}"


def named_gradients(module: nn.Module, optimizers: Optimizers) -> Iterator[tuple[str, Tensor]]:
    """Names and gradients; of parameters outside the module, the optimiser's name and their index.

    Args:
        module: most parameters are in it.
        optimizers: whose parameters are meant.
    """
    names = {parameter: name for name, parameter in module.named_parameters()}
    for owner, optimizer in optimizers.items():
        for index, parameter in enumerate(optimizer.parameters):
            if parameter.grad is not None:
                yield names.get(parameter, f"{owner}[{index}]"), parameter.grad
