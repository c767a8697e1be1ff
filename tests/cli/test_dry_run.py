"""A dry run says what training would be, and writes nothing."""

from dataclasses import replace
from pathlib import Path

import pytest

from rllib.config.file import load_plan
from rllib.dry_run import probe as probing
from rllib.dry_run.forecast import (
    Layout,
    Shapes,
    bytes_of,
    duration_s,
    layout_of,
    seconds_per_step,
    shapes_of,
)
from rllib.dry_run.probe import ModuleFacts, Probe, probe, small
from rllib.dry_run.report import changes, dry_run
from rllib.errors import EnvError
from rllib.metrics.stages import Stages

STEPS = "num_env_steps_sampled_lifetime"
FACTS = ModuleFacts("Box(4)", "Discrete(2)", num_parameters=1000, obs_bytes=16)
PROBE = Probe({"default_policy": FACTS}, 1e-4, 3e-4, Stages(), 1.0, 2500, 100 << 20, 5000)


def lines_of(preset: str, *overrides: str) -> tuple[int, list[str]]:
    said: list[str] = []
    return dry_run(load_plan(preset, overrides), Path("runs"), said.append), said


# Forecasts.


@pytest.mark.parametrize(
    ("layout", "seconds"),
    [
        (Layout(0, 0, 2, asynchronous=False), 4e-4),
        (Layout(2, 1, 4, asynchronous=False), 0.5e-4 + 3e-4),
        (Layout(8, 1, 2, asynchronous=False), 0.5e-4 + 3e-4),  # no more than there are cores
        (Layout(2, 1, 4, asynchronous=True), 3e-4),  # the learner is what others wait for
        (Layout(2, 4, 8, asynchronous=True), 0.75e-4),
        (Layout(2, 1, 1, asynchronous=True), 4e-4),  # one core does everything
    ],
)
def test_the_time_of_a_step(layout: Layout, seconds: float) -> None:
    assert seconds_per_step(PROBE, layout) == pytest.approx(seconds)


def test_how_long_it_takes() -> None:
    assert duration_s({STEPS: 10_000}, 1e-3) == 10.0
    assert duration_s({STEPS: 10_000, "time_total_s": 4}, 1e-3) == 4
    assert duration_s({"env_runners/episode_return_mean": 3}, 1e-3) is None


def test_shapes_and_room_of_a_preset() -> None:
    config = load_plan("ppo_cartpole").config
    assert shapes_of(config) == Shapes(128, 8, 2048, 256, 6)
    assert shapes_of(config).gradient_steps == 48
    layout = layout_of(config, 4)
    assert (layout.num_processes, layout.asynchronous) == (4, False)
    needed = bytes_of(config, PROBE, layout, iterations=10)
    assert needed.memory == 4 * (100 << 20)
    assert needed.shared == 2 * 2 * 128 * 8 * (16 + 32) + 2 * 4 * 1000
    assert needed.disk == 3 * 5000 + 10 * 3000
    rounds = config.copy().env_runners(rollout_fragment_length=16)  # eight for a train batch
    shared = bytes_of(rounds, PROBE, layout, iterations=10).shared
    assert shared == 8 * 2 * 16 * 8 * (16 + 32) + 2 * 4 * 1000
    replay = load_plan("dqn_cartpole").config
    capacity = replay["replay_buffer_config"]["capacity"]
    assert bytes_of(replay, PROBE, layout_of(replay, 4), 1).replay == capacity * 48
    remembers = replace(PROBE, modules={"default_policy": replace(FACTS, state_bytes=102.4)})
    stored = bytes_of(replay, remembers, layout_of(replay, 4), 1).replay
    assert stored == pytest.approx(capacity * 150.4)


def test_env_runners_of_impala_do_not_wait() -> None:
    assert layout_of(load_plan("impala_cartpole").config, 4).asynchronous
    assert layout_of(load_plan("appo_cartpole").config, 4).asynchronous


# The probe.


@pytest.mark.parametrize("preset", ["ppo_cartpole", "impala_cartpole", "sac_pendulum"])
def test_algorithms_of_every_kind_are_measured_while_they_learn(preset: str) -> None:
    found = probe(load_plan(preset).config, seconds=0.01)
    assert found.num_env_steps > 0
    assert found.sampling_s > 0 < found.learning_s
    assert found.checkpoint_bytes > 4 * next(iter(found.modules.values())).num_parameters
    assert found.stages.learning > 0


def test_the_probe_makes_no_processes_and_small_iterations() -> None:
    own = small(load_plan("ppo_cartpole", ["train_batch_size_per_learner=1_000_000"]).config)
    assert (own.num_env_runners, own.num_learners) == (0, 0)
    assert own.train_batch_size_per_learner == probing.MOST_ROWS


# The report.


def test_it_tells_shapes_speed_room_and_what_is_not_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = lines_of("ppo_cartpole")
    text = "\n".join(said)
    assert code == 0
    for part in (
        "  training.lr: 0.002 (default 5e-05)",
        "CartPole-v1: 0 errors",
        "9,155 parameters",
        "[128, 8] env steps",
        "48 gradient steps",
        "4 processes on",
        "env steps/s in one process",
        "MiB are free" if "MiB are free" in text else "GiB are free",
    ):
        assert part in text, part
    assert max(map(len, said)) <= 100
    assert list(tmp_path.iterdir()) == []


def test_a_broken_environment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    # It breaks in step 700 of an environment: within the first fragment, however fast this is.
    one = ("num_envs_per_env_runner=1", "rollout_fragment_length=1024")
    with pytest.raises(EnvError, match="nan"):
        lines_of("ppo_cartpole", "env=broken_envs:NaN-v0", *one)


def test_only_what_differs_of_a_mapping_is_told() -> None:
    said = list(changes(load_plan("ppo_cartpole", ["model_config.use_lstm=true"])))
    assert "  rl_module.model_config.use_lstm: True (default False)" in said
    assert "  rl_module.model_config.fcnet_hiddens: [64, 64] (default [256, 256])" in said
    assert not any("conv_filters" in each for each in said)
