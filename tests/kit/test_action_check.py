"""What connectors make of actions has to be actions, from the first step to the last."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rllib.connectors.action_check import ActionCheck
from rllib.connectors.base import Connector, Pipeline
from rllib.envs.make import Spaces
from rllib.errors import TrainingError

OBS = gym.spaces.Box(-1.0, 1.0, (3,))
PAIR = gym.spaces.Dict({"a": gym.spaces.Discrete(2), "b": gym.spaces.Box(-1.0, 1.0, (2,))})
BOX = gym.spaces.Box(-2.0, 2.0, (1,))
CHOICE = gym.spaces.Discrete(3, start=1)


class Changes(Connector):
    def __init__(self, change: Callable[[Any], Any]) -> None:
        self.change = change

    def on_actions(self, actions: Any) -> Any:
        return self.change(actions)


def passed(space: gym.Space[Any], actions: Any, change: Callable[[Any], Any]) -> Any:
    pipeline = Pipeline([Changes(change), Connector()])
    pipeline.connect(Spaces(OBS, space), 2)
    return pipeline.on_actions(actions)


@pytest.mark.parametrize(
    ("space", "actions", "change", "told"),
    [
        (CHOICE, np.array([1, 3]), lambda a: a[:1], r"int64 of shape \[1\]; .* 2 actions"),
        (CHOICE, np.array([1, 3]), lambda a: a + 1, "action = 4 for environment 1"),
        (CHOICE, np.array([1, 3]), lambda a: a + 0.5, r"float64 of shape \[2\]"),
        (CHOICE, np.array([1, 3]), lambda a: None, r"object of shape \[\]"),
        (BOX, np.zeros((2, 1), np.float32), lambda a: a[:, 0], r"float32 of shape \[2\]"),
        (BOX, np.zeros((2, 1), np.float32), lambda a: a / 0, "nan in the action of environment 0"),
        (
            PAIR,
            {"a": np.array([0, 1]), "b": np.zeros((2, 2), np.float32)},
            lambda a: {"a": a["a"]},
            "a dict of 1 parts that do not fit",
        ),
    ],
)
def test_what_is_no_action_is_refused_by_the_connectors_name(
    space: gym.Space[Any], actions: Any, change: Callable[[Any], Any], told: str
) -> None:
    with np.errstate(all="ignore"), pytest.raises(TrainingError, match=f"Changes.*{told}"):
        passed(space, actions, change)


def test_real_numbers_may_leave_their_bounds_and_nothing_else_is_looked_at() -> None:
    actions = np.ones((2, 1), np.float32)
    np.testing.assert_array_equal(passed(BOX, actions, lambda a: a + 7), actions + 7)
    wrong = np.array([9, 9])
    assert passed(CHOICE, wrong, lambda a: a) is wrong  # as the module gave them


def test_environments_are_counted_wherever_their_actions_lie() -> None:
    assert ActionCheck(PAIR).count({"a": np.zeros(5), "b": np.zeros((5, 2))}) == 5
    assert ActionCheck(BOX).count((np.zeros((4, 1)),)) == 4
