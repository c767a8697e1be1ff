"""Modules that choose actions by themselves, with and without anything to train."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from rllib import core
from rllib.actions import action_head, choose, dist_inputs, log_prob, policy_rows
from rllib.algorithms.dqn import DQNConfig
from rllib.algorithms.impala import IMPALAConfig
from rllib.algorithms.ppo import PPOConfig
from rllib.algorithms.sac import SACConfig
from rllib.envs.counter import CounterEnv
from rllib.errors import TrainingError
from rllib.modules.rl_module import RLModule
from rllib.modules.spec import MultiRLModuleSpec, RLModuleSpec


@pytest.fixture(scope="module", autouse=True)
def processes():
    with core.init(num_cpus=3, preload=["torch", "gymnasium", "rllib.algorithms.ppo"]):
        yield


class Random(RLModule):
    """As RLlib's RandomRLModule: samples of the space, whatever is observed."""

    def _forward(self, batch, **kwargs):
        actions = [self.action_space.sample() for _ in range(len(batch["obs"]))]
        return {"actions": np.stack(actions)}

    def _forward_train(self, *args, **kwargs):
        raise NotImplementedError("it should not be trained")


class Alternating(RLModule):
    """A scripted policy with a memory: 0, 1, 0, 1, ... from the beginning of an episode."""

    def get_initial_state(self):
        return {"next": np.zeros(1, np.float32)}

    def _forward(self, batch, **kwargs):
        now = batch["state_in"]["next"]
        return {
            "actions": now.long(),
            "action_logp": torch.zeros(len(now), 1),
            "state_out": {"next": 1.0 - now},
        }


class Sampling(RLModule):
    """A policy with parameters that samples its actions itself, while it explores."""

    def setup(self):
        self.pi, self.vf = nn.Linear(4, 2), nn.Linear(4, 1)

    def _forward(self, batch, **kwargs):
        return {"action_dist_inputs": self.pi(batch["obs"])}

    def _forward_exploration(self, batch, **kwargs):
        inputs = self._forward(batch)["action_dist_inputs"]
        uniform = torch.from_numpy(self.rng.random(len(inputs)))
        actions = (uniform > inputs.softmax(-1)[:, 0]).long()
        return {"actions": actions, "action_dist_inputs": inputs}

    def compute_values(self, batch, embeddings=None):
        return self.vf(batch["obs"]).squeeze(-1)


SPACES = {
    "discrete": gym.spaces.Discrete(3, start=5),
    "multi": gym.spaces.MultiDiscrete([2, 3], start=[1, 4]),
    "binary": gym.spaces.MultiBinary(3),
    "integers": gym.spaces.Box(-2, 3, (2,), np.int64),
    "dict": gym.spaces.Dict({"a": gym.spaces.Discrete(2, start=3), "b": gym.spaces.MultiBinary(2)}),
}


@pytest.mark.parametrize(
    ("space", "actions", "message"),
    [
        (SPACES["discrete"], [5, 8], r"actions\[1\] = 8, which is no member of .*Discrete\(3"),
        (SPACES["discrete"], [4, 5], r"actions\[0\] = 4"),
        (SPACES["discrete"], [5.5, 5], r"actions\[0\] = 5.5"),
        (SPACES["multi"], [[1, 4], [2, 7]], r"actions\[1, 1\] = 7"),
        (SPACES["binary"], [[0, 1, 2]], r"actions\[0, 2\] = 2"),
        (SPACES["integers"], [[-3, 0]], r"actions\[0, 0\] = -3"),
        (gym.spaces.Box(-1, 1, (1,)), [[np.nan]], r"actions\[0, 0\] = nan"),
        (gym.spaces.Tuple([SPACES["discrete"]]), ([4],), r"actions\[0\] = 4"),
    ],
)
def test_actions_that_there_are_not_are_named(space, actions, message):
    given = tuple(map(np.array, actions)) if isinstance(actions, tuple) else np.array(actions)
    with pytest.raises(TrainingError, match=message):
        policy_rows(action_head(space), {"actions": given})


@pytest.mark.parametrize("name", SPACES)
def test_samples_of_a_space_reach_the_environment_as_they_are(name):
    space, head = SPACES[name], action_head(SPACES[name])
    samples = [space.sample() for _ in range(7)]
    if name == "dict":
        batched = {key: np.stack([each[key] for each in samples]) for key in ("a", "b")}
    else:
        batched = np.stack(samples)
    rows = policy_rows(head, {"actions": batched})
    actions = choose(head, rows, None)
    assert actions.dtype == head.action_dtype
    assert actions.shape == (7, *head.action_shape)
    in_env = head.to_env(actions)
    for index, sample in enumerate(samples):
        one = {k: v[index] for k, v in in_env.items()} if name == "dict" else in_env[index]
        np.testing.assert_equal(one, sample)
    assert dist_inputs(head, rows).shape == (7, head.num_inputs)
    assert np.isnan(log_prob(head, rows[None], actions[None])).all()


def test_real_numbers_are_the_policys_own():
    head = action_head(gym.spaces.Box(0, 10, (1,)))
    rows = policy_rows(head, {"actions": torch.tensor([[0.5], [-0.25]])})
    np.testing.assert_allclose(head.to_env(choose(head, rows, None)), [[7.5], [3.75]])


def test_log_probabilities_are_given_or_worked_out():
    head = action_head(gym.spaces.Discrete(2))
    inputs, actions = torch.tensor([[0.0, 1.0], [2.0, 0.0]]), torch.tensor([1, 1])
    output = {"actions": actions, "action_dist_inputs": inputs}
    rows = policy_rows(head, output)
    np.testing.assert_array_equal(dist_inputs(head, rows), inputs)
    expected = inputs.log_softmax(-1)[:, 1]
    np.testing.assert_allclose(log_prob(head, rows[None], actions[None].numpy())[0], expected)
    rows = policy_rows(head, output | {"action_logp": torch.tensor([-1.0, -2.0])})
    assert log_prob(head, rows[None], actions[None].numpy()).tolist() == [[-1.0, -2.0]]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"state_out": {}}, "it should give 'action_dist_inputs'"),
        ({"actions": np.zeros((4, 3))}, r"of shape \(4, 3\).*of 1 number"),
        ({"actions": np.int64(1)}, r"of shape \(\)"),
    ],
)
def test_what_is_no_action_is_refused(output, message):
    with pytest.raises(TypeError, match=message):
        policy_rows(action_head(gym.spaces.Discrete(2)), output)


def single(module_class, env="CartPole-v1", **settings):
    return (
        PPOConfig()
        .environment(env, **settings)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2, rollout_fragment_length=20)
        .training(train_batch_size_per_learner=40, minibatch_size=20, num_epochs=2, lr=1e-2)
        .rl_module(rl_module_spec=RLModuleSpec(module_class=module_class, model_config={}))
    )


@pytest.mark.parametrize("num_actors", [0, 1])
def test_a_policy_without_parameters_plays_and_learns_nothing(tmp_path, num_actors):
    settings = single(Random)
    settings.env_runners(num_env_runners=num_actors).learners(num_learners=num_actors)
    settings.evaluation(evaluation_duration=3, evaluation_config={"explore": False})
    with settings.build_algo() as algo:
        results = [algo.train() for _ in range(3)]
        assert algo.evaluate()["env_runners"]["num_episodes"] == 3
        assert algo.compute_single_action(np.zeros(4, np.float32)) in (0, 1)
        path = algo.save_to_path(tmp_path / "saved")
    learner = results[-1]["learners"]["default_policy"]
    assert learner["num_module_steps_trained_lifetime"] == 0
    assert learner["num_trainable_parameters"] == 0
    assert 10 < results[-1]["env_runners"]["episode_return_mean"] < 40
    with type(algo).from_checkpoint(path, config=settings) as heir:
        assert heir.train()["training_iteration"] == 4


def test_the_same_seed_is_the_same_run():
    def returns(seed):
        with single(Random).debugging(seed=seed).build_algo() as algo:
            return [algo.train()["env_runners"]["episode_return_mean"] for _ in range(4)]

    assert returns(1) == returns(1) != returns(2)


class Asked(CounterEnv):
    """Pays 1 for the right action of a turn."""

    def step(self, action):
        obs, _, *rest = super().step(action)
        return obs, float(action == (obs[1] - 1) % 2), *rest


def test_a_scripted_policy_may_remember():
    endings = [(4, "terminated"), (3, "truncated")]
    settings = single(Alternating, Asked, env_config={"endings": endings})
    with settings.build_algo() as algo:
        runners = algo.train()["env_runners"]
    assert runners["episode_return_min"] == 3.0
    assert runners["episode_return_max"] == 4.0


def test_a_policy_that_samples_by_itself_is_trained_like_any_other():
    with single(Sampling).build_algo() as algo:
        before = algo.params_hash()
        results = [algo.train() for _ in range(3)]
        assert algo.params_hash() != before
    metrics = results[0]["learners"]["default_policy"]
    assert metrics["mean_kl_loss"] >= 0.0
    assert np.isfinite(metrics["policy_loss"])


@pytest.mark.parametrize("config_class", [PPOConfig, IMPALAConfig, DQNConfig, SACConfig])
@pytest.mark.parametrize("is_named", [True, False])
def test_a_random_opponent_among_those_who_learn(tmp_path, config_class, is_named):
    specs = {"learns": RLModuleSpec(), "random": RLModuleSpec(module_class=Random)}
    settings = (
        config_class()
        .environment("MultiAgentCartPole", env_config={"num_agents": 2})
        .env_runners(num_env_runners=0, rollout_fragment_length=16)
        .multi_agent(
            policies={"learns", "random"},
            policy_mapping_fn=lambda agent, episode: "random" if agent else "learns",
            policies_to_train=["learns"] if is_named else None,
        )
        .training(train_batch_size_per_learner=16, minibatch_size=None, num_epochs=1)
        .rl_module(rl_module_spec=MultiRLModuleSpec(specs), model_config={"fcnet_hiddens": [8]})
        .learners(num_learners=0)
        .reporting(min_sample_timesteps_per_iteration=32)
    )
    if config_class in (DQNConfig, SACConfig):
        settings.training(num_steps_sampled_before_learning_starts=16)
    with settings.build_algo() as algo:
        for _ in range(3):
            result = algo.train()
        path = algo.save_to_path(tmp_path / "saved")
        expected = algo.params_hash()
    assert result["learners"].keys() == {"__all_modules__", "learns"}
    assert result["env_runners"]["num_module_steps_sampled"].keys() == {"learns", "random"}
    with type(algo).from_checkpoint(path, config=settings) as heir:
        assert heir.params_hash() == expected
        heir.train()
