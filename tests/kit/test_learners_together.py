"""Several learners of every algorithm compute the gradients that one computes of everything."""

import numpy as np
import pytest
from point_env import POINT
from together import together

from rllib import core
from rllib.algorithms.dqn import DQNConfig
from rllib.algorithms.ppo import PPOConfig
from rllib.algorithms.sac import SACConfig
from rllib.algorithms.td3 import TD3Config
from rllib.config.multi_agent import DEFAULT_POLICY_ID
from rllib.envs.multi_agent_cartpole import MultiAgentCartPole
from rllib.learning.learner_group import LearnerGroup
from rllib.learning.shares import divide
from rllib.modules.actor_q_module import SACModule
from rllib.modules.spec import RLModuleSpec
from rllib.tensors import rows

NUM_ROWS = 48
TOLERANCE = {"atol": 1e-6, "rtol": 0}


def gradients(learner):
    return {name: each.gradient.numpy().copy() for name, each in learner.optimizers.items()}


def settings_of(config_class, env="CartPole-v1", **training):
    return (
        config_class()
        .environment(env)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=6, rollout_fragment_length=20)
        .learners(num_learners=0)
        .training(grad_clip=None, **training)
        .rl_module(model_config={"fcnet_hiddens": (8,), "head_fcnet_hiddens": (8,)})
        .debugging(seed=7)
    )


def off_policy(config_class, env="CartPole-v1", **training):
    replay = {"replay_buffer_config": {"type": "EpisodeReplayBuffer", "capacity": 1000}}
    beginning = {"num_steps_sampled_before_learning_starts": 100}
    return settings_of(config_class, env, **replay, **beginning, **training)


def remembering(settings):
    memory = {"use_lstm": True, "lstm_cell_size": 4, "max_seq_len": 5}
    return settings.rl_module(model_config=settings.model.updated(memory))


OFF_POLICY = {
    "dqn": lambda: off_policy(DQNConfig),
    "discrete sac": lambda: off_policy(SACConfig, actor_lr=1e-3),
    "td3": lambda: off_policy(TD3Config, POINT, target_noise=0.0, policy_delay=1),
    "dqn, memory": lambda: remembering(off_policy(DQNConfig, n_step=2)),
    "discrete sac, memory": lambda: remembering(off_policy(SACConfig, burn_in_len=2)),
}
DRAWING = {
    "sac": lambda: off_policy(SACConfig, POINT, actor_lr=1e-3),
    "sac in torch": lambda: off_policy(SACConfig, POINT, actor_lr=1e-3).rl_module(
        rl_module_spec=RLModuleSpec(module_class=SameSAC)
    ),
    "td3": lambda: off_policy(TD3Config, POINT, policy_delay=1),
    "noisy dqn": lambda: off_policy(DQNConfig, noisy=True),
    "sac, memory": lambda: remembering(off_policy(SACConfig, POINT)),
    "td3, memory": lambda: remembering(off_policy(TD3Config, POINT, policy_delay=1)),
    "noisy dqn, memory": lambda: remembering(off_policy(DQNConfig, noisy=True)),
}
"""Of random numbers that losses draw. Threads share torch's, so that these are processes."""


class SameSAC(SACModule):
    """Whose gradients are autograd's: nobody works out by hand what may be something else."""

    def _forward_train(self, batch, **kwargs):
        return super()._forward_train(batch, **kwargs)


def together_and_alone(make_learner, batches_of, size):
    """Gradients after one update of one learner with everything, and of each of several."""
    alone = make_learner(1)
    alone.update(*batches_of(0, 1))
    made = [make_learner(size) for _ in range(size)]

    def member(peers):
        made[peers.rank].join(peers)
        return made[peers.rank].update(*batches_of(peers.rank, size))

    together(size, member)
    return gradients(alone), [gradients(each) for each in made]


def drawn(settings):
    """A draw of ``NUM_ROWS`` from a replay buffer, and the spaces of a learner."""
    settings.training(train_batch_size_per_learner=NUM_ROWS)
    with settings.copy().build_algo() as algo:
        while len(algo.replays[DEFAULT_POLICY_ID]) < 150:
            algo.collect()
        return algo.draws(1)[DEFAULT_POLICY_ID], algo.interface.spaces


def part(draw, rank, number):
    share = NUM_ROWS // number
    return rows(draw, slice(rank * share, (rank + 1) * share))


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("make", OFF_POLICY.values(), ids=OFF_POLICY)
def test_off_policy_learners(make, size):
    settings = make()
    draw, spaces = drawn(settings)
    learner_class = settings.algo_class.learner_class

    def learner(number):
        own = settings.copy().training(train_batch_size_per_learner=NUM_ROWS // number)
        return learner_class(own, spaces)

    alone, several = together_and_alone(
        learner, lambda rank, number: [part(draw, rank, number)], size
    )
    check_same(alone, several)


@pytest.fixture(scope="module")
def processes():
    with core.init(num_cpus=4):
        yield


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("make", DRAWING.values(), ids=DRAWING)
def test_off_policy_learners_that_draw(make):
    """In two updates: noise goes on alike at all of them."""
    settings = make()
    draw, spaces = drawn(settings)
    found = []
    for number in (1, 3):
        own = settings.copy().learners(num_learners=number)
        own.training(train_batch_size_per_learner=NUM_ROWS // number)
        group = LearnerGroup(settings.algo_class.learner_class, own.freeze(), spaces)
        for _ in range(2):
            group.fetch_metrics(group.update([part(draw, i, number) for i in range(number)]))
            found.append(group.foreach_learner(gradients))
        group.stop()
    for alone, several in zip(found[:2], found[2:], strict=True):
        check_same(alone[0], several)


def stream(learner):
    return learner.get_streams()["torch"]


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("name", ["sac, memory", "td3, memory", "noisy dqn, memory"])
def test_a_learner_without_steps_to_train_on_draws_as_the_others(name):
    """All its sequences ended within the burn-in; the others' noise goes on without it."""
    settings = DRAWING[name]()
    draw, spaces = drawn(settings)
    own = settings.copy().learners(num_learners=2)
    own.training(train_batch_size_per_learner=NUM_ROWS // 2)
    group = LearnerGroup(settings.algo_class.learner_class, own.freeze(), spaces)
    before = group.foreach_learner(stream)
    full, empty = (part(draw, rank, 2) for rank in range(2))
    empty = empty._replace(train_mask=np.zeros_like(empty.train_mask))
    learned = group.fetch_metrics(group.update([full, empty]))
    first, second = group.foreach_learner(stream)
    group.stop()
    assert learned["num_module_steps_trained"] == full.train_mask.sum()
    assert np.isfinite(learned["qf_loss"])
    errors = learned["td_errors"]
    assert len(errors) == NUM_ROWS
    assert not errors[NUM_ROWS // 2 :].any()
    np.testing.assert_equal(second, first)
    assert np.not_equal(first["cpu"], before[0]["cpu"]).any()


def check_same(alone, several):
    """Gradients are the same but for rounding, and there are some."""
    for name, expected in alone.items():
        assert np.abs(expected).max() > 1e-3
        for each in several:
            np.testing.assert_allclose(each[name], expected, **TOLERANCE)


TWO = {
    "policies": ["even", "odd"],
    "policy_mapping_fn": lambda agent, episode: ("even", "odd")[agent % 2],
}


def test_learners_of_several_agents():
    settings = settings_of(PPOConfig, MultiAgentCartPole, num_epochs=1, minibatch_size=None)
    settings.environment(env_config={"num_agents": 4}).multi_agent(**TWO)
    settings.training(train_batch_size_per_learner=480, use_kl_loss=False)
    with settings.build_algo() as algo:
        fragments = [algo.env_runner.sample()[0] for _ in range(2)]
        learner_class, spaces = type(algo.learner_group.workers[0].target), algo.interface.spaces
    made = [learner_class(settings, spaces) for _ in range(3)]
    made[2].update(*fragments)
    shares = divide(2, 2)

    def member(peers):
        learner, own = made[peers.rank], shares[peers.rank]
        learner.group = peers
        for each in learner.learners.values():
            each.join(peers)
        return learner.update(*(fragments[i] for i in own), shares=[*own.values()])

    together(2, member)
    alone = made.pop()
    for module_id in ("even", "odd"):
        expected = gradients(alone.learners[module_id])["default_optimizer"]
        assert np.abs(expected).max() > 1e-3
        for several in made:
            found = gradients(several.learners[module_id])["default_optimizer"]
            np.testing.assert_allclose(found, expected, **TOLERANCE)
