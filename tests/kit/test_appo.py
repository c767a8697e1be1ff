"""APPO: its loss against plain sums, its target network, its buffer, and what its runs are."""

import math

import pytest
import torch
from gymnasium.vector import AutoresetMode
from off_policy import MEMORY, environment, old_fragments, single_steps, stir, vtrace_by_definition

from rllib import core
from rllib.algorithms.appo import APPO, APPOConfig, APPOLearner
from rllib.algorithms.impala import IMPALAConfig, IMPALALearner
from rllib.envs.counter import CounterEnv
from rllib.envs.make import probe_spaces

SPACES = probe_spaces(CounterEnv)
MODELS = pytest.mark.parametrize("model", [{"fcnet_hiddens": (4,)}, MEMORY], ids=["mlp", "lstm"])


def config(num_env_runners=0, num_learners=0):
    return (
        APPOConfig()
        .environment("CartPole-v1")
        .env_runners(
            num_env_runners=num_env_runners,
            num_envs_per_env_runner=4,
            rollout_fragment_length=16,
        )
        .learners(num_learners=num_learners)
        .training(train_batch_size_per_learner=128, lr=1e-3, circular_buffer_num_batches=3)
        .rl_module(model_config={"fcnet_hiddens": (16,)})
        .reporting(min_sample_timesteps_per_iteration=512)
        .debugging(seed=7)
    )


def train(settings, iterations=3):
    with APPO(settings) as algorithm:
        results = [algorithm.train() for _ in range(iterations)]
        return algorithm.params_hash(), results


def old_policy(module, batch):
    with torch.no_grad():
        return single_steps(module, batch)


# The loss.


@pytest.mark.parametrize("kl_coeff", [0.0, 0.3])
@pytest.mark.parametrize("autoreset", list(AutoresetMode))
@MODELS
def test_loss_and_gradients_are_those_of_plain_sums_over_single_steps(model, autoreset, kl_coeff):
    settings = (
        environment(APPOConfig())
        .training(gamma=0.9, vf_loss_coeff=0.7, entropy_coeff=0.02, clip_param=0.1)
        .training(target_worker_clipping=1.1, use_kl_loss=kl_coeff > 0, kl_coeff=kl_coeff)
        .rl_module(model_config=model)
    )
    module, batches = old_fragments(settings, autoreset)
    learner = APPOLearner(settings, SPACES)
    learner.module, learner.by_hand = module, None
    stir(learner.target)
    for batch in batches:
        steps, old = single_steps(module, batch), old_policy(learner.target, batch)
        mu = {row: float(batch.action_logp.reshape(-1)[row]) for row in steps}
        log_rhos = {row: step.logp.item() - mu[row] for row, step in old.items()}
        targets, advantages = vtrace_by_definition(batch, steps, log_rhos, gamma=0.9)
        terms, kls, weights = [], [], []
        for row, step in steps.items():
            weights.append(min(1.1, math.exp(mu[row] - old[row].logp.item())))
            ratio = weights[-1] * (step.logp - mu[row]).exp()
            surrogate = torch.minimum(
                ratio * advantages[row], ratio.clamp(0.9, 1.1) * advantages[row]
            )
            old_p = old[row].logits.softmax(-1)
            kls.append((old_p * (old_p.log() - step.logits.log_softmax(-1))).sum())
            error = 0.7 * 0.5 * (step.value - targets[row]) ** 2
            terms.append(-surrogate + error - 0.02 * step.entropy + kl_coeff * kls[-1])
        expected = torch.stack(terms).mean()
        loss = learner.compute_loss(learner.build_train_batch((batch,)))
        assert loss.total.item() == pytest.approx(expected.item(), rel=1e-5)
        kl = torch.stack(kls).mean().item()
        assert loss.metrics["mean_kl_loss"].item() == pytest.approx(kl, abs=1e-5)
        mean = sum(weights) / len(weights)
        variance = sum((weight - mean) ** 2 for weight in weights) / len(weights)
        assert loss.metrics["mean_IS"].item() == pytest.approx(mean, abs=1e-5)
        assert loss.metrics["var_IS"].item() == pytest.approx(variance, abs=1e-5)
        module.zero_grad()
        expected.backward()
        plain = [None if p.grad is None else p.grad.clone() for p in module.parameters()]
        module.zero_grad()
        loss.total.backward()
        for parameter, gradient in zip(module.parameters(), plain, strict=True):
            if gradient is not None:
                torch.testing.assert_close(parameter.grad, gradient, atol=1e-4, rtol=1e-3)


def test_a_policy_that_nobody_remembers_does_not_overflow():
    settings = environment(APPOConfig())
    module, (batch, *_) = old_fragments(settings, AutoresetMode.NEXT_STEP)
    learner = APPOLearner(settings, SPACES)
    learner.module, learner.by_hand = module, None
    with torch.no_grad():
        learner.target.pi.bias.copy_(torch.tensor([300.0, -300.0]))
        module.pi.bias.copy_(torch.tensor([-300.0, 300.0]))
    loss = learner.compute_loss(learner.build_train_batch((batch,)))
    assert math.isfinite(loss.total.item())


# The target network and the KL penalty.


def weights_of(module):
    return torch.cat([parameter.detach().reshape(-1) for parameter in module.parameters()])


def test_the_target_network_moves_when_a_full_buffer_has_passed_so_often():
    settings = environment(APPOConfig()).training(
        lr=1e-2,
        tau=0.25,
        target_network_update_freq=1.5,
        circular_buffer_num_batches=2,
        circular_buffer_iterations_per_batch=1,
    )
    _, (batch, *_) = old_fragments(settings, AutoresetMode.NEXT_STEP)
    learner = APPOLearner(settings, SPACES)
    start = weights_of(learner.module)
    for _ in range(2):
        learner.update(batch)
    assert torch.equal(weights_of(learner.target), start)
    learner.update(batch)
    moved = start.lerp(weights_of(learner.module), 0.25)
    torch.testing.assert_close(weights_of(learner.target), moved)
    heir = APPOLearner(settings, SPACES)
    heir.set_state(learner.get_state())
    assert torch.equal(weights_of(heir.target), weights_of(learner.target))
    when = dict.fromkeys(("learner_began_at", "learner_update_s"), 0.0)
    assert heir.update(batch) | when == learner.update(batch) | when


@pytest.mark.parametrize(("kl_target", "factor"), [(1e9, 0.5), (1e-9, 1.5)])
def test_the_weight_of_the_kl_penalty_adapts(kl_target, factor):
    settings = environment(APPOConfig()).training(use_kl_loss=True, kl_target=kl_target)
    _, (batch, *_) = old_fragments(settings, AutoresetMode.NEXT_STEP)
    learner = APPOLearner(settings, SPACES)
    stir(learner.target)
    coeffs = [learner.update(batch)["curr_kl_coeff"] for _ in range(3)]
    assert coeffs == pytest.approx([1.0, factor, factor**2])


# Devices and number formats.


def learners_of(schema, learner_class, **settings):
    return learner_class(environment(schema()).training(lr=1e-3).learners(**settings), SPACES)


LEARNERS = pytest.mark.parametrize(
    ("schema", "learner_class"), [(IMPALAConfig, IMPALALearner), (APPOConfig, APPOLearner)]
)


@LEARNERS
def test_half_precision_learns_almost_the_same(schema, learner_class):
    _, batches = old_fragments(environment(schema()), AutoresetMode.NEXT_STEP)
    full, half = (
        learners_of(schema, learner_class, mixed_precision=kind) for kind in (None, "bfloat16")
    )
    losses = [learner.update(*batches)["total_loss"] for learner in (full, half)]
    assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.05)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@LEARNERS
def test_a_gpu_learns_what_a_cpu_learns(schema, learner_class):
    _, batches = old_fragments(environment(schema()), AutoresetMode.NEXT_STEP)
    cpu, gpu = (learners_of(schema, learner_class, device=device) for device in ("cpu", "cuda"))
    losses = [learner.update(*batches)["total_loss"] for learner in (cpu, gpu)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    gpu.set_state(cpu.get_state())
    assert torch.equal(weights_of(gpu.module).cpu(), weights_of(cpu.module))


# Runs.


@pytest.mark.parametrize("model", [{"fcnet_hiddens": (16,)}, MEMORY], ids=["mlp", "lstm"])
def test_in_one_process_the_same_seed_learns_the_same(model):
    settings = config().rl_module(model_config=model)
    first, _ = train(settings)
    again, _ = train(settings)
    other, _ = train(settings.copy().debugging(seed=8))
    assert first == again != other


def test_every_batch_is_used_twice_once_the_buffer_is_full():
    _, results = train(config(), iterations=4)
    updates = [r["learners"]["default_policy"]["num_gradient_updates_lifetime"] for r in results]
    steps = [r["num_training_step_calls_per_iteration"] for r in results]
    assert updates[0] == 2 * (steps[0] - 2)
    assert updates[3] == 2 * (sum(steps) - 2)
    lags = [r["learners"]["default_policy"]["policy_lag_max"] for r in results]
    assert 0 < max(lags) < 3 * 2 + 2
    learner = results[-1]["learners"]["default_policy"]
    assert learner.keys() >= {"mean_kl_loss", "curr_kl_coeff", "mean_IS", "var_IS"}


def test_without_the_buffer_every_batch_is_used_once_in_its_order():
    _, results = train(config().training(use_circular_buffer=False))
    learner = results[-1]["learners"]["default_policy"]
    steps = sum(r["num_training_step_calls_per_iteration"] for r in results)
    assert learner["num_gradient_updates_lifetime"] == steps
    assert learner["policy_lag_max"] == 0


def test_what_has_become_too_old_in_the_buffer_is_dropped_and_counted():
    _, results = train(config().training(max_policy_lag=2), iterations=4)
    lags = [r["learners"]["default_policy"]["policy_lag_max"] for r in results]
    assert max(lags) == 2
    assert results[-1]["env_runners"]["num_env_steps_dropped_lifetime"] > 0


@pytest.mark.parametrize("layout", [(0, 0), (2, 1)])
def test_a_resumed_run_goes_on_with_an_empty_buffer(tmp_path, layout):
    with core.init(address="inline"):
        with APPO(config(*layout)) as first:
            first.train()
            path = first.save_to_path(tmp_path / "checkpoint")
            half = first.params_hash()
        hashes = []
        for _ in range(2):
            with APPO.from_checkpoint(path) as second:
                assert second.params_hash() == half
                result = second.train()
                assert result["training_iteration"] == 2
                hashes.append(second.params_hash())
    assert hashes[0] == hashes[1] != half
