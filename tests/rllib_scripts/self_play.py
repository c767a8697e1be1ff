"""Self-play: an opponent that does not learn takes over the learner's weights once it is good."""

import functools

from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.env.multi_agent_env import make_multi_agent
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS
from ray.tune.registry import get_trainable_cls, register_env


def take_over(learner):
    modules = learner.module
    modules["opponent"].set_state(modules["main"].get_state())


def is_same(learner):
    main, opponent = (learner.module[name].get_state() for name in ("main", "opponent"))
    return all((main[name] == opponent[name]).all() for name in main)


class SelfPlay(RLlibCallback):
    def __init__(self, threshold):
        super().__init__()
        self.threshold, self.version = threshold, 0

    def on_train_result(self, *, algorithm, metrics_logger, result, **kwargs):
        best = result[ENV_RUNNER_RESULTS]["module_episode_returns_mean"]["main"]
        if best > self.threshold:
            algorithm.learner_group.foreach_learner(take_over)
            self.version += 1
        result["opponent_version"] = self.version


def mapping(agent_id, episode, **kwargs):
    return "main" if (hash(episode.id_) + int(agent_id)) % 2 else "opponent"


if __name__ == "__main__":
    register_env("two_poles", lambda cfg: make_multi_agent("CartPole-v1")({"num_agents": 2}))
    config = (
        get_trainable_cls("PPO")
        .get_default_config()
        .environment("two_poles")
        .env_runners(num_env_runners=0)
        .training(train_batch_size_per_learner=200, minibatch_size=64, num_epochs=1)
        .multi_agent(
            policies={"main", "opponent"},
            policy_mapping_fn=mapping,
            policies_to_train=["main"],
        )
        .rl_module(
            model_config={"fcnet_hiddens": [8]},
            rl_module_spec=MultiRLModuleSpec(
                rl_module_specs={"main": RLModuleSpec(), "opponent": RLModuleSpec()}
            ),
        )
        .callbacks(functools.partial(SelfPlay, threshold=1.0))
    )
    algo = config.build_algo()
    for _ in range(2):
        result = algo.train()
    assert result["opponent_version"] == 2
    (same,) = algo.learner_group.foreach_learner(is_same)
    assert getattr(same, "value", same) is not False
    algo.stop()
