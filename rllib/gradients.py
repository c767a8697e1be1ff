"""From losses to gradients: which loss trains which parameters, and what is wrong with gradients.

{"critic": loss, "actor": loss} -> backward -> gradients of the critic's, of the actor's
"""

from collections.abc import Iterator, Mapping
from math import isfinite

from torch import Tensor, nn

from rllib.optimizer import Adam

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
    """
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


def _zero(optimizers: Optimizers) -> None:
    for optimizer in optimizers.values():
        optimizer.zero_grad()


def not_finite(
    scalars: Mapping[str, Tensor], module: nn.Module, optimizers: Optimizers
) -> Iterator[str]:
    """Name every part of the loss and every gradient that is not finite."""
    for name, value in scalars.items():
        if not isfinite(float(value)):
            yield f"{name} = {float(value)}"
    names = {parameter: name for name, parameter in module.named_parameters()}
    for owner, optimizer in optimizers.items():
        for index, parameter in enumerate(optimizer.parameters):
            if parameter.grad is not None and not parameter.grad.isfinite().all():
                yield f"gradient of {names.get(parameter, f'{owner}[{index}]')}"
