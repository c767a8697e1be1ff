"""IMPALA: its loss against plain sums, its way of counting, and what its runs are."""

import json

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from off_policy import MEMORY, environment, old_fragments, single_steps, vtrace_by_definition
from together import together

from rllib import core
from rllib.algorithms.appo import APPOConfig, APPOLearner
from rllib.algorithms.impala import IMPALA, IMPALAConfig, IMPALALearner
from rllib.envs.counter import CounterEnv
from rllib.envs.make import probe_spaces
from rllib.errors import ConfigError
from rllib.learning.shares import divide

MODELS = pytest.mark.parametrize("model", [{"fcnet_hiddens": (4,)}, MEMORY], ids=["mlp", "lstm"])


def config(num_env_runners=0, num_learners=0, env="CartPole-v1", **env_config):
    return (
        IMPALAConfig()
        .environment(env, env_config=env_config)
        .env_runners(
            num_env_runners=num_env_runners,
            num_envs_per_env_runner=4,
            rollout_fragment_length=16,
        )
        .learners(num_learners=num_learners)
        .training(train_batch_size_per_learner=128, lr=1e-3)
        .rl_module(model_config={"fcnet_hiddens": (16,)})
        .reporting(min_sample_timesteps_per_iteration=256)
        .debugging(seed=7)
    )


def train(settings, iterations=3):
    with IMPALA(settings) as algorithm:
        results = [algorithm.train() for _ in range(iterations)]
        return algorithm.params_hash(), results


@pytest.fixture
def inline():
    with core.init(address="inline"):
        yield


# The loss.


def gradients(loss, module):
    module.zero_grad()
    loss.backward()
    return {
        name: parameter.grad.clone()
        for name, parameter in module.named_parameters()
        if parameter.grad is not None
    }


@pytest.mark.parametrize("autoreset", list(AutoresetMode))
@MODELS
def test_loss_and_gradients_are_those_of_plain_sums_over_single_steps(model, autoreset):
    settings = (
        environment(IMPALAConfig())
        .training(gamma=0.9, vf_loss_coeff=0.7, entropy_coeff=0.02)
        .training(vtrace_clip_rho_threshold=0.9, vtrace_clip_pg_rho_threshold=1.1)
        .rl_module(model_config=model)
    )
    module, batches = old_fragments(settings, autoreset)
    learner = IMPALALearner(settings, probe_spaces(CounterEnv))
    learner.module, learner.by_hand = module, None
    for batch in batches:
        steps = single_steps(module, batch)
        log_rhos = {
            row: step.logp.item() - batch.action_logp.reshape(-1)[row]
            for row, step in steps.items()
        }
        targets, advantages = vtrace_by_definition(
            batch, steps, log_rhos, gamma=0.9, clip_rho=0.9, clip_pg_rho=1.1
        )
        terms = [
            -step.logp * advantages[row]
            + 0.7 * 0.5 * (step.value - targets[row]) ** 2
            - 0.02 * step.entropy
            for row, step in steps.items()
        ]
        expected = torch.stack(terms).mean()
        loss = learner.compute_loss(learner.build_train_batch((batch,)))
        assert loss.total.item() == pytest.approx(expected.item(), rel=1e-5)
        plain, ours = gradients(expected, module), gradients(loss.total, module)
        for name, gradient in plain.items():
            torch.testing.assert_close(ours[name], gradient, atol=1e-4, rtol=1e-3)


def test_the_entropy_coefficient_follows_its_schedule():
    settings = environment(IMPALAConfig()).training(entropy_coeff=[[0, 0.1], [100, 0.0]])
    _, (batch, *_) = old_fragments(settings, AutoresetMode.NEXT_STEP)
    learner = IMPALALearner(settings, probe_spaces(CounterEnv))
    coeffs = [learner.update(batch, timestep=t)["curr_entropy_coeff"] for t in (0, 50, 200)]
    assert coeffs == pytest.approx([0.1, 0.05, 0.0])


# Minibatches.


def test_minibatches_are_groups_of_environments_and_every_epoch_has_all():
    settings = environment(IMPALAConfig()).training(
        train_batch_size_per_learner=88, minibatch_size=25, num_epochs=2
    )
    _, batches = old_fragments(settings, AutoresetMode.NEXT_STEP)
    learner = IMPALALearner(settings, probe_spaces(CounterEnv))
    whole = learner.build_train_batch(tuple(batches))
    learner.steps_per_learner = len(whole.steps)
    parts = [*learner.minibatches(whole)]
    assert [part.rows.rewards.shape for part in parts] == [(11, 3), (11, 3), (11, 2)] * 2
    for epoch in (parts[:3], parts[3:]):
        assert sum(len(part.steps) for part in epoch) == len(whole.steps)
    metrics = learner.update(*batches)
    assert metrics["num_gradient_updates_lifetime"] == 6
    assert metrics["num_module_steps_trained"] == len(whole.steps)


def test_a_train_batch_is_a_number_of_whole_fragments_for_every_learner():
    settings = config()
    assert settings.fragments_per_update == 2
    assert settings.copy().training(train_batch_size_per_learner=10).fragments_per_update == 1
    settings.num_learners = 3
    assert settings.fragments_per_update == 6


@pytest.mark.parametrize("size", [2, 3, 10])  # of 10 learners some get no environment
@pytest.mark.parametrize("learner_class", [IMPALALearner, APPOLearner])
def test_several_learners_learn_what_one_learns_from_everything(learner_class, size):
    schema = {IMPALALearner: IMPALAConfig, APPOLearner: APPOConfig}[learner_class]
    settings = environment(schema()).training(num_epochs=2)
    _, batches = old_fragments(settings, AutoresetMode.NEXT_STEP)
    alone = learner_class(settings, probe_spaces(CounterEnv))
    expected = alone.update(*batches)
    made = [learner_class(settings, probe_spaces(CounterEnv)) for _ in range(size)]
    shares = divide(len(batches), size)

    def member(peers):
        learner, own = made[peers.rank], shares[peers.rank]
        learner.join(peers)
        return learner.update(*(batches[index] for index in own), shares=[*own.values()])

    metrics = together(size, member)
    for learner in made:
        mine, theirs = (each.optimizers["default_optimizer"] for each in (learner, alone))
        torch.testing.assert_close(mine.gradient, theirs.gradient, atol=1e-6, rtol=0)
        torch.testing.assert_close(mine.flat, made[0].optimizers["default_optimizer"].flat)
    when = {"learner_began_at", "learner_update_s"}
    for name in expected.keys() - when - {"vf_explained_var", "var_IS"}:
        assert metrics[0][name] == pytest.approx(expected[name], rel=1e-4, abs=1e-5), name


def test_several_learners_have_equally_many_minibatches():
    settings = environment(IMPALAConfig()).training(
        train_batch_size_per_learner=88, minibatch_size=20
    )
    _, batches = old_fragments(settings, AutoresetMode.NEXT_STEP)
    made = [IMPALALearner(settings, probe_spaces(CounterEnv)) for _ in range(3)]

    def member(peers):
        learner, own = made[peers.rank], divide(len(batches), 3)[peers.rank]
        learner.join(peers)
        return learner.update(*(batches[index] for index in own), shares=[*own.values()])

    counts = [metrics["num_gradient_updates_lifetime"] for metrics in together(3, member)]
    assert counts == [1, 1, 1]


# Runs.


def test_the_result_has_rllibs_keys_and_the_policy_lag():
    _, results = train(config())
    result = results[-1]
    learner = result["learners"]["default_policy"]
    assert learner.keys() >= {
        "total_loss",
        "policy_loss",
        "vf_loss",
        "vf_explained_var",
        "entropy",
        "curr_entropy_coeff",
        "default_optimizer_learning_rate",
        "gradients_default_optimizer_global_norm",
        "num_module_steps_trained_lifetime",
        "diff_num_grad_updates_vs_sampler_policy",
        "policy_lag_mean",
        "policy_lag_max",
        "queue_size_results_queue",
    }
    assert learner["policy_lag_max"] == 0
    assert result["env_runners"]["num_env_steps_dropped_lifetime"] == 0
    assert result["env_runner_group"] == {"actor_manager_num_outstanding_async_reqs": 0}
    # An iteration is as many updates as it takes for 256 env steps; a few rows are resets.
    assert result["num_training_step_calls_per_iteration"] == 3
    sampled = sum(each["env_runners"]["num_env_steps_sampled"] for each in results)
    assert result["num_env_steps_sampled_lifetime"] == sampled
    assert learner["num_module_steps_trained_lifetime"] == sampled
    json.dumps(results, allow_nan=False)


@pytest.mark.parametrize("model", [{"fcnet_hiddens": (16,)}, MEMORY], ids=["mlp", "lstm"])
def test_in_one_process_the_same_seed_learns_the_same(model):
    settings = config().rl_module(model_config=model)
    first, _ = train(settings)
    again, _ = train(settings)
    other, _ = train(settings.copy().debugging(seed=8))
    assert first == again != other


@pytest.mark.parametrize("layout", [(1, 0), (0, 1), (2, 1)])
@pytest.mark.usefixtures("inline")
def test_actors_on_the_serial_engine_learn_the_same_every_time(layout):
    first, results = train(config(*layout))
    again, _ = train(config(*layout))
    assert first == again
    lags = [result["learners"]["default_policy"]["policy_lag_max"] for result in results]
    # What a runner was asked for ahead of time was sampled by older weights, but not by much.
    assert (max(lags) > 0) == (layout[0] > 0)
    assert max(lags) <= 2 * layout[0]


def test_several_agents_learn_each_from_its_own_fragments():
    settings = (
        config(env="MultiAgentCartPole", num_agents=3)
        .multi_agent(policies={"even", "odd"}, policy_mapping_fn=by_parity)
        .training(minibatch_size=64)
    )
    first, results = train(settings)
    again, _ = train(settings)
    assert first == again
    learners = results[-1]["learners"]
    trained = {name: each["num_module_steps_trained_lifetime"] for name, each in learners.items()}
    assert trained["even"] > 1.5 * trained["odd"] > 0  # agents 0 and 2, and agent 1


def by_parity(agent, episode):
    return "odd" if agent % 2 else "even"


@pytest.mark.usefixtures("inline")
def test_weights_go_out_once_per_interval():
    settings = config(1, 0).training(broadcast_interval=4)
    _, results = train(settings)
    updates = sum(result["num_training_step_calls_per_iteration"] for result in results)
    seq_no = results[-1]["env_runners"]["weights_seq_no"]
    assert seq_no % 4 == 1  # those of the beginning are the first
    assert updates - 4 <= seq_no <= updates + 1
    assert max(r["learners"]["default_policy"]["policy_lag_max"] for r in results) >= 4


@pytest.mark.usefixtures("inline")
def test_what_is_too_old_is_dropped_and_counted():
    settings = config(2, 0).training(train_batch_size_per_learner=64, max_policy_lag=1)
    _, results = train(settings, iterations=4)
    assert all(r["learners"]["default_policy"]["policy_lag_max"] <= 1 for r in results)
    sampled = results[-1]["num_env_steps_sampled_lifetime"]
    trained = results[-1]["learners"]["default_policy"]["num_module_steps_trained_lifetime"]
    dropped = results[-1]["env_runners"]["num_env_steps_dropped_lifetime"]
    assert dropped > 0
    assert sampled == trained + dropped


@pytest.mark.usefixtures("inline")
def test_normalising_connectors_share_what_they_saw():
    settings = config(2, 0).env_runners(observation_filter="MeanStdFilter")
    first, _ = train(settings)
    again, _ = train(settings)
    assert first == again
    with IMPALA(settings) as algorithm:
        algorithm.train()
        (statistics,) = algorithm.interface.pipeline.get_statistics().values()
        (runner, _) = algorithm.env_runner_group.get_state().values()
    assert json.dumps(runner["connectors"], default=np.ndarray.tolist) != "{}"
    assert statistics["count"] > 0


@pytest.mark.parametrize("layout", [(0, 0), (1, 1)])
@pytest.mark.usefixtures("inline")
def test_a_resumed_run_goes_on(tmp_path, layout):
    expected, results = train(config(*layout), iterations=4)
    with IMPALA(config(*layout)) as first:
        for _ in range(2):
            first.train()
        path = first.save_to_path(tmp_path / "checkpoint")
        half = first.params_hash()
    with IMPALA.from_checkpoint(path) as second:
        assert second.params_hash() == half
        resumed = [second.train() for _ in range(2)]
        assert (second.params_hash() == expected) == (layout == (0, 0))
    assert resumed[-1]["training_iteration"] == 4
    assert resumed[-1]["learners"]["default_policy"]["policy_lag_max"] <= 2
    if layout == (0, 0):
        steps = "num_env_steps_sampled_lifetime"
        assert resumed[-1][steps] == results[-1][steps]


@pytest.mark.usefixtures("inline")
def test_a_resumed_run_counts_its_weights_and_offers_them_when_it_would_have(tmp_path):
    settings = config(0, 0).training(broadcast_interval=3)
    _, whole = train(settings, iterations=4)
    with IMPALA(settings) as first:
        for _ in range(2):
            first.train()
        path, version = first.save_to_path(tmp_path / "checkpoint"), first.version
    with IMPALA.from_checkpoint(path) as second:
        assert second.version == second.env_runner_group.weights_seq_no == version
        resumed = [second.train() for _ in range(2)]
    for mine, theirs in zip(resumed, whole[2:], strict=True):
        assert mine["env_runners"]["weights_seq_no"] == theirs["env_runners"]["weights_seq_no"]


def test_settings_that_cannot_work_are_refused_with_the_reason():
    with pytest.raises(ConfigError, match=r"vtrace.*no correction but V-trace"):
        IMPALA(config().training(vtrace=False))
    with pytest.raises(ConfigError, match=r"rollout_fragment_length.*make it at least 2"):
        IMPALA(config().env_runners(rollout_fragment_length=1))
