"""What is worked out of settings is worked out once for each."""

from rllib import DQNConfig
from rllib.config.over_time import Derived


def test_it_is_worked_out_anew_for_other_settings_only() -> None:
    asked: list[DQNConfig] = []

    def work_out(now: DQNConfig) -> float:
        asked.append(now)
        return now.gamma

    derived, first, other = Derived(work_out), DQNConfig(), DQNConfig().training(gamma=0.5)
    assert [derived.of(first), derived.of(first), derived.of(other)] == [0.99, 0.99, 0.5]
    assert [each.gamma for each in asked] == [0.99, 0.5]
