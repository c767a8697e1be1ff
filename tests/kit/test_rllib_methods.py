"""Methods of RLlib's that its scripts call: what they give here, or what there is instead."""

import gymnasium as gym
import numpy as np
import pytest

from rllib import core
from rllib.algorithms.dqn import DQNConfig
from rllib.algorithms.ppo import PPO, PPOConfig, PPOLearner
from rllib.connectors import MeanStdFilter
from rllib.envs.multi_agent_cartpole import MultiAgentCartPole
from rllib.errors import CheckpointError, ConfigError
from rllib.metrics.metrics_logger import MetricsLogger
from rllib.modules.actor_critic import ActorCriticModule


@pytest.fixture
def inline():
    with core.init(address="inline"):
        yield


def config(num_env_runners=0, num_learners=0):
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=num_env_runners, num_envs_per_env_runner=2)
        .learners(num_learners=num_learners)
        .training(train_batch_size_per_learner=32, minibatch_size=32, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": (8,)})
    )


def two_agents():
    return (
        config()
        .environment(MultiAgentCartPole, env_config={"num_agents": 2})
        .multi_agent(
            policies={"a", "b"},
            policy_mapping_fn=lambda agent, episode: "ab"[int(str(agent)[-1]) % 2],
        )
    )


# Algorithm.


@pytest.mark.parametrize("num_actors", [0, 1])
@pytest.mark.usefixtures("inline")
def test_weights_are_given_and_taken_by_module(num_actors):
    with config(num_actors, num_actors).build_algo() as algo:
        halved = {k: part / 2 for k, part in algo.get_weights()["default_policy"].items()}
        algo.set_weights({"default_policy": halved})
        found = algo.get_weights(["default_policy"])["default_policy"]
        states = algo.env_runner_group.foreach_env_runner(
            lambda runner: runner.module.get_state(inference_only=True)
        )
        np.testing.assert_equal(found, halved)
        for state in states:
            np.testing.assert_equal(state, {name: halved[name] for name in state})
        with pytest.raises(ConfigError, match="no module 'other'; there are: default_policy"):
            algo.set_weights({"other": {}})
        with pytest.raises(CheckpointError, match="do not fit"):
            algo.set_weights({"default_policy": {"x": np.zeros(3)}})


def test_weights_of_several_modules():
    with two_agents().build_algo() as algo:
        weights = algo.get_weights()
        algo.set_weights({"b": weights["a"]})
        np.testing.assert_equal(algo.get_weights()["b"], weights["a"])
        runner = algo.env_runner
        for name, part in runner.module["b"].get_state(inference_only=True).items():
            np.testing.assert_array_equal(part, weights["a"][name])
        assert runner.get_spaces().keys() == {"a", "b"}
        assert algo.learner_group.foreach_learner(lambda each: sorted(each.learners)) == [
            ["a", "b"]
        ]


def test_an_algorithm_has_rllibs_parts():
    with config().build_algo() as algo:
        assert algo.get_config() is algo.config
        assert algo.env_runner is algo.env_runner_group.local_env_runner
        assert algo.eval_env_runner is None
        assert type(PPO.get_default_config()) is PPOConfig


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("add_module", r"config.multi_agent\(policies=...\)"),
        ("get_policy", "get_module"),
        ("restore_workers", "restore_env_runners"),
        ("save", "save_to_path"),
        ("trian", "did you mean 'train'?"),
        ("env_runner_grup", "did you mean 'env_runner_group'?"),
    ],
)
def test_a_method_that_there_is_not_says_what_there_is(name, hint):
    with config().build_algo() as algo, pytest.raises(AttributeError, match=hint):
        getattr(algo, name)


# Learners and env runners.


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize("num_learners", [0, 1])
def test_learners_are_reached_each_where_it_lives(num_learners):
    with config(0, num_learners).build_algo() as algo:
        group = algo.learner_group
        assert group.foreach_learner(lambda learner: type(learner).__name__) == ["PPOLearner"]
        assert group.is_local is (num_learners == 0)
        counts = {"num_learners": 1, "num_restarts": 0}
        assert group.get_stats() == counts | {"is_remote": num_learners > 0}
        before = algo.compute_single_action(np.zeros(4), full_fetch=True)[2]

        def double(learner):
            learner.module.set_state({k: 2 * v + 1 for k, v in learner.module.get_state().items()})

        group.foreach_learner(double)
        after = algo.compute_single_action(np.zeros(4), full_fetch=True)[2]
        assert not np.allclose(before["action_dist_inputs"], after["action_dist_inputs"])
        with pytest.raises(AttributeError, match=r"LearnerGroup.add_module .*policies_to_train"):
            group.add_module("x")


@pytest.mark.usefixtures("inline")
def test_env_runners_are_reached_by_number_now_or_later():
    with config(2).build_algo() as algo:
        group = algo.env_runner_group
        assert group.local_env_runner is None
        assert group.num_remote_env_runners() == group.num_healthy_env_runners() == 2
        assert group.num_healthy_remote_env_runners() == 2
        assert group.healthy_env_runner_ids() == [1, 2]
        assert group.foreach_env_runner("ping") == ["pong", "pong"]
        plus = {"plus": 5}
        found = group.foreach_env_runner(
            lambda runner, plus: runner.index + plus, kwargs=plus, remote_worker_ids=[2]
        )
        assert found == [6]
        assert group.foreach_env_runner_async(lambda runner: runner.index, "tag") == 2
        assert group.num_in_flight_async_reqs("tag") == 2
        assert group.num_in_flight_async_reqs("other") == 0
        assert group.fetch_ready_async_reqs(tags=["other"]) == []
        done = group.fetch_ready_async_reqs(tags=["tag"], timeout_seconds=None)
        assert sorted(done) == [(1, 0), (2, 1)]
        assert group.num_in_flight_async_reqs() == 0
        with pytest.raises(AttributeError, match="foreach_env_runner"):
            group.foreach_worker(print)


def test_the_env_runner_of_this_process():
    with config().build_algo() as algo:
        group, runner = algo.env_runner_group, algo.env_runner
        assert group.num_remote_env_runners() == 0
        assert group.foreach_env_runner(lambda each: each.ping(), local_env_runner=False) == []
        assert group.foreach_env_runner_async(lambda each: each.ping()) == 0
        assert group.get_spaces() == runner.get_spaces()
        env = gym.make("CartPole-v1")
        assert runner.get_spaces()["__env_single__"] == (env.observation_space, env.action_space)
        runner.assert_healthy()
        runner.metrics.log_value("own", 3, reduce="sum")
        assert runner.get_metrics() == {"own": 3}
        seq_no = group.weights_seq_no
        group.sync_weights(from_worker_or_learner_group=algo.learner_group)
        assert group.weights_seq_no == seq_no + 1
        obs = np.ones((3, 4), np.float32)
        expected = algo.get_module().act(obs)
        np.testing.assert_array_equal(runner.module.act(obs), expected)
        before = runner.policy
        runner.make_module()
        assert runner.policy is not before
        rows, _ = runner.policy.forward(obs, {}, False)
        np.testing.assert_array_equal(runner.policy.head.mode(rows), expected)
        with pytest.raises(AttributeError, match="did you mean 'pipeline'"):
            runner.pipelin  # noqa: B018


def test_callbacks_see_the_module_that_was_made_anew():
    seen = []
    settings = config().rl_module(model_config={"use_gru": True, "lstm_cell_size": 4})
    settings.callbacks(on_episode_step=lambda *, rl_module, **kw: seen.append(rl_module))
    with settings.build_algo() as algo:
        algo.env_runner.make_module()
        algo.train()
        assert set(seen) == {algo.env_runner.module}


def test_learners_and_loggers_say_what_there_is_instead():
    learner = config().build_learner()
    with pytest.raises(AttributeError, match=r"PPOLearner.build is not supported: .* complete"):
        learner.build()
    with pytest.raises(AttributeError, match="did you mean 'optimizers'"):
        learner.optimiser  # noqa: B018
    with pytest.raises(AttributeError, match="it is called aggregate here"):
        MetricsLogger().merge_and_log_n_dicts([])


# State by RLlib's components.


@pytest.mark.parametrize("make", [config, two_agents])
def test_weights_alone_are_a_component_of_every_state(make):
    with make().build_algo() as algo:
        weights = algo.get_weights()
        learner = {"rl_module": weights}
        group = {"learner": learner}
        found = [
            algo.learner_group.foreach_learner(lambda each: each.get_state("rl_module"))[0],
            algo.learner_group.get_state(components="learner/rl_module"),
            algo.get_state(components=["learner_group/learner/rl_module"]),
        ]
        found[0] = {"rl_module": found[0]["rl_module"]}  # an algorithm's learner adds its own
        for state, expected in zip(found, [learner, group, {"learner_group": group}], strict=True):
            np.testing.assert_equal(state, expected)
        halved = {k: {n: w / 2 for n, w in each.items()} for k, each in weights.items()}
        algo.set_state({"learner_group": {"learner": {"rl_module": halved}}})
        np.testing.assert_equal(algo.get_weights(), halved)
        algo.learner_group.set_state(group)
        np.testing.assert_equal(algo.get_weights(), weights)


def test_components_name_single_modules():
    with two_agents().build_algo() as algo:
        group = algo.learner_group
        (modules,) = group.foreach_learner(lambda each: each.module)
        assert group.get_state("learner/rl_module/b")["learner"]["rl_module"].keys() == {"b"}
        found = group.get_state("learner/rl_module", not_components="learner/rl_module/b")
        assert found["learner"]["rl_module"].keys() == {"a"}
        part = group.get_state("learner/rl_module/a", inference_only=True)
        small = part["learner"]["rl_module"]["a"]
        np.testing.assert_equal(small, modules["a"].get_state(inference_only=True))
        assert small.keys() < modules["a"].get_state().keys()
        assert modules.get_state("a").keys() == modules.get_state(not_components=["b"]).keys()
        assert modules.get_state(["a", "b"]).keys() == {"a", "b"}
        with pytest.raises(KeyError, match="no module 'c'; there are: a, b"):
            modules.get_state("c")


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"components": "learner/optimizer"}, "there is learner/rl_module and, below it, "),
        ({"not_components": "learner/optimizer"}, "there is learner/rl_module and, below it, "),
        ({"not_components": "learner/rl_module"}, "name components, too"),
        ({"inference_only": True}, "name components, too"),
    ],
)
def test_what_is_no_component_says_what_there_is(given, hint):
    name = next(iter(given))
    with two_agents().build_algo() as algo:
        with pytest.raises(TypeError, match=rf"LearnerGroup.get_state\({name}=.*{hint}"):
            algo.learner_group.get_state(**given)
        nothing = dict.fromkeys(("components", "not_components"))
        assert algo.learner_group.get_state(**nothing).keys() == {"modules", "streams"}


def test_a_learner_takes_a_whole_state_only():
    learner = config().build_learner()
    state = learner.get_state("rl_module")
    with pytest.raises(CheckpointError, match="set_module_weights"):
        learner.set_state(state)
    learner.set_module_weights(state["rl_module"])


class Counting(PPOLearner):
    def get_state(self):
        return super().get_state() | {"count": 3}


class CountingMore(Counting):
    def get_state(self):
        return super().get_state() | {"more": 4}


def test_a_learners_get_state_without_arguments_can_be_asked_for_components():
    learner = CountingMore(config(), config().build_learner().spaces)
    for nothing in ({}, {"components": None}, {"components": None, "inference_only": False}):
        assert learner.get_state(**nothing).keys() > {"module", "count", "more"}
    small = {"default_policy": learner.module.get_state(inference_only=True)}
    found = learner.get_state("rl_module", inference_only=True)
    np.testing.assert_equal(found["rl_module"], small)
    assert not found.keys() & {"module", "count", "more"}
    with pytest.raises(TypeError, match=r"CountingMore.get_state\(components='optimizer'\) is not"):
        learner.get_state(components="optimizer")
    with pytest.raises(TypeError, match="unexpected keyword argument 'component'"):
        learner.get_state(component="rl_module")


# Config.


def test_a_config_makes_single_parts():
    settings = config().env_runners(observation_filter="MeanStdFilter")
    spec = settings.get_multi_rl_module_spec(env=gym.make("CartPole-v1"))
    assert spec["default_policy"].module_class is ActorCriticModule
    assert spec.build().keys() == ["default_policy"]
    assert settings.get_rl_module_spec().observation_space.shape == (4,)
    pipeline = settings.build_env_to_module_connector()
    assert [type(each) for each in pipeline] == [MeanStdFilter]
    learner = settings.build_learner()
    assert isinstance(learner, PPOLearner)
    assert learner.module.get_state().keys() == spec.build("default_policy").get_state().keys()
    group = settings.build_learner_group()
    assert group.get_module_state().keys() == learner.module.get_state().keys()
    group.shutdown()
    assert settings.get_default_learner_class() is PPOLearner
    assert settings.get_default_rl_module_spec().module_class is ActorCriticModule


def test_parts_of_spaces_alone():
    spaces = {"default_policy": (gym.spaces.Box(-1, 1, (3,)), gym.spaces.Discrete(5))}
    spec = DQNConfig().get_multi_rl_module_spec(spaces=spaces)
    assert spec["default_policy"].action_space.n == 5
    assert DQNConfig().get_rl_module_spec(spaces=spaces).observation_space.shape == (3,)
    with pytest.raises(ConfigError, match=r"env: missing; or give env=... or spaces=..."):
        DQNConfig().get_rl_module_spec()


def test_parts_of_several_modules():
    spec = two_agents().get_multi_rl_module_spec()
    assert set(spec.build().keys()) == {"a", "b"}
    assert two_agents().build_env_to_module_connector().keys() == {"a", "b"}


# Arguments of RLlib's.


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("num_episodes", 3, r"play\(duration, unit\)"),
        ("num_timesteps", 3, r"play\(duration, unit\)"),
        ("explore", True, "set env_runner.explore"),
        ("force_reset", True, r"env_runner.reset\(generation\)"),
        ("nonsense", 1, "there is no such argument"),
    ],
)
@pytest.mark.parametrize("make", [config, two_agents])
def test_sample_says_what_there_is_instead_of_rllibs_arguments(make, name, value, hint):
    with make().build_algo() as algo:
        with pytest.raises(TypeError, match=rf"EnvRunner.sample\({name}=...\) .*{hint}"):
            algo.env_runner.sample(**{name: value})
        algo.env_runner.sample(num_timesteps=None, num_episodes=None, explore=None)


def test_other_calls_say_it_as_well():
    with config().build_algo() as algo:
        group, runner = algo.env_runner_group, algo.env_runner
        assert group.foreach_env_runner("ping", return_obj_refs=False) == ["pong"]
        with pytest.raises(TypeError, match="foreach_env_runner_async"):
            group.foreach_env_runner("ping", return_obj_refs=True)
        with pytest.raises(TypeError, match=r"env_runner.pipeline.get_state\(\)"):
            runner.get_state(components="env_to_module_connector")
        assert runner.get_state(components=None).keys() == runner.get_state().keys()
        with pytest.raises(TypeError, match=r"PPO.get_state\(components='learner_group'\) "):
            algo.get_state(components=["learner_group"])
        assert algo.config.get_rollout_fragment_length(worker_index=1) == 16
        assert DQNConfig().get_rollout_fragment_length(worker_index=1) == 1


def test_the_resources_of_an_algorithm_are_bundles():
    settings = config(2, 1).learners(num_gpus_per_learner=0.5)
    settings.evaluation(evaluation_interval=1, evaluation_num_env_runners=1)
    bundles = PPO.default_resource_request(settings)
    assert bundles == [{"CPU": 1}] * 4 + [{"CPU": 1, "GPU": 0.5}]


def test_an_episode_of_a_callback_has_rllibs_names():
    seen = []
    settings = config().callbacks(on_episode_end=lambda *, episode, **kw: seen.append(episode))
    with settings.build_algo() as algo:
        algo.train()
    episode = seen[0]
    assert episode.env_steps() == episode.agent_steps() == len(episode)
    assert 0.0 < episode.get_duration_s() == episode.get_duration_s() < 60.0
    assert episode.agent_id is episode.module_id is None
    assert len(episode.get_observations(fill=None)) == len(episode) + 1
    with pytest.raises(TypeError, match=r"get_observations\(fill=...\) .*an episode is whole"):
        episode.get_observations(-3, fill=0.0)
    with pytest.raises(AttributeError, match=r"numpy.stack\(episode.get_observations"):
        episode.to_numpy()
    for name in ("slice", "cut", "get_state"):
        with pytest.raises(AttributeError, match=f"SingleAgentEpisode.{name} is not supported: "):
            getattr(episode, name)


def test_an_episode_of_several_agents_counts_its_steps():
    seen = []
    settings = two_agents().callbacks(on_episode_step=lambda *, episode, **kw: seen.append(episode))
    with settings.build_algo() as algo:
        algo.train()
    episode = seen[0]
    assert episode.env_steps() == len(episode)
    assert episode.agent_steps() == sum(episode.steps.values()) >= episode.env_steps()
    with pytest.raises(AttributeError, match="agent_ids are all that have appeared"):
        episode.get_agents_to_act()
