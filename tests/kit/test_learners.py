"""Several learners in threads: together they do what one does with everything."""

from itertools import chain

import numpy as np
import pytest
import torch
from together import together

from rllib.algorithms.ppo import PPOConfig, PPOLearner
from rllib.envs.make import probe_spaces
from rllib.errors import TrainingError
from rllib.learning.learner import Learner, Loss
from rllib.learning.shares import divide
from rllib.sampling.env_runner import EnvRunner

SPACES = probe_spaces("CartPole-v1")


def config(**training):
    settings = (
        PPOConfig().environment("CartPole-v1").rl_module(model_config={"fcnet_hiddens": (8,)})
    )
    settings.env_runners(num_envs_per_env_runner=5, rollout_fragment_length=40)
    settings.training(num_epochs=2, minibatch_size=None, shuffle_batch_per_epoch=True)
    return settings.training(entropy_coeff=0.01, lr=1e-3, **training)


@pytest.fixture(scope="module")
def fragments():
    """Three, each with its own share of reset rows."""
    runners = [EnvRunner(config(), SPACES, index) for index in range(3)]
    for runner in runners:
        runner.set_weights(PPOLearner(config(), SPACES).get_weights(), 1)
    return [runner.sample()[0] for runner in runners]


def update_all(size, fragments, settings=None, learner_class=PPOLearner):
    """Learners after an update of each with its share, and their metrics."""
    shares = divide(len(fragments), size)
    made = [learner_class(settings or config(), SPACES) for _ in range(size)]

    def member(peers):
        learner = made[peers.rank]
        learner.join(peers)
        own = [fragments[index] for index in shares[peers.rank]]
        return learner, learner.update(*own, shares=[*shares[peers.rank].values()])

    return zip(*together(size, member), strict=True)


def flat(learner):
    return learner.optimizers["default_optimizer"].flat.numpy()


@pytest.mark.parametrize("size", [2, 3, 4, 20])  # of 20 learners some get no environment
def test_they_learn_what_one_learns_from_everything(size, fragments):
    alone = PPOLearner(config(), SPACES)
    expected = alone.update(*fragments)
    learners, metrics = update_all(size, fragments)
    gradient = alone.optimizers["default_optimizer"].gradient
    for learner in learners:
        mine = learner.optimizers["default_optimizer"].gradient
        torch.testing.assert_close(mine, gradient, atol=1e-6, rtol=0)
        np.testing.assert_array_equal(flat(learner), flat(learners[0]))
        assert learner.kl_coeff == alone.kl_coeff
    assert all(each.keys() == expected.keys() for each in metrics)
    for name, value in expected.items():
        if name not in ("learner_began_at", "learner_update_s"):
            assert metrics[0][name] == pytest.approx(value, rel=1e-4, abs=1e-6), name


def test_all_make_the_same_number_of_steps_by_one_operation_each(fragments):
    settings = config().training(minibatch_size=30)
    learners, metrics = update_all(4, fragments[:1], settings)
    sizes = fragments[0].num_env_steps
    num_steps = 2 * round(sizes / 4 / 30)
    assert [each["num_gradient_updates_lifetime"] for each in metrics] == [num_steps] * 4
    assert [each["num_module_steps_trained"] for each in metrics] == [sizes] * 4
    # Two for the moments of advantages, one for the number of rows, one for the metrics.
    assert {learner.group.num_calls for learner in learners} == {num_steps + 4}
    for learner in learners[1:]:
        np.testing.assert_array_equal(flat(learner), flat(learners[0]))


class Failing(PPOLearner):
    """The loss of one member is not finite."""

    def compute_loss(self, minibatch):
        loss = super().compute_loss(minibatch)
        return loss._replace(total=loss.total * (float("nan") if self.group.rank == 1 else 1.0))


def test_what_one_cannot_learn_none_learns(fragments):
    before = flat(PPOLearner(config(), SPACES)).copy()
    made = [Failing(config(), SPACES) for _ in range(2)]

    def member(peers):
        learner = made[peers.rank]
        learner.join(peers)
        with pytest.raises(TrainingError, match="total_loss = nan"):
            learner.update(fragments[peers.rank])

    together(2, member)
    for learner in made:
        np.testing.assert_array_equal(flat(learner), before)


class Shuffler(Learner):
    """Notes in which order it gets its ten rows; reports them."""

    def build_train_batch(self, batches):
        self.seen = []
        return (torch.arange(10.0)[:, None] + 10 * self.group.rank,)

    def compute_loss(self, minibatch):
        (rows,) = minibatch
        self.seen.append(rows[:, 0].tolist())
        loss = sum(p.square().sum() for p in self.module.parameters())
        return Loss(loss, {"first": rows[0, 0]}, {"row": rows[:, 0]})


def test_each_has_random_numbers_of_its_own_and_rows_are_joined_by_rank():
    settings = config().training(minibatch_size=5, num_epochs=1)
    learners, metrics = update_all(2, [None, None], settings, Shuffler)
    assert [10 + row for row in chain(*learners[0].seen)] != [*chain(*learners[1].seen)]
    joined = [*chain(*learners[0].seen, *learners[1].seen)]
    assert [each["row"].tolist() for each in metrics] == [joined] * 2
