"""Where an iteration's time goes, and what is made of that."""

import pytest

from rllib import PPOConfig
from rllib.metrics.stages import (
    ADVICE,
    Sampling,
    Stages,
    Update,
    bottleneck,
    shares,
    stages_of,
    transfer_s,
    verdict,
)


def test_in_one_process_the_stages_of_both_clocks_add_up_to_the_whole():
    fragment = Sampling(sample_s=4.0, env_step_s=2.0, inference_s=1.0, ended_at=104.0)
    stages = shares([fragment], [Update(began_at=104.5, update_s=5.0)], 10.0, 0)
    assert stages == pytest.approx(Stages(0.2, 0.1, 0.1, 0.6, 0.5, 0.05, 0.45))


def test_several_env_runners_are_taken_as_their_mean():
    fragments = [Sampling(8.0, 8.0, 0.0, 0.0), Sampling(4.0, 4.0, 0.0, 0.0)]
    stages = shares(fragments, [], 10.0, 2)
    assert stages.env_step == pytest.approx(0.6)
    assert stages.env_runner_waiting == pytest.approx(0.4)


def test_what_reaches_in_from_the_iteration_before_makes_no_share_above_one():
    stages = shares([Sampling(30.0, 20.0, 5.0, 0.0)], [Update(0.0, 12.0)], 10.0, 1)
    assert all(0.0 <= share <= 1.0 for share in stages)


def test_transfer_is_what_the_learner_waits_although_there_is_something_to_learn():
    updates = [Update(10.0, 2.0), Update(13.0, 1.0), Update(20.0, 1.0)]
    # One second from the first fragment, one after the first update, half from the late fragment.
    assert transfer_s([9.0, 11.0, 19.5], updates) == pytest.approx(1.0 + 1.0 + 0.5)
    assert transfer_s([], updates[:1]) == 0.0
    assert transfer_s([9.0], []) == 0.0


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        (Stages(env_step=0.5, inference=0.2, learning=0.25), "env_step"),  # in turns
        (Stages(inference=0.4, learning=0.3, env_step=0.2), "inference"),
        (Stages(env_step=0.9, learning=0.3, learner_waiting=0.7), "env_step"),  # beside each other
        (Stages(env_step=0.6, learning=0.95, env_runner_waiting=0.3), "learning"),
        (Stages(learning=0.3, transfer=0.6, env_step=0.4), "transfer"),
        (Stages(env_step=0.1, learning=0.2, env_runner_waiting=0.9), "waiting"),
    ],
)
def test_the_bottleneck_is_the_longest_stage_of_whoever_is_always_busy(
    stages: Stages, expected: str
):
    assert bottleneck(stages) == expected
    assert ADVICE[expected] in verdict(stages)


def test_training_tells_of_its_stages():
    config = PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=0)
    config.training(train_batch_size_per_learner=256)
    with config.build_algo() as algo:
        result = algo.train()
    stages = Stages(**result["stages"])
    assert stages.env_step > 0
    assert stages.inference > 0
    assert stages.learning > 0
    sampling = stages.env_step + stages.inference + stages.collecting
    assert sampling + stages.env_runner_waiting == pytest.approx(1.0)
    assert stages.learning + stages.transfer + stages.learner_waiting == pytest.approx(1.0)
    assert sampling + stages.learning <= 1.0
    assert (
        stages_of({f"stages/{name}": share for name, share in result["stages"].items()}) == stages
    )
    assert stages_of({"stages/learning": 1.0}) is None
