"""Learner actors: the same weights everywhere and every time, and failures that are told."""

import os
import signal
from threading import Event

import numpy as np
import pytest

from rllib import core
from rllib.algorithms.ppo import PPO, PPOConfig, PPOLearner
from rllib.core.exceptions import ActorDiedError
from rllib.envs.make import probe_spaces
from rllib.errors import ConfigError, LearnerError, TrainingError
from rllib.learning import learner_group
from rllib.learning.learner_group import LearnerGroup
from rllib.sampling.env_runner import EnvRunner

SPACES = probe_spaces("CartPole-v1")


@pytest.fixture(scope="module")
def processes():
    modules = ["torch", "gymnasium", "rllib.algorithms.ppo"]
    with core.init(num_cpus=8, resources={"board": 3}, preload=modules):
        yield


def config(num_learners=2, num_env_runners=0):
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=num_env_runners, num_envs_per_env_runner=4)
        .learners(num_learners=num_learners)
        .training(train_batch_size_per_learner=128, minibatch_size=64, num_epochs=2, lr=1e-3)
        .rl_module(model_config={"fcnet_hiddens": (16,)})
        .debugging(seed=7)
    )


# Before the runtime that all others share.
def test_the_inline_engine_takes_one_learner():
    with core.init(address="inline"), pytest.raises(ConfigError, match=r"num_learners.*inline"):
        LearnerGroup(PPOLearner, config(), SPACES)


@pytest.fixture(scope="module")
def fragment():
    runner = EnvRunner(config(), SPACES, 0)
    runner.set_weights(PPOLearner(config(), SPACES).get_weights(), 1)
    return runner.sample()[0]


@pytest.fixture
def group(processes):
    """A group of three learners of a class."""
    made = []

    def make(learner_class, settings=None):
        made.append(LearnerGroup(learner_class, settings or config(3), SPACES))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def train(settings, iterations=3):
    with settings.build_algo() as algorithm:
        for _ in range(iterations):
            result = algorithm.train()
        weights = core.get(
            [worker.call("get_module_state") for worker in algorithm.learner_group.workers]
        )
        for name, array in weights[0].items():
            for others in weights[1:]:
                np.testing.assert_array_equal(others[name], array)
        return algorithm.params_hash(), result


@pytest.mark.parametrize(("num_learners", "num_env_runners"), [(2, 3), (3, 0)])
def test_all_learners_have_the_same_weights_in_every_run(processes, num_learners, num_env_runners):
    first, result = train(config(num_learners, num_env_runners))
    second, _ = train(config(num_learners, num_env_runners))
    assert first == second
    trained = result["learners"]["default_policy"]
    assert trained["num_module_steps_trained"] == result["env_runners"]["num_env_steps_sampled"]
    assert trained["num_gradient_updates_lifetime"] == 3 * 2 * 2


def test_a_resumed_run_is_the_same_run(processes, tmp_path):
    expected, _ = train(config(), iterations=4)
    with config().build_algo() as first:
        first.train()
        first.train()
        path = first.save_to_path(tmp_path / "checkpoint")
    with PPO.from_checkpoint(path) as second:
        second.train()
        second.train()
        assert second.params_hash() == expected
    with PPO.from_checkpoint(path, config(num_learners=3)) as third:  # goes on in another layout
        assert third.train()["training_iteration"] == 3


def averaged_gradient(worker):
    return worker.actor.__ray_call__.remote(
        lambda learner: learner.optimizers["default_optimizer"].gradient.numpy().copy()
    )


def test_the_averaged_gradient_is_that_of_the_whole_batch(group, fragment):
    settings = config(3).training(minibatch_size=None, num_epochs=1)
    alone = PPOLearner(settings, SPACES)
    alone.update(fragment)
    learners = group(PPOLearner, settings)
    learners.fetch_metrics(learners.update([fragment]))
    for gradient in core.get([averaged_gradient(worker) for worker in learners.workers]):
        expected = alone.optimizers["default_optimizer"].gradient.numpy()
        np.testing.assert_allclose(gradient, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"num_gpus_per_learner": 99}, "num_gpus_per_learner: 2 learners want 99 GPU each, but"),
        (
            {"custom_resources_per_learner": {"tape": 1}},
            "custom_.* want 1 tape each, but there are 0",
        ),
    ],
)
def test_resources_that_are_not_there_are_refused(processes, settings, text):
    with pytest.raises(ConfigError, match=text):
        LearnerGroup(PPOLearner, config().learners(**settings), SPACES)


def test_a_learner_has_the_resources_that_it_asks_for(group):
    group(PPOLearner, config(2).learners(custom_resources_per_learner={"board": 1}))
    assert core.available_resources()["board"] == 1


class Moody(PPOLearner):
    """Learner 1 does something else at its second update."""

    num_calls = 0

    def build_train_batch(self, batches):
        self.num_calls += 1
        if self.num_calls == 2 and self.group.rank == 1:
            self.misbehave()
        return super().build_train_batch(batches)


class Dying(Moody):
    def misbehave(self):
        os.kill(os.getpid(), signal.SIGKILL)


class Raising(Moody):
    def misbehave(self):
        raise ZeroDivisionError("not today")


class Hanging(Moody):
    def misbehave(self):
        Event().wait()


def learn_twice(learners, fragment):
    learners.fetch_metrics(learners.update([fragment]))
    learners.fetch_metrics(learners.update([fragment]))


def test_a_learner_that_dies_is_named(group, fragment):
    with pytest.raises(LearnerError, match=r"learner 1 of 3 died: .*(SIGKILL|signal 9)") as caught:
        learn_twice(group(Dying), fragment)
    assert caught.value.rank == 1
    assert isinstance(caught.value.__cause__, ActorDiedError)


def test_a_single_learner_that_dies_is_named_as_well(group, fragment):
    class Alone(PPOLearner):
        def build_train_batch(self, batches):
            os.kill(os.getpid(), signal.SIGKILL)

    learners = group(Alone, config(1))
    with pytest.raises(LearnerError, match="learner 0 of 1 died"):
        learners.fetch_metrics(learners.update([fragment]))


def test_a_learner_that_hangs_is_named(group, fragment, monkeypatch):
    monkeypatch.setattr(learner_group, "LAST_WORDS_S", 0.5)
    settings = config(3).fault_tolerance(learner_timeout_s=2.0)
    with pytest.raises(LearnerError, match=r"learner 1 of 3 does not answer: .*within 1 s"):
        learn_twice(group(Hanging, settings), fragment)


def test_what_a_learner_raises_is_raised_here_and_the_next_update_works(group, fragment):
    learners = group(Raising)
    with pytest.raises(ZeroDivisionError, match="not today"):
        learn_twice(learners, fragment)
    assert learners.fetch_metrics(learners.update([fragment]))["num_module_steps_trained"] > 0


class Refusing(PPOLearner):
    """The loss of learner 1 is not finite."""

    def compute_loss(self, minibatch):
        loss = super().compute_loss(minibatch)
        return loss._replace(total=loss.total * (float("nan") if self.group.rank == 1 else 1.0))


def test_a_loss_that_is_not_finite_somewhere_is_told(group, fragment):
    learners = group(Refusing)
    with pytest.raises(TrainingError, match="total_loss = nan"):
        learners.fetch_metrics(learners.update([fragment]))


def test_several_updates_may_be_under_way(group, fragment):
    learners = group(PPOLearner)
    updates = [learners.update([fragment]) for _ in range(3)]
    steps = [learners.fetch_metrics(each)["num_gradient_updates_lifetime"] for each in updates]
    assert steps == [steps[0], 2 * steps[0], 3 * steps[0]]
