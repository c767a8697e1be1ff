"""Whole fragments in one forward, against single steps and the definition of V-trace."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from off_policy import MEMORY, environment, old_fragments, single_steps, vtrace_by_definition

from rllib.algorithms.impala import IMPALAConfig
from rllib.learning.vtrace_batch import correct, environments, forward, vtrace_batch
from rllib.sampling.fragments import fill_up, join

KINDS = pytest.mark.parametrize("model", [{"fcnet_hiddens": (4,)}, MEMORY], ids=["mlp", "lstm"])
MODES = pytest.mark.parametrize("autoreset", list(AutoresetMode))


def settings(model):
    return environment(IMPALAConfig()).training(gamma=0.9).rl_module(model_config=model)


def evaluate(batch, module, config):
    """Of each env step: log probability, value, V-trace target and advantage."""
    output = forward(module, batch.inputs)
    logp = module.distribution.log_prob(output.dist_inputs[batch.steps], batch.actions)
    targets = correct(batch, output.values, logp, config)
    values = output.values[batch.steps]
    return [x.detach().numpy() for x in (logp, values, *targets)]


@MODES
@KINDS
def test_one_forward_says_of_every_step_what_a_forward_of_that_step_says(model, autoreset):
    config = settings(model).training(
        lambda_=0.8, vtrace_clip_rho_threshold=0.9, vtrace_clip_pg_rho_threshold=1.2
    )
    module, batches = old_fragments(config, autoreset)
    for batch in batches:
        steps = single_steps(module, batch)
        log_rhos = {
            row: step.logp.item() - batch.action_logp.reshape(-1)[row]
            for row, step in steps.items()
        }
        limits = {"gamma": 0.9, "lambda_": 0.8, "clip_rho": 0.9, "clip_pg_rho": 1.2}
        targets, advantages = vtrace_by_definition(batch, steps, log_rhos, **limits)
        assert np.std([*log_rhos.values()]) > 0.01, "the policy has changed"
        rows = np.flatnonzero(~batch.reset_rows)
        expected = [
            [steps[row].logp.item() for row in rows],
            [steps[row].value.item() for row in rows],
            [targets[row] for row in rows],
            [advantages[row] for row in rows],
        ]
        found = evaluate(vtrace_batch(batch, module), module, config)
        np.testing.assert_allclose(found, expected, atol=2e-5)


@MODES
@KINDS
def test_fragments_side_by_side_are_what_each_of_them_is(model, autoreset):
    config = settings(model)
    module, batches = old_fragments(config, autoreset)
    together = evaluate(vtrace_batch(join(batches), module), module, config)
    # Joined rows are in the order of time first, then fragment, then environment.
    order = np.concatenate(
        [
            np.flatnonzero(~b.reset_rows) // 2 * 8 + np.flatnonzero(~b.reset_rows) % 2 + 2 * i
            for i, b in enumerate(batches)
        ]
    ).argsort()
    each = [evaluate(vtrace_batch(batch, module), module, config) for batch in batches]
    for joined, parts in zip(together, zip(*each, strict=True), strict=True):
        np.testing.assert_allclose(joined, np.concatenate(parts)[order], atol=1e-5)


@MODES
@KINDS
def test_some_of_the_environments_are_what_they_are_among_all(model, autoreset):
    config = settings(model)
    module, batches = old_fragments(config, autoreset)
    batch = join(batches)
    everything = vtrace_batch(batch, module)
    column = np.flatnonzero(~batch.reset_rows) % 8
    whole = evaluate(everything, module, config)
    for chosen in ([0], [1, 4, 6], [7], [*range(8)]):
        part = environments(everything, np.array(chosen))
        found = evaluate(part, module, config)
        for some, among_all in zip(found, whole, strict=True):
            np.testing.assert_allclose(some, among_all[np.isin(column, chosen)], atol=1e-5)
        if len(chosen) == 1:
            assert len(part.inputs["obs"]) < len(everything.inputs["obs"]) / 4


def test_a_fragment_alone_is_not_copied():
    config = settings({"fcnet_hiddens": (4,)})
    _, (fragment, *_) = old_fragments(config, AutoresetMode.NEXT_STEP)
    assert join([fragment]) is fragment


@MODES
@KINDS
def test_fragments_of_other_lengths_are_filled_up_with_what_changes_nothing(model, autoreset):
    config = settings(model)
    module, batches = old_fragments(config, autoreset)
    for batch in batches:
        longer = fill_up(batch, 17)
        assert longer.rewards.shape == (17, 2)
        assert longer.num_env_steps == batch.num_env_steps
        before, after = (evaluate(vtrace_batch(b, module), module, config) for b in (batch, longer))
        for expected, found in zip(before, after, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-5)
    joined = join([batches[0], fill_up(batches[1], 17)])
    assert joined.rewards.shape == (17, 4)
    assert joined.num_env_steps == batches[0].num_env_steps + batches[1].num_env_steps


def test_targets_carry_no_gradient():
    config = settings(MEMORY)
    module, (fragment, *_) = old_fragments(config, AutoresetMode.NEXT_STEP)
    batch = vtrace_batch(fragment, module)
    output = forward(module, batch.inputs)
    logp = module.distribution.log_prob(output.dist_inputs[batch.steps], batch.actions)
    assert logp.requires_grad
    assert not any(target.requires_grad for target in correct(batch, output.values, logp, config))
    assert len(batch.steps.unique()) == len(batch.steps) == fragment.num_env_steps
