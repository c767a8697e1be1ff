"""PPO samples as many rounds of fragments as a train batch takes."""

import os
import signal

import numpy as np
import pytest

from rllib import core
from rllib.algorithms.ppo import PPOConfig, PPOLearner
from rllib.envs.counter import CounterEnv
from rllib.errors import ConfigError
from rllib.preload import PRELOAD

ENDINGS = [(3, "terminated"), (5, "truncated"), (7, "terminated")]
GAMMA, LAMBDA = 0.9, 0.8


class Remembering(PPOLearner):
    """Keeps what it was given, and the train batch that it made of it."""

    given = batch = None

    def build_train_batch(self, batches):
        self.given, self.batch = batches, super().build_train_batch(batches)
        return self.batch


def config(length="auto", size=48, num_env_runners=0, env=CounterEnv, **model):
    return (
        PPOConfig()
        .environment(env, env_config={"endings": ENDINGS} if env is CounterEnv else {})
        .env_runners(num_env_runners=num_env_runners, num_envs_per_env_runner=2)
        .env_runners(rollout_fragment_length=length)
        .training(train_batch_size_per_learner=size, minibatch_size=None, num_epochs=1)
        .training(gamma=GAMMA, lambda_=LAMBDA, learner_class=Remembering)
        .rl_module(model_config={"fcnet_hiddens": [8], **model})
    )


def learnt(settings, iterations=1):
    """Fragments and train batch of the last iteration, its result, and the module before it."""
    with settings.build_algo() as algo:
        for _ in range(iterations):
            module = algo.get_module()
            result = algo.train()
        learner = algo.learner_group.workers[0].target
        return learner.given, learner.batch, result, module


def joined(fragments, name):
    return np.concatenate([getattr(each, name) for each in fragments])


def test_two_rounds_of_half_the_length_are_the_rows_of_one_of_the_whole():
    whole, _, expected, _ = learnt(config(24))
    halves, batch, result, _ = learnt(config(12))
    assert (len(whole), len(halves)) == (1, 2)
    for name in ("obs", "actions", "rewards", "terminateds", "truncateds", "reset_rows"):
        np.testing.assert_array_equal(joined(halves, name), joined(whole, name), name)
    np.testing.assert_array_equal(halves[0].last_obs, halves[1].obs[0])
    num_steps = sum(each.num_env_steps for each in halves)
    assert len(batch.advantages) == num_steps == whole[0].num_env_steps
    for counts in (expected, result):
        assert counts["num_env_steps_sampled_lifetime"] == num_steps
        assert counts["env_runners"]["num_env_steps_sampled"] == num_steps
        assert counts["learners"]["default_policy"]["num_module_steps_trained"] == num_steps
        assert counts["env_runners"]["weights_seq_no"] == 2, "the first, and that of the update"
    episodes = expected["env_runners"]["num_episodes"]
    assert result["env_runners"]["num_episodes"] == episodes > 0
    mean = expected["env_runners"]["episode_return_mean"]
    assert result["env_runners"]["episode_return_mean"] == mean


def advantages_of(fragment, values_of):
    """By the recursion, one row after the other, of env steps in the order of the train batch."""
    T, N = fragment.rewards.shape
    values = values_of(fragment.obs.reshape(T * N, -1)).reshape(T, N)
    last, final = values_of(fragment.last_obs), values_of(fragment.final_obs)
    cut = dict(zip(fragment.final_index.tolist(), final.tolist(), strict=True))
    advantages = np.zeros((T, N))
    for n in range(N):
        ahead = 0.0
        for t in reversed(range(T)):
            if fragment.reset_rows[t, n]:
                ahead = 0.0
                continue
            following = values[t + 1, n] if t + 1 < T else last[n]
            following = cut.get(t * N + n, following) * (not fragment.terminateds[t, n])
            delta = fragment.rewards[t, n] + GAMMA * following - values[t, n]
            is_end = fragment.terminateds[t, n] or fragment.truncateds[t, n]
            ahead = delta + GAMMA * LAMBDA * ahead * (not is_end)
            advantages[t, n] = ahead
    return advantages[~fragment.reset_rows], values[~fragment.reset_rows]


def test_every_round_is_worth_what_its_own_end_is_worth():
    fragments, batch, _, module = learnt(config(12))

    def values_of(obs):
        inputs = {"obs": module.encode(obs)}
        return module.compute_values(inputs).detach().numpy().astype(np.float64)

    parts = [advantages_of(each, values_of) for each in fragments]
    expected, values = map(np.concatenate, zip(*parts, strict=True))
    np.testing.assert_allclose(batch.value_targets, expected + values, rtol=1e-5, atol=1e-4)
    standard = (expected - expected.mean()) / expected.std()
    np.testing.assert_allclose(batch.advantages, standard, rtol=1e-4, atol=1e-4)


def test_a_memory_goes_on_from_one_round_to_the_next():
    model = {"use_lstm": True, "lstm_cell_size": 3, "max_seq_len": 24}
    (whole,), _, _, module = learnt(config(24, **model))
    (first, second), batch, _, _ = learnt(config(12, **model))
    np.testing.assert_array_equal(joined([first, second], "obs"), whole.obs)
    state = module.get_initial_state()
    state = {name: np.stack([np.asarray(part)] * 2) for name, part in state.items()}
    for row in range(len(first.obs)):
        _, state = module.act(first.obs[row], state)
        over = first.terminateds[row] | first.truncateds[row] | first.reset_rows[row]
        state = {k: np.where(over[:, None], 0.0, np.asarray(s)) for k, s in state.items()}
    for name, part in state.items():
        begin = second.state_in[name][second.state_rows < 2]
        np.testing.assert_allclose(begin, part, atol=1e-6)
    assert int(batch.mask.sum()) == first.num_env_steps + second.num_env_steps


def test_processes_learn_in_rounds_what_one_process_learns():
    def trained(num_actors):
        settings = config(6, env="CartPole-v1", num_env_runners=num_actors)
        with settings.learners(num_learners=num_actors).build_algo() as algo:
            steps = [algo.train()["num_env_steps_sampled_lifetime"] for _ in range(3)]
            return algo.params_hash(), steps

    with core.init(num_cpus=2, preload=PRELOAD):
        local = trained(0)
        assert trained(1) == local
        with config(6, num_env_runners=2).training(learner_class=None).build_algo() as algo:
            samples = algo.env_runner_group.sample(num_env_steps=48)
            assert samples.sources == [0, 1, 0, 1]
            result = algo.train()
    assert local[1][-1] > 3 * 40
    assert 30 < result["env_runners"]["num_env_steps_sampled"] <= 48


class DiesOnce(CounterEnv):
    """Its process dies in the third of four rounds, the first time that it comes there."""

    def step(self, action):
        if self.num_steps == 15:
            try:
                os.close(os.open(os.environ["DIES_ONCE"], os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return super().step(action)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


@pytest.mark.filterwarnings("ignore:env runner:RuntimeWarning")
def test_a_train_batch_is_full_although_an_env_runner_dies_in_one_of_its_rounds(
    tmp_path, monkeypatch
):
    settings = config(6, size=96, num_env_runners=2, env=DiesOnce).training(learner_class=None)
    settings.env_runners(num_envs_per_env_runner=2)
    monkeypatch.setenv("DIES_ONCE", str(tmp_path / "died"))
    with core.init(num_cpus=3, preload=PRELOAD), settings.build_algo() as algo:
        samples = algo.env_runner_group.sample(num_env_steps=96)
        assert (tmp_path / "died").exists()
        assert len(samples.batches) == 8
        assert sorted(set(samples.sources)) in ([0], [1], [0, 1])
        counts = algo.env_runner_group.get_fault_metrics()
        # The third round and the fourth, and those before that it had not sent yet.
        assert 2 <= counts["num_env_runners_dropped_lifetime"] <= 4


def test_several_agents_go_by_rounds_as_well():
    settings = (
        config(8, size=32, env="MultiAgentCartPole")
        .training(learner_class=None)
        .multi_agent(policies={"even", "odd"})
        .multi_agent(policy_mapping_fn=lambda agent, episode: ("even", "odd")[agent % 2])
    )
    with settings.build_algo() as algo:
        samples = algo.env_runner_group.sample(num_env_steps=32)
        assert [each.num_env_steps for each in samples.stats] == [16, 16]
        result = algo.train()
        assert result["env_runners"]["num_env_steps_sampled"] == 32
        assert result["learners"].keys() == {"__all_modules__", "even", "odd"}


@pytest.mark.parametrize("length", [3, "auto"])
def test_whole_episodes_are_played_until_a_train_batch_is_full(length):
    fragments, batch, result, _ = learnt(config(length).env_runners(batch_mode="complete_episodes"))
    counts = [each.num_env_steps for each in fragments]
    assert sum(counts) == len(batch.advantages) >= 48
    assert sum(counts[:-1]) < 48
    assert result["env_runners"]["num_env_steps_sampled"] == sum(counts)
    assert len(fragments) == 1 if length == "auto" else len(fragments) > 2


def test_fragments_that_do_not_fit_the_train_batch_are_refused_with_what_fits():
    settings = config(20, size=64, num_env_runners=2)
    with pytest.raises(ConfigError) as refused:
        settings.build_algo()
    for part in ("rollout_fragment_length", "20 steps of 4", "num_env_runners=2", "80", "64"):
        assert part in str(refused.value)
    assert 'take "auto", which is 16 then, or train_batch_size_per_learner=80' in str(refused.value)
    settings.training(train_batch_size_per_learner=80).validate()
    settings.env_runners(rollout_fragment_length="auto").validate()
    config(22, size=40).validate()  # 44 are a tenth more
    with pytest.raises(ConfigError, match="make 46 env steps"):
        config(23, size=40).validate()


def test_what_a_layout_decides_is_not_held_against_the_settings():
    settings = PPOConfig().environment("CartPole-v1").resources(layout="auto")
    settings.env_runners(num_envs_per_env_runner=8, rollout_fragment_length=16)
    settings.training(train_batch_size_per_learner=128)
    assert settings.rounds_of(128) == 1
    settings.validate()
    assert settings.env_runners(num_env_runners=2).rounds_of(128) == 1
    with pytest.raises(ConfigError, match="make 256 env steps"):
        settings.validate()
