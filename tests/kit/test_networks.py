"""Shapes and invariances of the default networks."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllib.algorithms.ppo import PPOConfig
from rllib.config.sections import ModelConfig
from rllib.errors import ConfigError
from rllib.modules.actor_critic import ActorCriticModule
from rllib.modules.networks import ImageEncoder, Memory
from rllib.modules.observations import ObservationEncoder
from rllib.policies.mlp_policy import MLPPolicy
from rllib.policies.policy import TorchPolicy

PIXELS = gym.spaces.Box(0, 255, (84, 84, 4), np.uint8)
STACKED = gym.spaces.Box(0, 255, (4, 84, 84), np.uint8)
DISCRETE = gym.spaces.Discrete(3)


def test_an_image_means_the_same_whichever_way_its_channels_stand():
    torch.manual_seed(0)
    last, first = (ImageEncoder(space.shape, ModelConfig()) for space in (PIXELS, STACKED))
    first.load_state_dict(last.state_dict())
    images = torch.randint(0, 256, (2, 5, 84, 84, 4), dtype=torch.uint8)
    out = last(images)
    assert out.shape == (2, 5, 64 * 7 * 7)
    torch.testing.assert_close(first(images.movedim(-1, -3)), out)


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({}, 3136),
        ({"encoder": "impala"}, 32 * 11 * 11),
        ({"conv_filters": [[16, 8, 4], [32, 4, 2]]}, 32 * 9 * 9),
    ],
)
def test_convolutions(settings, size):
    assert ImageEncoder((84, 84, 4), ModelConfig(**settings)).size == size


def test_convolutions_that_do_not_fit_say_so():
    with pytest.raises(ConfigError, match=r"shape \(10, 10, 4\).*set conv_filters"):
        ImageEncoder((10, 10, 4), ModelConfig())


@pytest.mark.parametrize(
    ("shape", "dtype", "settings", "images"),
    [
        ((84, 84, 4), np.uint8, {}, True),
        ((84, 84, 4), np.float32, {}, False),
        ((10, 10, 4), np.uint8, {}, False),
        ((10, 10, 4), np.float32, {"conv_filters": [[16, 3, 1]]}, True),
        ((84, 84, 4), np.uint8, {"encoder": "mlp"}, False),
        ((84, 84), np.uint8, {}, False),
    ],
)
def test_which_observations_are_images(shape, dtype, settings, images):
    space = gym.spaces.Box(0, 1, shape, dtype)
    assert bool(ObservationEncoder(space, ModelConfig(**settings)).images) == images


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_sequence_at_once_is_the_same_as_step_by_step(kind):
    torch.manual_seed(0)
    memory = Memory(3, ModelConfig(lstm_cell_size=5, use_lstm=kind == "lstm"))
    x = torch.randn(2, 7, 3)
    state = {name: torch.randn(2, 5) for name in memory.parts}
    whole, last = memory(x, dict(state))
    for t in range(7):
        out, state = memory(x[:, t], state)
        torch.testing.assert_close(out, whole[:, t])
    for name in memory.parts:
        torch.testing.assert_close(state[name], last[name])


def packed(count, **fields):
    dtype = np.dtype([(k, v.dtype, v.shape[1:]) for k, v in fields.items()])
    array = np.empty(count, dtype)
    for name, value in fields.items():
        array[name] = value
    return array


def test_every_part_of_a_nested_observation_is_read_and_the_mask_forbids():
    space = gym.spaces.Dict(
        {
            "action_mask": gym.spaces.MultiBinary(3),
            "camera": PIXELS,
            "goal": gym.spaces.Discrete(5, start=1),
            "speed": gym.spaces.Box(-1, 1, (2,), np.float32),
        }
    )
    rng = np.random.default_rng(0)
    obs = packed(
        4,
        action_mask=np.int8([[1, 0, 1], [1, 1, 1], [0, 0, 1], [0, 1, 0]]),
        camera=rng.integers(0, 256, (4, 84, 84, 4), dtype=np.uint8),
        goal=np.array([1, 2, 5, 3]),
        speed=rng.standard_normal((4, 2), dtype=np.float32),
    )
    torch.manual_seed(0)
    module = ActorCriticModule(space, DISCRETE, model_config=ModelConfig(use_lstm=True))
    policy = ActorCriticModule.make_policy(space, DISCRETE, ModelConfig(use_lstm=True))
    assert isinstance(policy, TorchPolicy)
    policy.set_weights({k: v.numpy() for k, v in module.policy_state().items()})
    inputs, state = policy.forward(obs, policy.initial_state(4), explore=True)
    assert ((inputs < -1e8) == (obs["action_mask"] == 0)).all()
    assert state["h"].shape == (4, 256)
    actions, _ = module.act(obs, module.initial_state(4), rng=rng, explore=True)
    assert obs["action_mask"][np.arange(4), actions].all()
    for name in ("camera", "goal", "speed"):
        other = obs.copy()
        other[name][:] = obs[name][::-1]
        assert not np.allclose(policy.forward(other, policy.initial_state(4), True)[0], inputs)


def test_masks_and_dicts_need_no_torch_to_act():
    space = gym.spaces.Dict(
        {"action_mask": gym.spaces.MultiBinary(3), "x": gym.spaces.Box(-1, 1, (2, 2), np.float64)}
    )
    obs = packed(2, action_mask=np.int8([[1, 0, 1], [0, 1, 1]]), x=np.ones((2, 2, 2)))
    model = ModelConfig(fcnet_hiddens=(4,))
    module = ActorCriticModule(space, DISCRETE, model_config=model)
    policy = ActorCriticModule.make_policy(space, DISCRETE, model)
    assert isinstance(policy, MLPPolicy)
    policy.set_weights({k: v.numpy() for k, v in module.policy_state().items()})
    expected = module.forward_inference({"obs": module.encode(obs)})["action_dist_inputs"]
    np.testing.assert_allclose(policy.forward(obs, {}, True)[0], expected.detach(), atol=1e-5)
    assert module.act(obs, mask=np.int8([[0, 0, 1], [0, 1, 0]])).tolist() == [2, 1]


class Corridor(gym.Env):
    """Walk to the goal; forbidden moves raise, and what is shown is spread over a nested space."""

    observation_space = gym.spaces.Dict(
        {
            "action_mask": gym.spaces.MultiBinary(3),
            "where": gym.spaces.Tuple([gym.spaces.Discrete(6), gym.spaces.Box(0, 1, (1,))]),
        }
    )
    action_space = gym.spaces.Discrete(3)

    def __init__(self, config=None):
        self.place = 0

    def _obs(self):
        mask = np.int8([self.place > 0, True, False])  # back, on, never
        return {"action_mask": mask, "where": (self.place, np.float32([self.place / 5]))}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0
        return self._obs(), {}

    def step(self, action):
        if not self._obs()["action_mask"][action]:
            raise RuntimeError(f"forbidden action {action} at {self.place}")
        self.place += 1 if action == 1 else -1
        return self._obs(), -0.1, self.place == 5, False, {}


@pytest.mark.learning
@pytest.mark.parametrize("memory", [{}, {"use_lstm": True}, {"use_gru": True}])
def test_masks_memory_and_nested_observations_train_together(memory):
    config = (
        PPOConfig()
        .environment(Corridor)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=4)
        .training(lr=5e-3, train_batch_size_per_learner=256, minibatch_size=64, num_epochs=4)
        .rl_module(model_config={"fcnet_hiddens": (16,), "lstm_cell_size": 16} | memory)
        .evaluation(evaluation_duration=4, evaluation_config={"explore": False})
    )
    with config.build_algo() as algo:
        for _ in range(8):
            algo.train()
        assert algo.evaluate()["env_runners"]["episode_len_max"] == 5
        module = algo.get_module()
        obs, _ = Corridor().reset()
        state = module.initial_state(1) if memory else None
        batch = {
            "action_mask": obs["action_mask"][None],
            "where": tuple(np.asarray(part)[None] for part in obs["where"]),
        }
        acted = module.act(batch, state)
        assert (acted[0] if memory else acted).tolist() == [1]
