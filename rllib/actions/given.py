"""Actions that a module chose by itself, instead of what they are to be drawn from.

They travel as what a network gives out, in rows that are wider than the head's own inputs:

    [ inputs of the distribution, or zeros | actions | log probability, or NaN ]

Legend: ... leading dimensions, B rows, A numbers in an action.
"""

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.actions.base import ActionHead, Floats
from rllib.actions.binary import BernoulliHead
from rllib.actions.box import BoxHead
from rllib.actions.categorical import MultiCategoricalHead
from rllib.actions.composite import CompositeHead
from rllib.columns import Columns
from rllib.errors import TrainingError


def policy_rows(head: ActionHead, output: Mapping[str, Any]) -> Floats:
    """[B, ...] what a module's forward gave out for B observations.

    Args:
        head: draws the actions, if they are to be drawn.
        output: ``action_dist_inputs`` [B, inputs]; or ``actions`` as the action space has them
            (those of bounded Box spaces before they are stretched), with their ``action_logp`` [B]
            if it is known.

    Raises:
        TypeError: there is neither of the two, or actions do not fit the space.
        TrainingError: an action is no member of the space.
    """
    inputs = output.get(Columns.ACTION_DIST_INPUTS)
    if Columns.ACTIONS not in output:
        if inputs is None:
            raise TypeError(
                f"the module's forward gave {sorted(output)}; it should give "
                f"{Columns.ACTION_DIST_INPUTS!r} to draw actions from, or {Columns.ACTIONS!r}"
            )
        return _fitting(head, np.asarray(inputs))
    actions = _own(head, output[Columns.ACTIONS])
    dist_inputs = np.zeros((len(actions), head.num_inputs), np.float32)
    logp = output.get(Columns.ACTION_LOGP)
    if inputs is not None:
        dist_inputs[:] = _fitting(head, np.asarray(inputs))
        logp = head.log_prob(dist_inputs, actions) if logp is None else logp
    logp = np.full(len(actions), np.nan) if logp is None else np.asarray(logp)
    flat = actions.reshape(len(actions), -1)
    return np.concatenate([dist_inputs, flat, logp[:, None]], 1, dtype=np.float32)


def _fitting(head: ActionHead, inputs: Floats) -> Floats:
    if inputs.shape[-1:] != (head.num_inputs,):
        raise TypeError(
            f"the module's forward gave {Columns.ACTION_DIST_INPUTS!r} of shape "
            f"{list(inputs.shape)}; {head.num_inputs} numbers are needed for each action of its "
            f"space: give the last layer that width"
        )
    return inputs


def is_given(head: ActionHead, rows: NDArray[Any]) -> bool:
    """Whether rows hold actions that were chosen already."""
    return bool(rows.shape[-1] > head.num_inputs)


def choose(head: ActionHead, rows: Floats, noise: Floats | None) -> NDArray[Any]:
    """[B, ...] actions: those that were chosen, or drawn by noise, or without it the likeliest."""
    if is_given(head, rows):
        given = rows[:, head.num_inputs : -1].reshape(len(rows), *head.action_shape)
        return given.astype(head.action_dtype)
    return head.mode(rows) if noise is None else head.sample(rows, noise)


def dist_inputs(head: ActionHead, rows: Floats) -> Floats:
    """[..., inputs] the part that is the distribution's."""
    return rows[..., : head.num_inputs] if is_given(head, rows) else rows


def log_prob(head: ActionHead, rows: Floats, actions: NDArray[Any]) -> Floats:
    """[T, N] log probability of actions [T, N, ...] that came of rows [T, N, ...]."""
    if is_given(head, rows):
        return rows[..., -1].copy()
    flat = head.log_prob(rows.reshape(-1, rows.shape[-1]), actions.reshape(-1, *actions.shape[2:]))
    return flat.reshape(actions.shape[:2])


def _own(head: ActionHead, actions: Any) -> NDArray[Any]:
    """[B, ...] actions of the space as the head would have drawn them."""
    if isinstance(head, CompositeHead):
        leaves = list(_leaves(head.space, actions))
        parts = [_own(part.head, leaf) for part, leaf in zip(head.parts, leaves, strict=True)]
        return np.concatenate([part.reshape(len(part), -1) for part in parts], 1, dtype=np.float32)
    found = np.asarray(actions)
    num_actions = prod(head.action_shape)
    if found.ndim == 0 or found.size != len(found) * num_actions:
        raise TypeError(
            f"the module's forward gave actions of shape {found.shape}; it should be one for each "
            f"observation, of {num_actions} number(s)"
        )
    own = found.reshape(len(found), *head.action_shape)
    if not isinstance(head, BoxHead):  # choices are counted from 0
        first = np.zeros((1, *head.action_shape), head.action_dtype)
        own = own - np.asarray(head.to_env(first)).reshape(1, *head.action_shape)
    _check_members(head, own, found)
    return own.astype(head.action_dtype)


def _check_members(head: Any, own: NDArray[Any], given: NDArray[Any]) -> None:
    """Refuse choices that there are not, and real numbers that are none."""
    outside = ~np.isfinite(own)
    if not isinstance(head, BoxHead):
        outside |= (own < 0) | (own >= _num_choices(head)) | (own != np.floor(own))
    if not outside.any():
        return
    row, *place = (int(i) for i in np.argwhere(outside)[0])
    value = given.reshape(own.shape)[(row, *place)]
    raise TrainingError(
        f"the module's forward gave actions{[row, *place]} = {value}, which is no member of its "
        f"action space {head.space}; give members of it for every observation"
    )


def _num_choices(head: Any) -> Any:
    """Of each number in an action that is no real one."""
    if isinstance(head, MultiCategoricalHead):
        return np.asarray(head.sizes)
    return 2 if isinstance(head, BernoulliHead) else head.num_inputs


def _leaves(space: gym.Space[Any], actions: Any) -> Iterator[Any]:
    """The parts of batched actions, in gymnasium's order."""
    if isinstance(space, gym.spaces.Dict):
        for key, part in space.spaces.items():
            yield from _leaves(part, actions[key])
    elif isinstance(space, gym.spaces.Tuple):
        for index, part in enumerate(space.spaces):
            yield from _leaves(part, actions[index])
    else:
        yield actions
