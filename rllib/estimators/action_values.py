"""Action values: their losses, and the distributions of returns of C51, in torch.

Legend: B rows, A actions, M atoms of a distribution of returns.
"""

import torch
from torch import Tensor
from torch.nn.functional import huber_loss


def dueling(values: Tensor, advantages: Tensor) -> Tensor:
    """Action values of two streams (Wang et al. 2016, arXiv 1511.06581, eq. 9).

    Args:
        values: [B] or, as logits of distributions, [B, M].
        advantages: [B, A] or [B, A, M].
    """
    return values.unsqueeze(1) + advantages - advantages.mean(1, keepdim=True)


def values_of(q_values: Tensor, actions: Tensor) -> Tensor:
    """[B] or [B, M] of the actions [B] from all of [B, A] or [B, A, M]."""
    index = actions.view(-1, *[1] * (q_values.dim() - 1)).expand(-1, 1, *q_values.shape[2:])
    return q_values.gather(1, index).squeeze(1)


def huber(errors: Tensor, delta: float = 1.0) -> Tensor:
    """Quadratic up to ``delta``, linear beyond: the gradient of no row is larger than ``delta``."""
    return huber_loss(errors, torch.zeros_like(errors), reduction="none", delta=delta)


def squared(errors: Tensor) -> Tensor:
    """Half the square, of which the error is the gradient."""
    return 0.5 * errors.square()


def support(
    v_min: float, v_max: float, num_atoms: int, device: torch.device | None = None
) -> Tensor:
    """[M] the returns that the atoms stand for, evenly from the smallest to the largest."""
    return torch.linspace(v_min, v_max, num_atoms, device=device)


def mean_return(logits: Tensor, atoms: Tensor) -> Tensor:
    """[...] action values of the distributions of returns with these logits [..., M]."""
    return (logits.softmax(-1) * atoms).sum(-1)


@torch.no_grad()
def project(
    next_probs: Tensor, rewards: Tensor, discounts: Tensor, terminateds: Tensor, atoms: Tensor
) -> Tensor:
    """Distributions of ``r + discount Z'`` on the atoms (Bellemare et al. 2017, algorithm 1).

    Each atom's probability moves to ``r + discount z``, cut to the support, and is shared by the
    two atoms beside it, the nearer getting more. Written as weights of all pairs of atoms, so that
    it is the same in every run on a GPU, where adding by index is not.

    Args:
        next_probs: [B, M] probabilities of the returns from the next state on.
        rewards: [B] of one step, or the discounted sum of n.
        discounts: [B] gamma, or gamma**n.
        terminateds: [B] bool, nothing comes after the rewards.
        atoms: [M] from ``support``.
    """
    factors = (discounts * ~terminateds).unsqueeze(-1)
    moved = (rewards.unsqueeze(-1) + factors * atoms).clamp(atoms[0], atoms[-1])
    gap = atoms[1] - atoms[0]
    # In place: these are B x M x M numbers.
    distances = ((moved / gap).unsqueeze(-1) - atoms / gap).abs_()
    shares = distances.neg_().add_(1.0).clamp_(min=0.0)
    return torch.bmm(next_probs.unsqueeze(1), shares).squeeze(1)


def cross_entropy(logits: Tensor, target_probs: Tensor) -> Tensor:
    """[B] in nats, between distributions of returns: C51's loss and priority of each row."""
    return -(target_probs * logits.log_softmax(-1)).sum(-1)
