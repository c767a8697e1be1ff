"""What an algorithm takes of a cluster, as bundles that can be set aside for it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rllib.config import AlgorithmConfig

Bundle = dict[str, float]


def bundles(config: "AlgorithmConfig") -> list[Bundle]:
    """Of the main process, each env runner, each of evaluation, and each learner."""
    main = _bundle(config.num_cpus_for_main_process, 0, config.custom_resources_for_main_process)
    playing = config.get_evaluation_config_object() if config.evaluation_interval else config
    num_playing = config.evaluation_num_env_runners if config.evaluation_interval else 0
    return [
        main,
        *(_of_env_runner(config) for _ in range(config.num_env_runners)),
        *(_of_env_runner(playing) for _ in range(num_playing)),
        *(_of_learner(config) for _ in range(config.num_learners)),
    ]


def _of_env_runner(config: "AlgorithmConfig") -> Bundle:
    others = config.custom_resources_per_env_runner
    return _bundle(config.num_cpus_per_env_runner, config.num_gpus_per_env_runner, others)


def _of_learner(config: "AlgorithmConfig") -> Bundle:
    cpus, others = config.num_threads_per_learner, config.custom_resources_per_learner
    return _bundle(cpus, config.num_gpus_per_learner, others)


def _bundle(cpus: float, gpus: float, others: Bundle) -> Bundle:
    amounts = {"CPU": cpus, "GPU": gpus, **others}
    return {name: amount for name, amount in amounts.items() if amount}
