"""SAC and TD3 with memory: sequences against plain sums, one step after the other."""

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllib.algorithms.dqn import DQNConfig
from rllib.algorithms.sac import SACConfig, SACLearner
from rllib.algorithms.td3 import TD3Config, TD3Learner
from rllib.distributions import Deterministic, SquashedGaussian
from rllib.envs.make import Spaces
from rllib.errors import ConfigError
from rllib.learning.actor_q_learner import ActorQLearner, critics_loss
from rllib.learning.loss import Loss
from rllib.learning.optimizer import Adam
from rllib.learning.target_network import TargetNetwork
from rllib.learning.transition_batch import TransitionBatch
from rllib.modules.actor_q_module import SACModule
from rllib.replay import StepSequences
from rllib.tensors import rows

OBS = gym.spaces.Box(-1, 1, (3,), np.float32)
BOX = gym.spaces.Box(-2, 2, (2,), np.float32)
DISCRETE = gym.spaces.Discrete(4)
GAMMA, L = 0.9, 5
MEMORY = {"use_lstm": True, "lstm_cell_size": 4, "fcnet_hiddens": (6,), "max_seq_len": L}


def learner_of(kind: str, **settings: Any) -> SACLearner | TD3Learner:
    space = DISCRETE if kind == "SAC discrete" else BOX
    config = TD3Config() if kind == "TD3" else SACConfig().training(initial_alpha=0.5)
    config.environment(observation_space=OBS, action_space=space)
    config.training(**{"gamma": GAMMA, "n_step": 2, "train_batch_size_per_learner": 3} | settings)
    if kind == "TD3":
        config.training(policy_delay=1)
    config.rl_module(model_config=MEMORY).debugging(seed=1)
    learner = (TD3Learner if kind == "TD3" else SACLearner)(config, Spaces(OBS, space))
    with torch.no_grad():
        for parameter in learner.module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    return learner


def drawn(learner: Any, num: int = 3) -> StepSequences:
    """One that goes on after its end, one that terminated, one whose beginning is a burn-in."""
    rng = np.random.default_rng(1)
    mask = np.ones((num, L), np.bool_)
    mask[1, 3:] = False
    terminateds = np.zeros((num, L), np.bool_)
    terminateds[1, 2] = True
    train_mask = mask.copy()
    train_mask[0, :2] = False
    discrete = learner.module.is_discrete
    boxes = rng.uniform(-1, 1, (num, L, 2)).astype(np.float32)
    state = learner.module.initial_state(num)
    return StepSequences(
        obs=rng.standard_normal((num, L + 1, 3), dtype=np.float32),
        actions=rng.integers(0, 4, (num, L)) if discrete else boxes,
        rewards=rng.standard_normal((num, L), dtype=np.float32) * mask,
        terminateds=terminateds,
        mask=mask,
        train_mask=train_mask,
        state_in={name: rng.standard_normal(x.shape, dtype=x.dtype) for name, x in state.items()},
        indices=np.arange(num),
        weights=rng.uniform(0.2, 1.0, num).astype(np.float32),
    )


class Seen(NamedTuple):
    """What memory and target memory make of all observations up to a step."""

    online: torch.Tensor
    target: torch.Tensor


def remembered(module: Any, draw: StepSequences, s: int) -> list[Seen]:
    """One forward of a single step after the other."""
    parts = []
    for past in (module.past, module.target_past):
        state = {name: torch.from_numpy(part[s : s + 1]) for name, part in draw.state_in.items()}
        found = []
        for obs in torch.from_numpy(draw.obs[s]):
            out = past({"obs": obs[None, None], "state_in": state})
            state = out["state_out"]
            found.append(out["embeddings"][0])
        parts.append(found)
    return [Seen(*each) for each in zip(*parts, strict=True)]


def goal(draw: StepSequences, s: int, t: int) -> tuple[float, float, int]:
    """Two rewards, the discount of what follows them, and where that is."""
    after = min(t + 2, int(draw.mask[s].sum()))
    rewards = sum(GAMMA ** (k - t) * float(draw.rewards[s, k]) for k in range(t, after))
    over = draw.terminateds[s, after - 1]
    return rewards, 0.0 if over else GAMMA ** (after - t), after


def soft_value(
    module: Any, seen: Seen, noise: torch.Tensor | None, critics: Any, of: torch.Tensor
) -> float:
    """What a state is worth by those critics, and by what the actor would do."""
    inputs, alpha = module.pi(seen.online), module.log_alpha.exp()
    if noise is None:
        logp = inputs.log_softmax(-1)
        return float((logp.exp() * (critics(of, None).amin(0) - alpha * logp)).sum())
    actions, logp = module.distribution.rsample(inputs, noise[None])
    return float(critics(of, actions).amin() - alpha * logp)


KINDS = ("SAC", "SAC discrete", "TD3")


@pytest.mark.parametrize("burn_in", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_of_sequences_is_that_of_their_steps(
    kind: str, burn_in: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = learner_of(kind, burn_in_len=burn_in)
    module: Any = learner.module
    draw = drawn(learner)
    noises = [torch.randn(3 * L, 2, generator=torch.manual_seed(k)) for k in range(2)]
    rolls = iter(noises)
    for each in (SquashedGaussian, Deterministic):
        monkeypatch.setattr(each, "draw_noise", lambda self, inputs: next(rolls).clone())
    critic_sum = actor_sum = 0.0
    sizes, count = np.zeros((3, L)), int(draw.train_mask.sum())
    with torch.no_grad():
        for s, t in np.argwhere(draw.train_mask):
            seen = remembered(module, draw, s)
            rewards, discount, after = goal(draw, s, t)
            row = s * L + t
            if kind == "TD3":
                moved = (0.2 * noises[0][row]).clamp(-0.5, 0.5)
                nexts = (torch.tanh(module.target_pi(seen[after].target)) + moved).clamp(-1, 1)
                worth = module.target_critics(seen[after].target, nexts).amin()
                worth = float(worth)
                own = module.critics(seen[t].online, torch.tanh(module.pi(seen[t].online)))[0]
                actor_sum -= own.item()
            else:
                then, now = (None, None) if module.is_discrete else (x[row] for x in noises)
                critics, following = module.target_critics, seen[after]
                worth = soft_value(module, following, then, critics, following.target)
                actor_sum -= soft_value(module, seen[t], now, module.critics, seen[t].online)
            target = rewards + discount * worth
            if module.is_discrete:
                q = module.critics(seen[t].online, None)[:, 0, draw.actions[s, t]]
            else:
                q = module.critics(seen[t].online, torch.from_numpy(draw.actions[s, t])[None])
            errors = (q.flatten() - target).abs().numpy()
            sizes[s, t] = errors.mean()
            critic_sum += float(draw.weights[s]) * 0.5 * float((errors**2).sum())
    metrics = learner.update(draw)
    assert metrics["qf_loss"] == pytest.approx(critic_sum / count, rel=1e-4)
    assert metrics["policy_loss"] == pytest.approx(actor_sum / count, rel=1e-4)
    means = sizes.sum(1) / draw.train_mask.sum(1)
    np.testing.assert_allclose(metrics["td_errors"], 0.9 * sizes.max(1) + 0.1 * means, rtol=1e-4)
    assert metrics["num_module_steps_trained"] == count


@pytest.mark.parametrize("kind", KINDS)
def test_the_critics_loss_alone_trains_the_memory_and_its_target_follows(kind: str) -> None:
    learner = learner_of(kind, tau=0.25)
    module: Any = learner.module
    before = {name: part.clone() for name, part in module.state_dict().items()}
    assert not any(
        p is q for p in learner.optimizers["actor"].parameters for q in module.past.parameters()
    )
    learner.update(drawn(learner))
    after = module.state_dict()
    for name in (name for name in before if name.startswith("past.")):
        assert not torch.equal(before[name], after[name])
        target = torch.lerp(before[f"target_{name}"], after[name], 0.25)
        torch.testing.assert_close(after[f"target_{name}"], target)


@pytest.mark.parametrize(("kind", "times"), [("SAC", 3), ("TD3", 2)])
def test_of_sequences_only_what_is_read_is_gathered(
    kind: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Embeddings now, what is valued later, and of SAC's actor what it sees then; nobody reads the
    observations [.., 3] of which these [.., 4] are made."""
    taken = []

    def record(tree: Any, index: torch.Tensor) -> Any:
        taken.append(tuple(tree.shape[1:]))
        return rows(tree, index)

    learner = learner_of(kind)
    monkeypatch.setattr("rllib.learning.sequence_batch.rows", record)
    learner.update(drawn(learner))
    assert taken == times * [(4,)]


class Critics(ActorQLearner):
    """Trains the critics alone, on rewards."""

    def configure_optimizers(self) -> dict[str, Adam]:
        return {"critic": Adam(self.critic_parameters(), self.config.critic_lr)}

    def make_targets(self) -> list[TargetNetwork]:
        return [self.target_critics()]


class OwnLoss(Critics):
    def compute_loss(self, minibatch: Any) -> Loss:
        values = self.module.compute_q(minibatch.inputs, minibatch.actions)
        return critics_loss(values, minibatch.rewards, minibatch.weights)


class OwnLossOf(Critics):
    def loss_of(self, batch: TransitionBatch) -> Loss:
        values = self.module.compute_q(batch.inputs, batch.actions)
        return critics_loss(values, batch.rewards, batch.weights)


@pytest.mark.parametrize("learner_class", [OwnLoss, OwnLossOf])
def test_a_learner_of_ones_own_has_either_loss(learner_class: type[Critics]) -> None:
    config = SACConfig().environment("Pendulum-v1").env_runners(num_env_runners=0)
    config.training(num_steps_sampled_before_learning_starts=20, train_batch_size_per_learner=8)
    config.training(learner_class=learner_class).rl_module(model_config={"fcnet_hiddens": (8,)})
    with config.build_algo() as algorithm:
        learned = algorithm.train()["learners"]["default_policy"]
    assert learned["num_gradient_updates_lifetime"] > 0
    assert np.isfinite(learned["qf_loss"])


def test_a_learner_without_any_loss_is_an_error_that_says_what_to_override() -> None:
    config = SACConfig().environment(observation_space=OBS, action_space=BOX)
    with pytest.raises(TypeError, match=r"Critics has neither loss_of\(batch\) nor compute_loss"):
        Critics(config, Spaces(OBS, BOX))


class Remembers(SACModule):
    def get_initial_state(self) -> dict[str, Any]:
        return {"h": torch.zeros(3)}


def test_a_memory_of_a_modules_own_is_refused() -> None:
    config = SACConfig().environment(observation_space=OBS, action_space=BOX)
    config.rl_module(rl_module_spec={"module_class": Remembers})
    message = "rl_module_spec: Remembers has a memory of its own.*set use_lstm or use_gru"
    with pytest.raises(ConfigError, match=message):
        SACLearner(config.get_config_for_module("default_policy"), Spaces(OBS, BOX))


class Own(SACModule):
    """Networks of its own, as before there was a memory."""

    def setup(self) -> None:
        super().setup()
        for name in ("past", "target_past", "reads"):
            self.__dict__.pop(name, None)


def test_a_module_that_knows_of_no_memory_is_trained_as_ever() -> None:
    config = SACConfig().environment("Pendulum-v1").env_runners(num_env_runners=0)
    config.training(num_steps_sampled_before_learning_starts=20, train_batch_size_per_learner=8)
    config.rl_module(rl_module_spec={"module_class": Own, "model_config": {"fcnet_hiddens": (8,)}})
    with config.build_algo() as algorithm:
        learned = algorithm.train()["learners"]["default_policy"]
    assert learned["num_gradient_updates_lifetime"] > 0


@pytest.mark.parametrize("length", ["auto", 1, 7])
@pytest.mark.parametrize("config_class", [SACConfig, TD3Config, DQNConfig])
def test_a_state_is_stored_for_a_sequence_and_not_for_every_step(
    config_class: type[Any], length: Any
) -> None:
    """In the buffer and in checkpoints, whatever the fragments' length."""
    env = "CartPole-v1" if config_class is DQNConfig else "Pendulum-v1"
    config = config_class().environment(env, env_config={"max_episode_steps": 60})
    config.env_runners(num_envs_per_env_runner=2, rollout_fragment_length=length)
    config.training(num_steps_sampled_before_learning_starts=400, train_batch_size_per_learner=4)
    config.rl_module(model_config=MEMORY | {"max_seq_len": 20}).debugging(seed=1)
    config.reporting(min_sample_timesteps_per_iteration=420)
    of_a_state = 2 * 4 * np.dtype(np.float32).itemsize  # of an LSTM: h and c
    with config.build_algo() as algorithm:
        algorithm.train()
        replay = algorithm.replays["default_policy"]
        found, ends = replay.memory_bytes, replay.statistics().num_episodes_stored
        kept = algorithm.get_state()["replays"]["default_policy"]["memory"]
    steps_apart = 20 if length != 7 else 14  # fragments begin then, and no state lies between
    assert found <= of_a_state * (len(replay) / steps_apart + ends)
    assert found >= of_a_state * len(replay) / 20
    assert sum(part.nbytes for part in kept["parts"].values()) == found


@pytest.mark.parametrize("config_class", [SACConfig, TD3Config, DQNConfig])
def test_before_there_is_more_than_a_burn_in_nothing_is_learnt(config_class: type[Any]) -> None:
    """Instead of NaN, from which training ended."""
    env = "CartPole-v1" if config_class is DQNConfig else "Pendulum-v1"
    config = config_class().environment(env).rl_module(model_config=MEMORY)
    config.training(num_steps_sampled_before_learning_starts=0, train_batch_size_per_learner=8)
    config.training(burn_in_len=5).reporting(min_sample_timesteps_per_iteration=5)
    with config.build_algo() as algorithm:
        first, second = (algorithm.train()["learners"]["default_policy"] for _ in range(2))
    assert first["num_module_steps_trained_lifetime"] == 0
    assert "qf_mean" not in first
    assert second["num_module_steps_trained_lifetime"] > 0
    assert np.isfinite([second["qf_loss"], second["qf_mean"]]).all()


class Recall(gym.Env[Any, Any]):
    """The first observation says what to do in the last step, of which all look the same."""

    def __init__(self, config: Any = None) -> None:
        self.observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
        if config.get("discrete"):
            self.action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.t, self.sign = 0, int(self.np_random.integers(2))
        return np.array([2.0 * self.sign - 1.0], np.float32), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        done = float(np.clip(action, -1, 1).item() * (2 * self.sign - 1))
        if isinstance(self.action_space, gym.spaces.Discrete):
            done = float(action == self.sign)
        return np.zeros(1, np.float32), done * (self.t == 3), self.t == 3, False, {}


@pytest.mark.learning
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("memory", ["use_lstm", "use_gru"])
def test_with_memory_they_recall_what_they_saw(kind: str, memory: str) -> None:
    model = {"fcnet_hiddens": (16,), memory: True, "lstm_cell_size": 16, "max_seq_len": 4}
    settings: Any = TD3Config() if kind == "TD3" else SACConfig()
    if kind != "TD3":
        settings.training(alpha_lr=3e-3, initial_alpha=0.2)
    settings = (
        settings.environment(Recall, env_config={"discrete": kind == "SAC discrete"})
        .env_runners(num_envs_per_env_runner=4, rollout_fragment_length=4)
        .training(num_steps_sampled_before_learning_starts=128, train_batch_size_per_learner=32)
        .training(actor_lr=3e-3, critic_lr=3e-3, gamma=0.9, tau=0.05)
        .rl_module(model_config=model)
        .reporting(min_sample_timesteps_per_iteration=256, metrics_num_episodes_for_smoothing=50)
        .debugging(seed=1)
    )
    with settings.build_algo() as algorithm:
        for _ in range(40):
            result = algorithm.train()
            if result["env_runners"]["episode_return_mean"] > 0.8:
                return
    pytest.fail(f"return {result['env_runners']['episode_return_mean']}; at most 0.5 by chance")
