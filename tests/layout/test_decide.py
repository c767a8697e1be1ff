"""Layouts from tables of costs, without measuring anything."""

import pytest

from rllib.layout.costs import VectorStep, costs_of
from rllib.layout.decide import Costs, Layout, Work, decide

US, MS = 1e-6, 1e-3
CARTPOLE = Costs(60 * US, 1 * US, 1.0, 15 * US)
MUJOCO = Costs(100 * US, 100 * US, 1.0, 100 * US)
SIMULATOR = Costs(100 * US, 5 * MS, 1.0, 300 * US)
ASLEEP = Costs(100 * US, 2 * MS, 0.05, 50 * US)
HEAVY_UPDATE = Costs(100 * US, 100 * US, 1.0, 30 * MS)

PPO = Work(16, 128, 2048)
SMALL_PPO = Work(2, 128, 256)
DQN = Work(1, 4, 32)
IMPALA = Work(1, 50, 500, asynchronous=True, may_resize=True)
APPO = Work(16, 32, 512, asynchronous=True)


def sizes(layout: Layout) -> tuple[int, int, int]:
    return layout.num_env_runners, layout.num_envs_per_env_runner, layout.num_learners


@pytest.mark.parametrize(
    ("costs", "work", "cores", "expected"),
    [
        (CARTPOLE, PPO, 2, (0, 16, 0)),
        (CARTPOLE, PPO, 64, (0, 16, 0)),  # one vector is cheaper than many small ones
        (SIMULATOR, PPO, 2, (2, 8, 0)),
        (SIMULATOR, PPO, 8, (8, 2, 0)),
        (SIMULATOR, PPO, 12, (8, 2, 0)),  # 16 environments cannot be shared out among 9 to 12
        (SIMULATOR, PPO, 1, (0, 16, 0)),
        (HEAVY_UPDATE, PPO, 8, (0, 16, 0)),  # there is nothing to be gained by sampling
        (ASLEEP, PPO, 2, (8, 2, 0)),  # more env runners than cores
        (ASLEEP, PPO, 64, (16, 1, 0)),  # but no more than environments
        (ASLEEP, SMALL_PPO, 2, (2, 1, 0)),
        (SIMULATOR, DQN, 8, (0, 1, 0)),  # a single environment is in one place
        (CARTPOLE, DQN, 8, (0, 1, 0)),
        (SIMULATOR, APPO, 2, (2, 16, 0)),
        (SIMULATOR, APPO, 8, (8, 16, 0)),
        (ASLEEP, APPO, 2, (8, 16, 0)),
        (HEAVY_UPDATE, APPO, 8, (0, 16, 0)),
        (MUJOCO, APPO, 8, (1, 16, 1)),  # as fast as the learner, which has a core of its own
        (MUJOCO, APPO, 2, (1, 16, 0)),
        (SIMULATOR, APPO, 0, (0, 16, 0)),  # the inline engine
    ],
)
def test_who_does_what(costs: Costs, work: Work, cores: int, expected: tuple[int, int, int]):
    layout = decide(costs, work, cores)
    assert sizes(layout) == expected
    assert set(layout.reasons) == {"num_env_runners", "num_envs_per_env_runner", "num_learners"}


@pytest.mark.parametrize("cores", [1, 2, 3, 4, 6, 8, 16, 96])
@pytest.mark.parametrize("costs", [CARTPOLE, MUJOCO, SIMULATOR, ASLEEP, HEAVY_UPDATE])
def test_synchronous_algorithms_keep_their_environments(costs: Costs, cores: int):
    for num_envs in (1, 2, 3, 7, 8, 16, 30):
        layout = decide(costs, Work(num_envs, 64, 64 * num_envs), cores)
        assert max(1, layout.num_env_runners) * layout.num_envs_per_env_runner == num_envs
        assert layout.num_learners == 0, "several learners would make the train batch another one"
        most = cores * (4 if costs.waits else 1)
        assert layout.num_env_runners <= most


def test_an_open_number_of_environments_fits_a_train_batch():
    layout = decide(CARTPOLE, IMPALA, 8)
    assert layout.num_envs_per_env_runner == 8, "the largest vector whose fragment fits"
    fixed = decide(CARTPOLE, Work(1, 50, 500, asynchronous=True), 8)
    assert fixed.num_envs_per_env_runner == 1


def test_other_processes_have_to_be_worth_it():
    """With 2 of 12 us to be saved the main process stays alone, with 4 of 12 it does not."""
    for sampling_s, num_runners in ((4e-4, 0), (8e-4, 2)):
        costs = Costs(0.0, sampling_s, 1.0, 12e-4 - sampling_s)
        assert decide(costs, Work(16, 1000, 16_000), 2).num_env_runners == num_runners


def test_reasons_say_what_is_gained():
    asleep, alone = decide(ASLEEP, PPO, 2), decide(CARTPOLE, PPO, 2)
    assert "times as fast" in asleep.reasons["num_env_runners"]
    assert "wait 95% of their time" in asleep.reasons["num_env_runners"]
    assert "main process" in alone.reasons["num_env_runners"]


def test_costs_from_steps_of_vectors_of_two_sizes():
    costs = costs_of(VectorStep(100 * US, 90 * US), VectorStep(170 * US, 153 * US), 8, 5 * US)
    assert costs.turn_s == pytest.approx(90 * US)
    assert costs.env_step_s == pytest.approx(10 * US)
    assert (costs.cpu_share, costs.learning_s) == (pytest.approx(0.9), 5 * US)
    assert costs.vector_step_s(16) == pytest.approx(250 * US)
    assert costs_of(VectorStep(2.0, 1.0), VectorStep(1.0, 1.5), 8, 0.0) == Costs(2.0, 0.0, 1.0, 0.0)
