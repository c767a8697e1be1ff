"""DQN's gradient steps against plain torch, and what it learns from: masks, memory, images."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllib.algorithms.dqn import DQNConfig, DQNLearner
from rllib.envs.make import Spaces
from rllib.modules.q_module import QModule
from rllib.replay import StepSequences, Transitions

OBS = gym.spaces.Box(-1, 1, (3,), np.float32)
SPACES = Spaces(OBS, gym.spaces.Discrete(4))
B = 16


def config(**settings):
    return (
        DQNConfig()
        .environment("CartPole-v1")
        .training(train_batch_size_per_learner=B, target_network_update_freq=0, tau=0.25)
        .training(**{"hiddens": (4,), "grad_clip": None, "lr": 1e-2} | settings)
        .rl_module(model_config={"fcnet_hiddens": (5,)})
    )


def transitions(num=B, seed=0):
    rng = np.random.default_rng(seed)
    ended = rng.random(num) < 0.2
    n = rng.integers(1, 4, num)
    return Transitions(
        obs=rng.standard_normal((num, 3), dtype=np.float32),
        actions=rng.integers(0, 4, num),
        rewards=rng.standard_normal(num, dtype=np.float32),
        next_obs=rng.standard_normal((num, 3), dtype=np.float32),
        terminateds=ended,
        discounts=np.where(ended, 0.0, 0.9**n).astype(np.float32),
        n=n,
        indices=np.arange(num),
        weights=rng.random(num, dtype=np.float32),
    )


def values(network, obs):
    """[B, A] of a dueling network, written out."""
    hidden = torch.tanh(network.encoder.mlp.layers[0](torch.from_numpy(obs)))
    advantages, value = (
        stream.out(torch.relu(stream.hidden.layers[0](hidden)))
        for stream in (network.advantages, network.values)
    )
    return value + advantages - advantages.mean(-1, keepdim=True)


@pytest.mark.parametrize("double_q", [True, False])
@pytest.mark.parametrize("error_loss", ["huber", "mse"])
def test_gradient_steps_are_those_of_plain_torch(double_q, error_loss):
    settings = config(double_q=double_q, td_error_loss_fn=error_loss)
    learner = DQNLearner(settings, SPACES)
    online, target = copy.deepcopy(learner.module.q), copy.deepcopy(learner.module.target_q)
    adam = torch.optim.Adam(online.parameters(), 1e-2, eps=1e-8)
    loss_of = torch.nn.functional.huber_loss if error_loss == "huber" else _half_square
    for seed in range(3):
        draw = transitions(seed=seed)
        metrics = learner.update(draw)
        with torch.no_grad():
            following = values(target, draw.next_obs)
            chooser = values(online, draw.next_obs) if double_q else following
            later = following.gather(1, chooser.argmax(1, keepdim=True))[:, 0]
            goal = torch.from_numpy(draw.rewards) + torch.from_numpy(draw.discounts) * later
        taken = values(online, draw.obs).gather(1, torch.from_numpy(draw.actions)[:, None])[:, 0]
        losses = loss_of(taken, goal, reduction="none")
        loss = (torch.from_numpy(draw.weights) * losses).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        for moved, source in zip(target.parameters(), online.parameters(), strict=True):
            moved.data.lerp_(source.data, 0.25)
        assert metrics["qf_loss"] == pytest.approx(loss.item(), rel=1e-4)
        assert metrics["qf_mean"] == pytest.approx(taken.mean().item(), abs=1e-5)
        errors = (taken - goal).detach().abs()
        assert metrics["td_error_mean"] == pytest.approx(errors.mean().item(), rel=1e-4)
        np.testing.assert_allclose(metrics["td_errors"], errors.numpy(), atol=1e-5)
    for ours, theirs in ((learner.module.q, online), (learner.module.target_q, target)):
        for name, parameter in theirs.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[name], parameter, atol=1e-5, rtol=1e-4)


def _half_square(x, y, reduction):
    return 0.5 * (x - y) ** 2


M, V_MIN, V_MAX = 7, -2.0, 3.0
GAP = (V_MAX - V_MIN) / (M - 1)


def log_probs(network, obs):
    """[B, A, M] of a dueling network of distributions, written out."""
    hidden = torch.tanh(network.encoder.mlp.layers[0](torch.from_numpy(obs)))
    advantages, value = (
        stream.out(torch.relu(stream.hidden.layers[0](hidden)))
        for stream in (network.advantages, network.values)
    )
    advantages = advantages.reshape(len(obs), -1, M)
    return (value[:, None] + advantages - advantages.mean(1, keepdim=True)).log_softmax(-1)


def moved(probs, reward, discount):
    """[M] a distribution of returns one step earlier, atom by atom (Bellemare et al. 2017)."""
    shares = [0.0] * M
    for j, p in enumerate(probs):
        place = min(max(reward + discount * (V_MIN + j * GAP), V_MIN), V_MAX)
        for m in range(M):
            shares[m] += p * max(0.0, 1.0 - abs(place - (V_MIN + m * GAP)) / GAP)
    return shares


@pytest.mark.parametrize("double_q", [True, False])
def test_gradient_steps_of_distributions_are_those_of_plain_torch(double_q):
    settings = config(num_atoms=M, v_min=V_MIN, v_max=V_MAX, double_q=double_q)
    learner = DQNLearner(settings, SPACES)
    online, target = copy.deepcopy(learner.module.q), copy.deepcopy(learner.module.target_q)
    adam = torch.optim.Adam(online.parameters(), 1e-2, eps=1e-8)
    atoms = V_MIN + GAP * torch.arange(M)
    for seed in range(3):
        draw = transitions(seed=seed)
        metrics = learner.update(draw)
        with torch.no_grad():
            following = log_probs(target, draw.next_obs).exp()
            chooser = log_probs(online, draw.next_obs).exp() if double_q else following
            best = (chooser * atoms).sum(-1).argmax(1)
        goals = [
            moved(following[b, best[b]].tolist(), float(draw.rewards[b]), float(draw.discounts[b]))
            for b in range(B)
        ]
        taken = log_probs(online, draw.obs)[torch.arange(B), torch.from_numpy(draw.actions)]
        losses = -(torch.tensor(goals) * taken).sum(-1)
        loss = (torch.from_numpy(draw.weights) * losses).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        for mover, source in zip(target.parameters(), online.parameters(), strict=True):
            mover.data.lerp_(source.data, 0.25)
        assert metrics["qf_loss"] == pytest.approx(loss.item(), rel=1e-4)
        np.testing.assert_allclose(metrics["td_errors"], losses.detach().numpy(), rtol=1e-4)
    for ours, theirs in ((learner.module.q, online), (learner.module.target_q, target)):
        for name, parameter in theirs.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[name], parameter, atol=1e-5, rtol=1e-4)


def test_two_gradient_steps_in_one_update_are_two_updates():
    both, apart = DQNLearner(config(), SPACES), DQNLearner(config(), SPACES)
    draw = transitions(2 * B)
    errors = [
        apart.update(Transitions(*(part[step::2] for part in draw)))["td_errors"]
        for step in range(2)
    ]
    metrics = both.update(draw)
    np.testing.assert_allclose(metrics["td_errors"], np.concatenate(errors), rtol=1e-5)
    for name, parameter in apart.module.state_dict().items():
        torch.testing.assert_close(both.module.state_dict()[name], parameter)
    assert metrics["num_gradient_updates_lifetime"] == 2


# Memory.


def sequences(learner, num=3, length=5):
    rng = np.random.default_rng(1)
    mask = np.ones((num, length), np.bool_)
    mask[1, 3:] = False
    terminateds = np.zeros((num, length), np.bool_)
    terminateds[1, 2] = True
    train_mask = mask.copy()
    train_mask[0, :2] = False
    return StepSequences(
        obs=rng.standard_normal((num, length + 1, 3), dtype=np.float32),
        actions=rng.integers(0, 4, (num, length)),
        rewards=rng.standard_normal((num, length), dtype=np.float32) * mask,
        terminateds=terminateds,
        mask=mask,
        train_mask=train_mask,
        state_in=learner.module.initial_state(num),
        indices=np.arange(num),
        weights=np.array([1.0, 0.5, 0.25], np.float32),
    )


@pytest.mark.parametrize("burn_in", [0, 2])
def test_the_loss_of_sequences_is_that_of_their_steps(burn_in):
    settings = config(burn_in_len=burn_in, n_step=2, gamma=0.9, td_error_loss_fn="mse")
    settings.rl_module(model_config={"use_lstm": True, "lstm_cell_size": 4})
    learner = DQNLearner(settings, SPACES)
    draw = sequences(learner)
    with torch.no_grad():
        for parameter in learner.module.target_q.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)

    def read(forward, s):
        """Values one step after the other."""
        state = {name: torch.from_numpy(part[s : s + 1]) for name, part in draw.state_in.items()}
        for obs in torch.from_numpy(draw.obs[s]):
            output = forward({"obs": obs[None], "state_in": state})
            state = output["state_out"]
            yield output["action_dist_inputs"][0].detach().numpy()

    total, steps, sizes = 0.0, 0, np.zeros((3, 5))
    for s in range(3):
        online = [*read(learner.module.forward_train, s)]
        target = [*read(learner.module.forward_target, s)]
        length = int(draw.mask[s].sum())
        for t in np.flatnonzero(draw.train_mask[s]):
            after = min(t + 2, length)
            goal = sum(0.9 ** (k - t) * draw.rewards[s, k] for k in range(t, after))
            if not draw.terminateds[s, after - 1]:
                goal += 0.9 ** (after - t) * target[after][online[after].argmax()]
            sizes[s, t] = abs(online[t][draw.actions[s, t]] - goal)
            total += draw.weights[s] * 0.5 * sizes[s, t] ** 2
            steps += 1
    metrics = learner.update(draw)
    assert metrics["qf_loss"] == pytest.approx(total / steps, rel=1e-4)
    means = sizes.sum(1) / draw.train_mask.sum(1)
    expected = 0.9 * sizes.max(1) + 0.1 * means
    np.testing.assert_allclose(metrics["td_errors"], expected, rtol=1e-4)
    assert metrics["num_module_steps_trained"] == steps


class RecallEnv(gym.Env):
    """The first observation says what to do in the last step, of which all look the same."""

    def __init__(self, config=None):
        self.observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
        self.action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.sign = 0, int(self.np_random.integers(2))
        return np.array([2.0 * self.sign - 1.0], np.float32), {}

    def step(self, action):
        self.t += 1
        reward = float(action == self.sign) if self.t == 3 else 0.0
        return np.zeros(1, np.float32), reward, self.t == 3, False, {}


def running(env, num_env_runners=0, **settings):
    return (
        DQNConfig()
        .environment(env)
        .env_runners(num_envs_per_env_runner=4, rollout_fragment_length=4)
        .training(num_steps_sampled_before_learning_starts=64, hiddens=(16,))
        .training(train_batch_size_per_learner=32, target_network_update_freq=64, **settings)
        .rl_module(model_config={"fcnet_hiddens": (16,)})
        .reporting(min_sample_timesteps_per_iteration=256, metrics_num_episodes_for_smoothing=50)
        .debugging(seed=1)
    )


@pytest.mark.learning
@pytest.mark.parametrize("memory", ["use_lstm", "use_gru"])
def test_with_memory_it_recalls_what_it_saw(memory):
    settings = running(RecallEnv, lr=3e-3, epsilon=[[0, 1.0], [1500, 0.02]], gamma=0.9)
    settings.rl_module(model_config={memory: True, "lstm_cell_size": 16, "max_seq_len": 4})
    with settings.build_algo() as algorithm:
        for _ in range(25):
            result = algorithm.train()
            if result["env_runners"]["episode_return_mean"] > 0.9:
                return
    pytest.fail(f"return {result['env_runners']['episode_return_mean']}; 0.5 is chance")


class MaskedEnv(gym.Env):
    """One action is right, one is wrong and one is forbidden, which changes in every step."""

    def __init__(self, config=None):
        self.observation_space = gym.spaces.Dict(
            {"action_mask": gym.spaces.MultiBinary(3), "right": gym.spaces.Discrete(3)}
        )
        self.action_space = gym.spaces.Discrete(3)

    def _observe(self):
        self.right, self.forbidden = self.np_random.permutation(3)[:2]
        mask = np.ones(3, np.int8)
        mask[self.forbidden] = 0
        return {"action_mask": mask, "right": self.right}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._observe(), {}

    def step(self, action):
        assert action != self.forbidden, "a forbidden action was taken"
        self.t += 1
        reward = float(action == self.right)
        return self._observe(), reward, self.t == 8, False, {}


@pytest.mark.parametrize("settings", [{}, {"num_atoms": 11, "v_min": 0.0, "v_max": 8.0}])
def test_what_is_forbidden_is_neither_done_nor_valued(settings):
    with running(MaskedEnv, epsilon=0.3, lr=3e-3, **settings).build_algo() as algorithm:
        for _ in range(4):
            result = algorithm.train()
        assert result["learners"]["default_policy"]["qf_min"] > -100.0
        assert result["env_runners"]["episode_return_mean"] > 4.0


class Screen(gym.Env):
    """A bright spot on a screen of 36 pixels says what to do."""

    def __init__(self, config=None):
        self.observation_space = gym.spaces.Box(0, 255, (36, 36, 1), np.uint8)
        self.action_space = gym.spaces.Discrete(2)

    def _observe(self):
        self.right = int(self.np_random.integers(2))
        screen = np.zeros((36, 36, 1), np.uint8)
        screen[:, 18 * self.right : 18 * self.right + 18] = 255
        return screen

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._observe(), {}

    def step(self, action):
        reward = float(action == self.right)
        self.t += 1
        return self._observe(), reward, False, self.t == 8, {}


def test_images_are_kept_as_bytes_and_learnt_from():
    settings = running(Screen, epsilon=0.1, lr=1e-3, noisy=True, num_atoms=5)
    settings.rl_module(model_config={"conv_filters": [[8, 8, 4]], "fcnet_hiddens": (16,)})
    with settings.build_algo() as algorithm:
        for _ in range(4):
            result = algorithm.train()
        ring = algorithm.replays["default_policy"]._ring
        assert ring.frames.dtype == np.uint8
        assert np.isfinite(result["learners"]["default_policy"]["qf_loss"])


def test_a_module_of_ones_own_gets_the_settings_and_acts_in_torch():
    class Own(QModule):
        """Looks at nothing but the sign of what it sees."""

        def encode(self, obs):
            return super().encode(np.sign(obs))

    from rllib.modules.spec import RLModuleSpec

    settings = running("CartPole-v1", noisy=True)
    settings.rl_module(rl_module_spec=RLModuleSpec(Own, model_config={"fcnet_hiddens": (7,)}))
    with settings.build_algo() as algorithm:
        algorithm.train()
        module = algorithm.get_module()
        assert isinstance(module, Own)
        assert module.shape.fcnet_hiddens == (7,)
        assert module.shape.noisy
        assert algorithm.compute_single_action(np.zeros(4, np.float32)) in (0, 1)
