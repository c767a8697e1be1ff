"""Fragments of a policy that has changed since, and what they are worth by the papers' own sums.

Everything is worked out one env step at a time in double precision: no arrays over time, no
recursions, nothing of the kit but its modules' forward of a single step.
"""

from typing import NamedTuple

import numpy as np
import torch

from rllib.envs.counter import CounterEnv
from rllib.envs.make import make_vector_env, probe_spaces
from rllib.learning.sequences import observed, successors
from rllib.sampling.env_runner import EnvRunner

ENDINGS = [
    (3, "terminated"),
    (2, "truncated"),
    (9, "truncated"),
    (1, "truncated"),
    (7, "terminated"),
]
MEMORY = {"use_lstm": True, "fcnet_hiddens": (4,), "lstm_cell_size": 3, "max_seq_len": 4}


def environment(settings):
    """Episodes of all lengths and endings, in two environments, with rewards of order one."""
    return (
        settings.environment(CounterEnv, env_config={"endings": ENDINGS, "reward_scale": 1e-3})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2, rollout_fragment_length=11)
        .learners(num_learners=0)
        .rl_module(model_config={"fcnet_hiddens": (4,)})
    )


def old_fragments(settings, autoreset, count=4):
    """Fragments of a policy whose weights are twice those of the settings' own module."""
    spaces = probe_spaces(CounterEnv)
    runner = EnvRunner(settings, spaces, index=0)
    runner.stop()
    runner.env = make_vector_env(CounterEnv, 2, "sync", settings.env_config, autoreset)
    runner.reset(generation=0)
    torch.manual_seed(1)
    module = settings.get_rl_module_spec(spaces).build()
    stir(module)
    runner.set_weights({k: v.numpy() for k, v in module.policy_state().items()}, 1)
    batches = [runner.sample()[0] for _ in range(count)]
    runner.stop()
    stir(module)
    return module, batches


@torch.no_grad()
def stir(module):
    """Make all weights random, and logits of order one."""
    for parameter in module.parameters():
        parameter.copy_(torch.randn(parameter.shape) * 0.3)


class Step(NamedTuple):
    """What a module says of one env step; tensors with gradients."""

    logp: torch.Tensor
    entropy: torch.Tensor
    value: torch.Tensor
    following: torch.Tensor
    logits: torch.Tensor


def single_steps(module, batch):
    """``Step`` by row ``t * N + n``, from one forward per env step."""
    T, N = batch.rewards.shape
    everything, after = observed(batch), successors(batch)
    starts = {row: i for i, row in enumerate(batch.state_rows)}
    steps = {}
    for n in range(N):
        state = {}
        for t in range(T):
            row = t * N + n
            if row in starts:
                state = {k: torch.tensor(v[starts[row]])[None] for k, v in batch.state_in.items()}
            if batch.reset_rows[t, n]:
                continue
            logits, value, state = _forward(module, everything[row], state)
            _, following, _ = _forward(module, everything[after[t, n]], state)
            log_p = logits.log_softmax(-1)
            action = int(batch.actions[t, n])
            entropy = -(log_p.exp() * log_p).sum()
            steps[row] = Step(log_p[action], entropy, value, following, logits)
    return steps


def _forward(module, obs, state):
    lead = (None, None) if state else (None,)
    inputs = {"obs": module.encode(obs[lead])} | ({"state_in": state} if state else {})
    output = module.forward_train(inputs)
    value = module.compute_values(inputs, output.get("embeddings"))
    return output["action_dist_inputs"].flatten(), value.flatten()[0], output.get("state_out", {})


def vtrace_by_definition(
    batch, steps, log_rhos, *, gamma, lambda_=1.0, clip_rho=1.0, clip_pg_rho=1.0
):
    """Value targets and advantages by row: the sum of eq. 1 (Espeholt et al. 2018), term by term.

    Args:
        steps: by row.
        log_rhos: by row, of the policy that is corrected towards.
    """
    N = batch.rewards.shape[1]
    rho = {row: np.exp(float(x)) for row, x in log_rhos.items()}
    last = {row: bool(batch.dones.reshape(-1)[row]) or row + N not in steps for row in steps}

    def following(row):
        return 0.0 if batch.terminateds.reshape(-1)[row] else steps[row].following.item()

    def delta(row):
        reward = float(batch.rewards.reshape(-1)[row])
        return reward + gamma * following(row) - steps[row].value.item()

    def target(row):
        total, weight = steps[row].value.item(), 1.0
        while True:
            total += weight * min(clip_rho, rho[row]) * delta(row)
            if last[row]:
                return total
            weight *= gamma * lambda_ * min(1.0, rho[row])
            row += N

    def advantage(row):
        reward = float(batch.rewards.reshape(-1)[row])
        # With memory, the next row's own value may be that of another state: the stored one.
        later = 0.0 if last[row] else target(row + N) - steps[row + N].value.item()
        error = reward + gamma * (following(row) + later) - steps[row].value.item()
        return min(clip_pg_rho, rho[row]) * error

    return {row: target(row) for row in steps}, {row: advantage(row) for row in steps}
