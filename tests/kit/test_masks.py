"""Action masks: nothing forbidden is ever done, and nothing becomes infinite by it."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllib import actions as acting
from rllib import core
from rllib import distributions as training
from rllib.actions import action_head, check_mask, mask_sizes
from rllib.algorithms.dqn import DQNConfig
from rllib.algorithms.ppo import PPOConfig
from rllib.algorithms.sac import SACConfig
from rllib.connectors import FlattenObservations, MaskFrom
from rllib.distributions import distribution_for
from rllib.envs.faults import EnvFault
from rllib.envs.make import Spaces
from rllib.envs.masked_walk import MaskedWalk
from rllib.envs.packing import pack
from rllib.errors import ConfigError, EnvError

DISCRETE = gym.spaces.Discrete(4)
MULTI = gym.spaces.MultiDiscrete([3, 4, 2])
RAGGED = [0, 3, 7]


@pytest.fixture(params=[DISCRETE, MULTI], ids=["discrete", "multi_discrete"])
def case(request):
    """Head, distribution, inputs, others, masks, another mask, all [300, num_inputs]."""
    head = action_head(request.param)
    rng = np.random.default_rng(0)
    shape = (300, head.num_inputs)
    inputs, others = rng.normal(size=(2, *shape), scale=5).astype(np.float32)
    return head, distribution_for(request.param), inputs, others, *_masks(rng, shape, request.param)


def _masks(rng, shape, space):
    """Two random masks that leave at least one choice of every dimension."""
    starts = [0] if space is DISCRETE else RAGGED
    for _ in range(2):
        mask = rng.integers(0, 2, shape).astype(np.int8)
        keep = rng.integers(0, 2, (shape[0], len(starts)))
        np.put_along_axis(mask, np.array(starts) + keep, 1, axis=1)
        yield mask


def chosen(actions, head):
    """[B, dimensions] where actions stand in a mask."""
    return actions.reshape(len(actions), -1) + ([0] if head.num_inputs == 4 else RAGGED)


def test_forbidden_actions_are_never_taken(case):
    head, ours, inputs, _, mask, _ = case
    masked = acting.mask_inputs(inputs, mask)
    x = training.mask_inputs(torch.from_numpy(inputs), torch.from_numpy(mask))
    np.testing.assert_array_equal(x, masked)
    assert masked.dtype == np.float32
    noise = head.draw_noise(np.random.default_rng(1), (300,))
    almost_one = np.nextafter(np.float32(1), np.float32(0))
    for z in (noise, np.zeros_like(noise), np.full_like(noise, almost_one)):
        for actions in (
            head.sample(masked, z),
            ours.sample(x, torch.from_numpy(z)).numpy(),
            head.mode(masked),
            ours.mode(x).numpy(),
        ):
            assert np.take_along_axis(mask, chosen(actions, head), 1).all()


def test_what_is_left_is_as_if_nothing_else_existed():
    logits, mask = torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[1, 0, 1, 0]])
    few = torch.distributions.Categorical(logits=torch.tensor([[1.0, 3.0]]))
    ours, x = distribution_for(DISCRETE), training.mask_inputs(logits, mask)
    torch.testing.assert_close(ours.entropy(x), few.entropy())
    for action, same in ((0, 0), (2, 1)):
        expected = few.log_prob(torch.tensor([same]))
        torch.testing.assert_close(ours.log_prob(x, torch.tensor([action])), expected)
        numpy = action_head(DISCRETE).log_prob(x.numpy(), np.array([action]))
        np.testing.assert_allclose(numpy, expected, rtol=1e-6)
    assert ours.log_prob(x, torch.tensor([1])).exp().item() == 0.0
    assert x.softmax(-1)[0, 1].item() == 0.0


def test_everything_is_finite_and_forbidden_logits_have_no_gradient(case):
    head, ours, inputs, others, mask, other_mask = case
    x = torch.from_numpy(inputs).requires_grad_()
    y = torch.from_numpy(others).requires_grad_()
    allowed, other_allowed = torch.from_numpy(mask), torch.from_numpy(other_mask)
    p, q = training.mask_inputs(x, allowed), training.mask_inputs(y, other_allowed)
    same = training.mask_inputs(y, allowed)
    forbidden = torch.from_numpy(head.mode(acting.mask_inputs(-inputs, 1 - mask)))
    values = (
        ours.entropy(p),
        ours.kl(p, same),
        ours.kl(p, q),
        ours.log_prob(p, torch.from_numpy(head.mode(p.detach().numpy()))),
        ours.log_prob(p, forbidden),
    )
    for value in values:
        assert value.isfinite().all()
        (gradient,) = torch.autograd.grad(value.sum(), x, retain_graph=True)
        assert gradient.isfinite().all()
        assert (gradient[allowed == 0] == 0).all()
    assert (values[1] >= -1e-4).all()


def test_exploration_is_among_what_is_allowed():
    space = gym.spaces.Discrete(4)
    head = action_head(space, "epsilon_greedy", epsilon=1.0)
    values = acting.mask_inputs(np.zeros((40_000, 4), np.float32), np.int8([0, 1, 0, 1]))
    noise = head.draw_noise(np.random.default_rng(0), (40_000,))
    frequencies = np.bincount(head.sample(values, noise), minlength=4) / 40_000
    np.testing.assert_allclose(frequencies, [0, 0.5, 0, 0.5], atol=0.0125)  # five standard errors
    x = torch.from_numpy(values[:1])
    ours = distribution_for(space, "epsilon_greedy", epsilon=0.5)
    np.testing.assert_allclose(ours.probabilities(x), [[0, 0.75, 0, 0.25]])
    assert head.log_prob(values[:1], np.array([3]))[0] == pytest.approx(np.log(0.5))


def test_masks_that_leave_an_action_everywhere_pass():
    mask = np.zeros((2, 3, 4), np.int8)
    mask[..., 2] = 1
    check_mask(mask, (4,), first_step=1)
    check_mask(np.ones((0, 3, 4), np.int8), (4,), first_step=1)


def test_a_mask_that_forbids_everything_is_named():
    mask = np.ones((5, 3, 4), np.int8)
    mask[2, 1] = 0
    with pytest.raises(
        EnvFault, match="environment 1 forbids every action in action_mask"
    ) as fault:
        check_mask(mask, (4,), first_step=10)
    assert (fault.value.env_index, fault.value.step, fault.value.field) == (1, 12, "action_mask")
    assert fault.value.value == "[0, 0, 0, 0]"
    with pytest.raises(EnvFault, match="environment 4, agent 'b', forbids"):
        check_mask(mask, (4,), first_step=10, agents=[(0, "a"), (4, "b"), (4, "c")])


def test_every_action_dimension_needs_a_choice():
    mask = np.ones((1, 2, 9), np.int8)
    mask[0, 1, 3:7] = 0
    with pytest.raises(EnvFault, match=r"environment 1 .*action_mask for action dimension 1"):
        check_mask(mask, (3, 4, 2), first_step=0)


def observations(mask):
    return gym.spaces.Dict(action_mask=mask, x=gym.spaces.Box(-1, 1, (2,)))


def test_masks_must_fit_the_actions():
    assert mask_sizes(observations(gym.spaces.MultiBinary(4)), DISCRETE) == (4,)
    assert mask_sizes(observations(gym.spaces.Box(0, 1, (9,), np.int8)), MULTI) == (3, 4, 2)
    assert mask_sizes(gym.spaces.Box(-1, 1, (2,)), gym.spaces.MultiBinary(2)) == ()
    with pytest.raises(ConfigError, match=r"MultiBinary\(3\).*needs a mask of shape \(4,\)"):
        mask_sizes(observations(gym.spaces.MultiBinary(3)), DISCRETE)
    with pytest.raises(ConfigError, match=r"Box.*cannot be masked.*rename"):
        mask_sizes(observations(gym.spaces.MultiBinary(2)), gym.spaces.Box(-1, 1, (1,)))


# While sampling.


class Masked(gym.Env):
    """Allows the one action that it will take; episodes end after 3 steps, with nothing allowed.

    With ``forbid_at``, the observation that this step returns allows nothing either.
    """

    observation_space = observations(gym.spaces.MultiBinary(5))
    action_space = gym.spaces.MultiDiscrete([2, 3])

    def __init__(self, env_config):
        self.forbid_at = env_config.get("forbid_at")
        self.num_steps = 0

    def _obs(self):
        self.allowed = self.np_random.integers([2, 3])
        mask = np.zeros(5, np.int8)
        mask[np.add(self.allowed, [0, 2])] = 1
        return {"action_mask": mask, "x": np.zeros(2, np.float32)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._obs(), {}

    def step(self, action):
        assert (action == self.allowed).all(), f"{action} is forbidden"
        self.t, self.num_steps = self.t + 1, self.num_steps + 1
        obs = self._obs()
        if self.num_steps == self.forbid_at:
            obs["action_mask"][2:] = 0
        elif self.t == 3:
            obs["action_mask"][:] = 0
        return obs, 1.0, self.t == 3, False, {}


def train(**env_config):
    settings = (
        PPOConfig()
        .environment(Masked, env_config=env_config)
        .env_runners(num_envs_per_env_runner=2, rollout_fragment_length=10)
        .training(train_batch_size_per_learner=40, minibatch_size=20, num_epochs=2)
        .rl_module(model_config={"fcnet_hiddens": (8,)})
        .fault_tolerance(restart_failed_env_runners=False)
    )
    with core.init(address="inline"), settings.build_algo() as algorithm:
        for _ in range(3):
            algorithm.train()


def test_only_allowed_actions_reach_the_environment():
    train()


def test_a_mask_without_an_action_stops_the_run_and_says_where():
    with pytest.raises(EnvError, match="action_mask for action dimension 1") as caught:
        train(forbid_at=5)
    assert (caught.value.env_index, caught.value.field) == (0, "action_mask")


class Renamed(gym.Wrapper):
    """The same environment, whose mask has another name."""

    def __init__(self, config):
        super().__init__(MaskedWalk(20))
        parts = self.env.observation_space.spaces
        self.observation_space = gym.spaces.Dict(self._names(parts))

    def _names(self, parts):
        return {"allowed": parts["action_mask"], "zone": parts["place"]}

    def reset(self, **kwargs):
        obs, info = self.env.reset(**kwargs)
        return self._names(obs), info

    def step(self, action):
        obs, *rest = self.env.step(action)
        return self._names(obs), *rest


def walk(config_class=PPOConfig, key="allowed", **settings):
    return (
        config_class()
        .environment(Renamed, action_mask_key=key)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2, **settings)
        .training(train_batch_size_per_learner=40)
        .rl_module(model_config={"fcnet_hiddens": (8,)})
    )


@pytest.mark.parametrize("memory", [{}, {"use_lstm": True, "lstm_cell_size": 4, "max_seq_len": 5}])
@pytest.mark.parametrize("flatten", [False, True])
@pytest.mark.parametrize("config_class", [PPOConfig, DQNConfig, SACConfig])
def test_the_mask_may_have_another_name(config_class, flatten, memory):
    connector = {"env_to_module_connector": FlattenObservations} if flatten else {}
    settings = walk(config_class, **connector).rl_module(model_config=memory)
    if config_class is PPOConfig:
        settings.training(minibatch_size=None, num_epochs=1)
    with core.init(address="inline"), settings.build_algo() as algo:
        for _ in range(2):
            result = algo.train()
        assert result["env_runners"]["episode_return_min"] > -1.0  # which a forbidden action costs
        allowed = np.array([0, 0, 1, 0, 0, 0, 0, 1], np.int8)
        if not memory:
            obs = {"allowed": allowed, "zone": np.int64(4)}
            assert algo.compute_single_action(obs) in (2, 7)


def test_renamed_observations_are_the_same_memory():
    spaces = Spaces(Renamed({}).observation_space, gym.spaces.Discrete(8))
    connector = MaskFrom("allowed")
    seen = connector.connect(spaces, 2).observation
    assert list(seen.spaces) == ["action_mask", "zone"]
    parts = {"allowed": np.eye(8, dtype=np.int8)[:2], "zone": np.array([3, 9])}
    obs = pack(spaces.observation, parts, 2)
    renamed = connector.on_reset(obs)
    assert np.shares_memory(renamed, obs)
    np.testing.assert_array_equal(renamed["action_mask"], parts["allowed"])
    np.testing.assert_array_equal(renamed["zone"], parts["zone"])


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (gym.spaces.Dict({"mask": gym.spaces.MultiBinary(2)}), "no such field"),
        (gym.spaces.Box(-1, 1, (2,)), "no such field"),
        (
            gym.spaces.Dict({n: gym.spaces.MultiBinary(2) for n in ("allowed", "action_mask")}),
            "another field 'action_mask'",
        ),
    ],
)
def test_a_name_that_there_is_not_is_an_error(space, message):
    with pytest.raises(ConfigError, match=rf"action_mask_key: 'allowed'.*{message}"):
        MaskFrom("allowed").connect(Spaces(space, DISCRETE), 1)


def test_masks_are_made_of_zero_and_one():
    mask = np.ones((2, 3, 9), np.float32)
    mask[1, 2, 4] = 0.5
    with pytest.raises(
        EnvFault, match=r"environment 2 returned action_mask\[4\] = 0.5 at"
    ) as fault:
        check_mask(mask, (3, 4, 2), first_step=10)
    assert (fault.value.step, fault.value.field, fault.value.value) == (11, "action_mask", "0.5")
    agents = [(0, "a"), (0, "b"), (1, "a")]
    with pytest.raises(EnvFault, match=r"environment 1, agent 'a', returned action_mask") as fault:
        check_mask(mask, (3, 4, 2), first_step=10, agents=agents)
    assert (fault.value.env_index, fault.value.agent) == (1, "a")
