"""State of the user's own is checked when it is saved and, by what is declared, when loaded."""

from typing import Any

import numpy as np
import pytest

from rllib.algorithms.ppo import PPO, PPOConfig, PPOLearner
from rllib.callbacks import RLlibCallback
from rllib.checkpoints import checkpoint
from rllib.checkpoints.declared import as_loaded, check_declared
from rllib.errors import CheckpointError

OWN: dict[str, Any] = {
    "count": 3,
    "mean": 0.5,
    "sums": np.zeros(4, np.float32),
    "by_name": {},
    "best": None,
    "done": False,
    "nested": {"x": [1]},
}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"count": 7, "mean": 2, "best": 9.0, "by_name": {"a": 1}, "nested": {"x": []}}, None),
        ({"count": 0.5}, "/count should be int, but is float"),
        ({"count": True}, "/count should be int, but is bool"),
        ({"mean": "a"}, "/mean should be float, but is str"),
        ({"sums": np.zeros(5, np.float32)}, r"/sums should be float32 \[4\], but is float32 \[5\]"),
        ({"sums": np.zeros(4)}, r"/sums should be float32 \[4\], but is float64 \[4\]"),
        ({"sums": [0.0]}, "/sums should be float32 .* but is list"),
        ({"nested": {}}, "/nested/x is missing"),
        ({"nested": {"x": [], "y": 1}}, "/nested/y is unknown"),
        ({"by_name": []}, "/by_name should be dict, but is list"),
    ],
)
def test_what_is_loaded_is_what_is_declared(change: dict[str, Any], told: str | None) -> None:
    if told is None:
        check_declared("Mine", OWN | change, as_loaded(OWN))
    else:
        with pytest.raises(CheckpointError, match=f"the state of Mine is not what .*: {told}"):
            check_declared("Mine", OWN | change, as_loaded(OWN))


class Counting(RLlibCallback):
    def __init__(self) -> None:
        self.state: Any = {"iterations": 0, "returns": np.zeros(2)}

    def on_train_result(self, *, result: dict[str, Any], **kwargs: Any) -> None:
        self.state["iterations"] += 1

    def get_state(self) -> Any:
        return self.state

    def set_state(self, state: Any) -> None:
        self.state = state


class KeepingLearner(PPOLearner):
    kept: Any = 0

    def get_state(self) -> dict[str, Any]:
        return super().get_state() | {"kept": self.kept}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self.kept = state["kept"]


class Keeping(PPO):
    kept: Any = 0

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return super().get_state(*args, **kwargs) | {"kept": self.kept}

    def _set_state(self, state: dict[str, Any]) -> None:
        super()._set_state(state)
        self.kept = state["kept"]


@pytest.fixture
def config() -> PPOConfig:
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0)
        .rl_module(model_config={"fcnet_hiddens": [4]})
        .training(train_batch_size_per_learner=16, minibatch_size=None, num_epochs=1)
        .training(learner_class=KeepingLearner)
        .callbacks(Counting)
    )


def test_callbacks_learners_and_algorithms_keep_their_state(
    config: PPOConfig, tmp_path: Any
) -> None:
    with Keeping(config) as algo:
        algo.train()
        algo.kept = 5
        algo.learner_group.foreach_learner(lambda learner: setattr(learner, "kept", 7))
        path = algo.save_to_path(tmp_path / "checkpoint")
    with Keeping.from_checkpoint(path, config) as algo:
        (counting,) = algo.callbacks.objects
        assert counting.state["iterations"] == 1
        assert algo.kept == 5
        assert algo.learner_group.foreach_learner(lambda learner: learner.kept) == [7]


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (
            ("callbacks", "Counting", "iterations"),
            "state of Counting .*: /iterations should be int",
        ),
        (("kept",), "state of Keeping .*: /kept should be int, but is str"),
        (("learner", "kept"), "state of KeepingLearner .*: /kept should be int, but is str"),
    ],
)
def test_a_state_that_is_not_as_declared_changes_nothing(
    config: PPOConfig, tmp_path: Any, place: tuple[str, ...], told: str
) -> None:
    with Keeping(config) as algo:
        path = algo.save_to_path(tmp_path / "checkpoint")
        state, metadata = checkpoint.load(path)
        state["iteration"], parent = 9, state
        for name in place[:-1]:
            parent = parent[name]
        parent[place[-1]] = "seven"
        checkpoint.save(path, state, metadata=metadata)
        with pytest.raises(CheckpointError, match=told):
            algo.restore_from_path(path)
        assert algo.iteration == 0
        del parent[place[-1]]
        checkpoint.save(path, state, metadata=metadata)
        with pytest.raises(CheckpointError, match=f"/{place[-1]} is missing"):
            algo.restore_from_path(path)


def test_what_cannot_be_saved_is_named(config: PPOConfig, tmp_path: Any) -> None:
    with Keeping(config) as algo:
        (counting,) = algo.callbacks.objects
        counting.state = {"deep": {"er": object()}}
        with pytest.raises(CheckpointError, match=r"/Counting/deep/er.*: a object cannot be saved"):
            algo.save_to_path(tmp_path / "checkpoint")
        counting.state = {}
        algo.kept = {1, 2}
        with pytest.raises(CheckpointError, match=r"/kept.*: a set cannot be saved"):
            algo.save_to_path(tmp_path / "checkpoint")


def test_a_state_that_contains_itself_is_an_error_of_its_own(
    config: PPOConfig, tmp_path: Any
) -> None:
    with Keeping(config) as algo:
        (counting,) = algo.callbacks.objects
        counting.state["again"] = counting.state
        with pytest.raises(CheckpointError, match="nested too deeply, or contains itself"):
            algo.save_to_path(tmp_path / "checkpoint")


def test_arrays_of_another_byte_order_come_back(config: PPOConfig, tmp_path: Any) -> None:
    """They would be saved, and then refused as not what is declared."""
    there = np.arange(3, dtype=">f4")
    with Keeping(config) as algo:
        algo.callbacks.objects[0].state["there"] = there
        path = algo.save_to_path(tmp_path / "checkpoint")
        algo.restore_from_path(path)
        back = algo.callbacks.objects[0].state["there"]
        assert back.dtype == np.float32
        assert np.array_equal(back, there)
        algo.callbacks.objects[0].state["there"] = there
        algo.restore_from_path(path)


def test_a_callback_that_is_new_begins_anew(config: PPOConfig, tmp_path: Any) -> None:
    with Keeping(config.copy().callbacks(callbacks_class=[])) as algo:
        path = algo.save_to_path(tmp_path / "checkpoint")
    with Keeping.from_checkpoint(path, config) as algo:
        assert algo.callbacks.objects[0].state["iterations"] == 0
