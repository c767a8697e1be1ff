"""What becomes of continuous actions on the way to the environment, by ``normalize_actions`` and
``clip_actions``."""

import gymnasium as gym
import numpy as np
import pytest

from rllib import core
from rllib.actions import action_head, uniform_head
from rllib.algorithms.ppo import PPOConfig
from rllib.algorithms.sac import SACConfig
from rllib.envs.make import Spaces
from rllib.modules.rl_module import RLModule
from rllib.sampling.env_runner import EnvRunner

BOX = gym.spaces.Box(np.array([-4.0, 0.0], np.float32), np.array([2.0, 0.5], np.float32))
OBS = gym.spaces.Box(-1, 1, (2,))
ACTIONS = [[0.5, -0.5], [3.0, -2.0]]
"""Of the policy: within [-1, 1], and beyond."""
IN_ENV = {
    # -4 + 1.5 * 6 / 2, 0 + 0.5 * 0.5 / 2, and the bounds for what lies beyond.
    (True, False): [[0.5, 0.125], [2.0, 0.0]],
    (True, True): [[0.5, 0.125], [2.0, 0.0]],
    (False, True): [[0.5, 0.0], [2.0, 0.0]],
    (False, False): ACTIONS,
}
SETTINGS = pytest.mark.parametrize(("normalize", "clip"), IN_ENV)


class Recorder(gym.Env):
    """Remembers all actions."""

    observation_space, action_space = OBS, BOX

    def __init__(self, env_config):
        self.actions = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.actions.append(np.array(action))
        return np.zeros(2, np.float32), 0.0, False, len(self.actions) % 4 == 0, {}


def config(normalize=True, clip=False, config_class=PPOConfig):
    return (
        config_class()
        .environment(Recorder, normalize_actions=normalize, clip_actions=clip)
        .env_runners(num_env_runners=0, rollout_fragment_length=20)
        .training(train_batch_size_per_learner=20, minibatch_size=None)
        .rl_module(model_config={"fcnet_hiddens": [4]})
    )


def rolled(settings):
    """Actions of the policy and of the environment in one fragment."""
    runner = EnvRunner(settings, Spaces(OBS, BOX), 0)
    module = settings.get_rl_module_spec(Spaces(OBS, BOX)).build()
    weights = {name: part.numpy() for name, part in module.policy_state().items()}
    runner.set_weights(weights, 1)
    batch, _ = runner.sample()
    actions = np.array(runner.env.env.envs[0].unwrapped.actions)
    runner.stop()
    return batch.actions[:, 0], actions


@SETTINGS
def test_a_head_fits_actions_as_it_is_told(normalize, clip):
    head = action_head(BOX).fitted(config(normalize, clip).action_fit)
    np.testing.assert_allclose(head.to_env(np.float32(ACTIONS)), IN_ENV[normalize, clip])


@SETTINGS
def test_parts_of_an_action_are_fitted_as_a_whole_action_is(normalize, clip):
    space = gym.spaces.Dict({"choice": gym.spaces.Discrete(3, start=7), "move": BOX})
    head = action_head(space).fitted(config(normalize, clip).action_fit)
    in_env = head.to_env(np.float32([[2, *row] for row in ACTIONS]))
    np.testing.assert_allclose(in_env["move"], IN_ENV[normalize, clip])
    np.testing.assert_array_equal(in_env["choice"], [9, 9])


@pytest.mark.parametrize(
    "space", [gym.spaces.Discrete(2, start=3), gym.spaces.Box(3, 9, (), np.int64)]
)
def test_choices_always_become_those_of_the_space(space):
    head = action_head(space).fitted("none")
    assert head.to_env(np.zeros((1, *head.action_shape), np.int64)).ravel().tolist() == [3]


@pytest.mark.parametrize("fit", ["stretch", "clip", "none"])
def test_random_actions_cover_the_space_whatever_the_fit(fit):
    random = uniform_head(action_head(BOX).fitted(fit))
    noise = random.draw_noise(np.random.default_rng(2), (10_000,))
    actions = random.sample(np.zeros((10_000, 4), np.float32), noise)
    in_env = random.to_env(actions)
    np.testing.assert_allclose(in_env.min(0), BOX.low, atol=5e-3)
    np.testing.assert_allclose(in_env.max(0), BOX.high, atol=5e-3)
    np.testing.assert_allclose(in_env.mean(0), [-1.0, 0.25], atol=0.05)
    density = 0.25 if fit == "stretch" else 1 / (6 * 0.5)
    np.testing.assert_allclose(random.log_prob(noise, actions), np.log(density), rtol=1e-6)


@SETTINGS
@pytest.mark.parametrize("config_class", [PPOConfig, SACConfig])
def test_the_environment_gets_fitted_actions_and_training_those_of_the_policy(
    config_class, normalize, clip
):
    settings = config(normalize, clip, config_class)
    if config_class is SACConfig:
        settings.training(replay_buffer_config={"capacity": 100})
    actions, in_env = rolled(settings)
    low, high = (BOX.low, BOX.high) if normalize or clip else (-np.inf, np.inf)
    raw = BOX.low + (actions + 1) * (BOX.high - BOX.low) / 2 if normalize else actions
    np.testing.assert_allclose(in_env, raw.clip(low, high), rtol=1e-5, atol=1e-6)


@SETTINGS
def test_a_module_acts_as_it_was_trained_also_out_of_a_checkpoint(tmp_path, normalize, clip):
    settings = config(normalize, clip)
    obs = np.zeros((200, 2), np.float32)
    with core.init(address="inline"), settings.build_algo() as algo:
        module = algo.get_module()
        path = algo.save_to_path(tmp_path)
    acted = module.act(obs, explore=True, rng=np.random.default_rng(0))
    outside = [not BOX.contains(action) for action in acted]
    assert any(outside) == (not normalize and not clip)
    again = RLModule.from_checkpoint(path).act(obs, explore=True, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(again, acted)
