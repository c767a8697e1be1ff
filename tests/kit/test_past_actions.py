"""What was done before, beside the observation: for every space of actions."""

import gymnasium as gym
import numpy as np
import pytest

from rllib import core
from rllib.actions import action_head
from rllib.algorithms.ppo import PPO, PPOConfig
from rllib.connectors import PrevActionsPrevRewards
from rllib.envs.make import Spaces
from rllib.envs.packing import leaves
from rllib.envs.vector import EnvStep
from rllib.modules.observations import ObservationEncoder
from rllib.modules.spec import MultiRLModuleSpec, RLModuleSpec

OBS = gym.spaces.Box(-1, 1, (2,))
DISCRETE, BOX = gym.spaces.Discrete(3, start=1), gym.spaces.Box(-2, 2, (2,))
SPACES = [
    DISCRETE,
    BOX,
    gym.spaces.MultiDiscrete([2, 4]),
    gym.spaces.MultiDiscrete([[2, 4]], start=[[1, 0]]),
    gym.spaces.MultiBinary(3),
    gym.spaces.MultiBinary([2, 2]),
    gym.spaces.Box(-1, 2, (2,), np.int8),
    gym.spaces.Tuple([BOX, DISCRETE]),
    gym.spaces.Dict(a=DISCRETE, b=gym.spaces.Tuple([gym.spaces.MultiBinary(2), BOX])),
    gym.spaces.Tuple([gym.spaces.MultiDiscrete([2, 4]) for _ in range(11)]),
]


class Doing(gym.Env):
    """Actions of any space; every episode takes five steps."""

    observation_space = OBS

    def __init__(self, config):
        self.action_space = config["action_space"]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.t += 1
        return np.full(2, self.t / 5, np.float32), 1.0, self.t == 5, False, {}


def drawn(space, num):
    """Actions [num, ...] as a policy makes them."""
    head, rng = action_head(space), np.random.default_rng(0)
    inputs = np.zeros((num, head.num_inputs), np.float32)
    return head.sample(inputs, head.draw_noise(rng, (num,)))


def numbers(space, action):
    """One action as choices one-hot and numbers as they are, in the space's order."""
    if isinstance(space, gym.spaces.Dict | gym.spaces.Tuple):
        parts = space.values() if isinstance(space, gym.spaces.Dict) else space
        widths = [int(np.prod(action_head(part).action_shape, dtype=int)) for part in parts]
        rows = np.split(np.ravel(action), np.cumsum(widths)[:-1])
        return [x for part, row in zip(parts, rows, strict=True) for x in numbers(part, row)]
    if isinstance(space, gym.spaces.Discrete):
        sizes = [int(space.n)]
    elif isinstance(space, gym.spaces.MultiDiscrete):
        sizes = space.nvec.ravel().tolist()
    elif isinstance(space, gym.spaces.Box) and space.dtype == np.int8:
        sizes = (space.high - space.low + 1).tolist()
    else:
        return np.ravel(action).tolist()
    return [
        x for n, chosen in zip(sizes, np.ravel(action), strict=True) for x in np.eye(n)[int(chosen)]
    ]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_past_actions_of_every_space_are_features(space):
    past = PrevActionsPrevRewards(n_prev_actions=1, n_prev_rewards=0)
    seen = past.connect(Spaces(OBS, space), 2).observation
    encoder = ObservationEncoder(gym.spaces.Dict({"p": seen["prev_actions"]}))
    obs = past.on_reset(np.zeros((2, 2), np.float32))
    for number in range(3):
        actions = drawn(space, 6)[2 * number : 2 * number + 2]
        obs = past.on_step(step_of(2), actions).obs
        np.testing.assert_array_equal(obs["obs"], 0.5)
        packed = np.zeros(2, [("p", obs.dtype["prev_actions"])])
        packed["p"] = obs["prev_actions"]
        features = encoder.features(packed)
        for row, action in zip(features, actions, strict=True):
            np.testing.assert_allclose(np.sort(row), np.sort(numbers(space, action)), rtol=1e-6)


def step_of(num, ended=()):
    ends = np.isin(np.arange(num), ended)
    none = np.zeros(num, np.bool_)
    obs = np.full((num, 2), 0.5, np.float32)
    return EnvStep(obs, np.ones(num, np.float32), ends, none, none, None)


def test_the_newest_part_comes_first_and_an_end_forgets_all():
    space = gym.spaces.Tuple([DISCRETE, BOX])
    past = PrevActionsPrevRewards(n_prev_actions=2, n_prev_rewards=0)
    past.connect(Spaces(OBS, space), 1)
    past.on_reset(np.zeros((1, 2), np.float32))
    for action in ([2, 0.5, -0.5], [1, 1.0, -1.0]):
        obs = past.on_step(step_of(1), np.float32([action])).obs
    told = obs["prev_actions"][0]
    assert told["0"].tolist() == [1, 2]
    assert told["1"].tolist() == [1.0, -1.0, 0.5, -0.5]
    heir = PrevActionsPrevRewards(n_prev_actions=2, n_prev_rewards=0)
    heir.connect(Spaces(OBS, space), 1)
    heir.set_state(past.get_state())
    after = [each.on_step(step_of(1), np.float32([[0, 0.0, 0.0]])).obs for each in (past, heir)]
    assert after[0]["prev_actions"].tobytes() == after[1]["prev_actions"].tobytes()
    assert past.on_reset(np.zeros((1, 2), np.float32))["prev_actions"][0]["0"].tolist() == [0, 0]


@pytest.mark.parametrize("space", [SPACES[2], SPACES[7], SPACES[8]], ids=str)
def test_a_memory_may_read_its_past_actions_whatever_they_are(space, tmp_path):
    memory = {"use_lstm": True, "lstm_cell_size": 4, "lstm_use_prev_action": True}
    config = (
        PPOConfig()
        .environment(Doing, env_config={"action_space": space})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2)
        .training(train_batch_size_per_learner=32, minibatch_size=16, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": (4,), **memory})
    )
    with core.init(address="inline"), config.build_algo() as algo:
        algo.train()
        names = [leaf.names for leaf in leaves(algo.get_module().observation_space)]
        assert any(name[0] == "prev_actions" for name in names)
        path = algo.save_to_path(tmp_path / "checkpoint")
        with PPO.from_checkpoint(path, config=config) as again:
            again.train()


def test_a_run_that_goes_on_remembers_what_it_did(tmp_path):
    """The state of CartPole can be saved, and so must be what is seen beside it."""
    memory = {"use_lstm": True, "lstm_use_prev_action": True, "lstm_use_prev_reward": True}
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2)
        .training(train_batch_size_per_learner=32, minibatch_size=16, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": (4,), "lstm_cell_size": 4, **memory})
    )
    with core.init(address="inline"), config.build_algo() as algo:
        algo.train()
        path = algo.save_to_path(tmp_path / "checkpoint")
        algo.train()
        with PPO.from_checkpoint(path) as again:
            again.train()
            assert again.params_hash() == algo.params_hash()


PAST = {"lstm_use_prev_action": True, "lstm_use_prev_reward": True}


def spec_of_one():
    spec = RLModuleSpec(model_config={"fcnet_hiddens": (4,), **PAST})
    return {"rl_module_spec": MultiRLModuleSpec(rl_module_specs={"default_policy": spec})}


@pytest.mark.parametrize(
    "said", [{"model_config": {"fcnet_hiddens": (4,), **PAST}}, spec_of_one()], ids=["all", "one"]
)
def test_a_module_without_a_memory_reads_them_as_well(said):
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0)
        .training(train_batch_size_per_learner=32, minibatch_size=16, num_epochs=1)
        .rl_module(**said)
    )
    with config.build_algo() as algo:
        algo.train()
        module = algo.get_module()
        assert set(module.observation_space.spaces) == {"obs", "prev_actions", "prev_rewards"}
        assert next(module.parameters()).shape == (4, 4 + 2 + 1)
