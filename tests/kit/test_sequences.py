"""Sequences of a recurrent policy, checked against stepping every episode one row at a time."""

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from rllib.algorithms.ppo import PPOConfig, ppo_batch
from rllib.envs.counter import CounterEnv
from rllib.envs.make import make_vector_env, probe_spaces
from rllib.learning.sequences import compute_values, observed, sequences, successors
from rllib.sampling.env_runner import EnvRunner

ENDINGS = [
    (3, "terminated"),
    (2, "truncated"),
    (9, "truncated"),
    (1, "truncated"),
    (7, "terminated"),
]
LENGTH = 4


def config(cell="use_lstm"):
    return (
        PPOConfig()
        .environment(CounterEnv, env_config={"endings": ENDINGS})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2, rollout_fragment_length=11)
        .training(gamma=0.9, lambda_=0.8)
        .rl_module(
            model_config={
                cell: True,
                "fcnet_hiddens": (4,),
                "lstm_cell_size": 3,
                "max_seq_len": LENGTH,
            }
        )
    )


def fragments(settings, autoreset, count=4):
    spaces = probe_spaces(CounterEnv)
    runner = EnvRunner(settings, spaces, index=0)
    runner.stop()
    runner.env = make_vector_env(CounterEnv, 2, "sync", settings.env_config, autoreset)
    runner.reset(generation=0)
    torch.manual_seed(1)
    module = settings.get_rl_module_spec(spaces).build()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.5)
    runner.set_weights({k: v.numpy() for k, v in module.policy_state().items()}, 1)
    batches = [runner.sample()[0] for _ in range(count)]
    runner.stop()
    return module, batches


def step_by_step(module, batch, following_obs):
    """V(s_t) and V(s_{t+1}) by one step of the memory at a time, from each sequence's state."""
    T, N = batch.rewards.shape
    everything = observed(batch)
    starts = {row: i for i, row in enumerate(batch.state_rows)}
    values, following = np.zeros((2, T, N))

    def value(row, state):
        inputs = {"obs": module.encode(everything[row][None, None]), "state_in": state}
        hidden, output = module._hidden(inputs)
        return module.compute_values(inputs, hidden).item(), output["state_out"]

    with torch.no_grad():
        for n in range(N):
            for t in range(T):
                row = t * N + n
                if row in starts:
                    state = {
                        k: torch.from_numpy(v[starts[row]])[None] for k, v in batch.state_in.items()
                    }
                if batch.reset_rows[t, n]:
                    continue
                values[t, n], state = value(row, state)
                following[t, n], _ = value(following_obs[t, n], state)
    return values, np.where(batch.terminateds, 0.0, following)


@pytest.mark.parametrize("cell", ["use_lstm", "use_gru"])
@pytest.mark.parametrize("autoreset", list(AutoresetMode))
def test_values_of_sequences_are_those_of_single_steps(autoreset, cell):
    module, batches = fragments(config(cell), autoreset)
    for batch in batches:
        values, following = compute_values(batch, module)
        expected, expected_following = step_by_step(module, batch, successors(batch))
        np.testing.assert_allclose(values, expected, atol=1e-5)
        live = ~batch.reset_rows
        np.testing.assert_allclose(following[live], expected_following[live], atol=1e-5)


@pytest.mark.parametrize("autoreset", list(AutoresetMode))
def test_sequences_hold_every_step_once_and_cross_no_episode(autoreset):
    _, batches = fragments(config(), autoreset)
    for batch in batches:
        runs = sequences(batch, LENGTH)
        assert sorted(runs.rows[runs.mask]) == np.flatnonzero(~batch.reset_rows).tolist()
        assert runs.rows.shape[1] == LENGTH
        obs = batch.obs.reshape(-1, 2)
        for rows, mask in zip(runs.rows, runs.mask, strict=True):
            episodes, steps = obs[rows[mask]].T
            assert (episodes == episodes[0]).all()
            assert (np.diff(steps) == 1).all()


def test_memory_begins_at_zero_with_every_episode_and_goes_on_across_fragments():
    _, batches = fragments(config(), AutoresetMode.SAME_STEP)
    for number, batch in enumerate(batches):
        obs = batch.obs.reshape(-1, 2)
        for row, state in zip(batch.state_rows, batch.state_in["h"], strict=True):
            assert (obs[row, 1] == 0) == (not state.any()), (number, row)


def test_the_loss_of_an_unchanged_policy_has_ratio_one_for_sequences():
    settings = config()
    module, batches = fragments(settings, AutoresetMode.NEXT_STEP)
    columns = ppo_batch(batches[2], module, settings)
    output = module.forward_train(columns.inputs)
    inputs = output["action_dist_inputs"][columns.mask]
    torch.testing.assert_close(inputs, columns.old_dist_inputs[columns.mask], atol=1e-5, rtol=1e-5)


def test_a_runner_with_memory_goes_on_bit_for_bit_after_a_restore():
    settings = config().environment("CartPole-v1", env_config={})
    spaces = probe_spaces("CartPole-v1")
    module = settings.get_rl_module_spec(spaces).build()
    weights = {k: v.numpy() for k, v in module.policy_state().items()}
    runner, heir = (EnvRunner(settings, spaces, 0) for _ in range(2))
    for each in (runner, heir):
        each.set_weights(weights, 1)
    runner.sample()
    heir.set_state(runner.get_state(), generation=1)
    expected, actual = runner.sample()[0], heir.sample()[0]
    np.testing.assert_array_equal(actual.actions, expected.actions)
    np.testing.assert_array_equal(actual.state_in["c"], expected.state_in["c"])


def test_many_observations_are_read_in_parts(monkeypatch):
    settings = config()
    settings.rl_module(model_config={"fcnet_hiddens": (4,)})
    module, batches = fragments(settings, AutoresetMode.NEXT_STEP, count=1)
    (batch,) = batches
    at_once = compute_values(batch, module)
    read = []
    plain = type(module).compute_values

    def counted(self, inputs):
        values = plain(self, inputs)
        read.append(len(values))
        return values

    monkeypatch.setattr(type(module), "compute_values", counted)
    monkeypatch.setattr("rllib.learning.sequences.MOST_BYTES", batch.obs.nbytes // 5)
    in_parts = compute_values(batch, module)
    assert len(read) > 5
    np.testing.assert_allclose(in_parts.values, at_once.values, rtol=1e-6)
    np.testing.assert_allclose(in_parts.following, at_once.following, rtol=1e-6)
