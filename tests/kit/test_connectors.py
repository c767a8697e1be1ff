"""Connectors, each alone against arithmetic, and all of them in an env runner."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from rllib import core
from rllib.algorithms.ppo import PPOConfig
from rllib.compat import connectors as rllibs
from rllib.compat.connectors import FrameStackingLearner
from rllib.connectors import (
    ClipRewards,
    FlattenObservations,
    FrameStacking,
    MeanStdFilter,
    NormalizeRewards,
    ObservationFunction,
    OneHot,
    Pipeline,
    PrevActionsPrevRewards,
)
from rllib.connectors.base import Connector
from rllib.connectors.build import build_pipeline
from rllib.connectors.running_stats import Moments, SharedMoments
from rllib.envs.counter import CounterEnv
from rllib.envs.make import Spaces, make_vector_env, probe_spaces
from rllib.envs.masked_walk import MaskedWalk
from rllib.envs.packing import Packer, pack
from rllib.envs.vector import EnvStep
from rllib.errors import ConfigError
from rllib.sampling.env_runner import EnvRunner


@pytest.fixture(scope="module", autouse=True)
def processes():
    with core.init(num_cpus=4, preload=["torch", "gymnasium", "rllib.algorithms.ppo"]):
        yield


SPACES = probe_spaces(CounterEnv)
ENDINGS = [(3, "terminated"), (2, "truncated"), (1, "truncated"), (4, "terminated")]


def steps(connector, autoreset, count=12, num_envs=2):
    """The first observations and ``count`` steps of the counter env through a connector."""
    env = make_vector_env(CounterEnv, num_envs, "sync", {"endings": ENDINGS}, autoreset)
    connector.connect(SPACES, num_envs)
    first = connector.on_reset(env.reset(0))
    actions = np.zeros(num_envs, np.int64)
    passed = [connector.on_step(env.step(actions), actions) for _ in range(count)]
    env.close()
    return first, passed


@pytest.mark.parametrize("autoreset", list(AutoresetMode))
def test_a_stack_holds_the_last_frames_of_its_own_episode(autoreset):
    first, passed = steps(FrameStacking(3), autoreset)
    stacks = [*first, *(obs for step in passed for obs in step.obs)]
    stacks += [
        step.final_obs[n]
        for step in passed
        for n in np.flatnonzero(step.terminated | step.truncated)
    ]
    for stack in stacks:
        frames = stack.reshape(3, 2)
        episode, t = frames[-1]
        for age, frame in enumerate(frames[::-1]):
            expected = [episode, t - age] if t >= age else [0, 0]
            assert frame.tolist() == expected


def test_frames_are_stacked_in_the_channels():
    space = gym.spaces.Box(0, 255, (84, 84, 1), np.uint8)
    stacked = FrameStacking(4).connect(Spaces(space, SPACES.action), 2).observation
    assert (stacked.shape, stacked.dtype) == ((84, 84, 4), np.uint8)
    with pytest.raises(ConfigError, match="stacks the Boxes of observations"):
        FrameStacking(4).connect(Spaces(gym.spaces.Discrete(2), SPACES.action), 1)


@pytest.mark.parametrize("autoreset", list(AutoresetMode))
def test_the_filter_normalises_by_all_it_has_seen(autoreset):
    raw_first, raw = steps(ObservationFunction(lambda obs: obs), autoreset)
    first, passed = steps(MeanStdFilter(clip=None), autoreset)
    seen = raw_first
    np.testing.assert_allclose(first, normalized(raw_first, seen), atol=1e-5)
    for before, after in zip(raw, passed, strict=True):
        seen = np.concatenate([seen, before.obs])
        np.testing.assert_allclose(after.obs, normalized(before.obs, seen), atol=1e-5)
        done = before.terminated | before.truncated
        if done.any():
            expected = normalized(before.final_obs[done], seen)
            np.testing.assert_allclose(after.final_obs[done], expected, atol=1e-5)


def normalized(x, seen):
    return (x - seen.mean(0)) / (seen.std(0) + 1e-8)


PARTS = gym.spaces.Dict(
    action_mask=gym.spaces.Box(0, 1, (2,), np.float32),
    more=gym.spaces.Tuple([gym.spaces.Box(0, 255, (2, 1), np.uint8), gym.spaces.Discrete(3)]),
    x=gym.spaces.Box(-9, 9, (), np.float64),
)


def parts(rng, num):
    """[num] packed observations of ``PARTS``."""
    numbers = rng.normal(5, 3, num)
    pixels, choice = rng.integers(0, 256, (num, 2, 1)), rng.integers(0, 3, num)
    mask = rng.integers(0, 2, (num, 2))
    more = (pixels.astype(np.uint8), choice)
    return pack(PARTS, {"action_mask": mask, "more": more, "x": numbers}, num)


def step_of(obs, terminated=None, final_obs=None):
    no = np.zeros(len(obs), np.bool_)
    ended = no if terminated is None else terminated
    return EnvStep(obs, np.zeros(len(obs), np.float32), ended, no, no, final_obs)


def test_the_filter_normalises_the_boxes_of_a_dict_and_leaves_masks_and_choices():
    rng = np.random.default_rng(0)
    connector = MeanStdFilter(clip=None)
    out = connector.connect(Spaces(PARTS, gym.spaces.Discrete(2)), 50).observation
    assert out["x"].dtype == out["more"][0].dtype == np.float32
    assert (out["action_mask"], out["more"][1]) == (PARTS["action_mask"], PARTS["more"][1])
    first, second = parts(rng, 50), parts(rng, 50)
    connector.on_reset(first)
    step = connector.on_step(step_of(second, final_obs=first), np.zeros(50))
    for raw, seen in ((second, step.obs), (first, step.final_obs)):
        assert seen.dtype == Packer(out).dtype
        np.testing.assert_array_equal(seen["action_mask"], raw["action_mask"])
        np.testing.assert_array_equal(seen["more"]["1"], raw["more"]["1"])
        for pick in (lambda obs: obs["x"], lambda obs: obs["more"]["0"]):
            both = np.concatenate([pick(first), pick(second)]).astype(np.float64)
            np.testing.assert_allclose(pick(seen), normalized(pick(raw), both), atol=1e-4)


def test_a_stack_of_a_dict_stacks_its_boxes_beside_the_newest_mask_and_choices():
    rng = np.random.default_rng(0)
    connector = FrameStacking(2)
    out = connector.connect(Spaces(PARTS, gym.spaces.Discrete(2)), 3).observation
    assert out["more"][0].shape == (2, 2)
    assert (out["action_mask"], out["x"]) == (PARTS["action_mask"], PARTS["x"])
    first, second, third = (parts(rng, 3) for _ in range(3))
    connector.on_reset(first)
    step = connector.on_step(step_of(second), np.zeros(3))
    pixels = [obs["more"]["0"] for obs in (first, second, third)]
    np.testing.assert_array_equal(step.obs["more"]["0"], np.concatenate(pixels[:2], -1))
    for name in ("action_mask", "x"):
        np.testing.assert_array_equal(step.obs[name], second[name])
    state = connector.get_state()
    again = FrameStacking(2)
    again.connect(Spaces(PARTS, gym.spaces.Discrete(2)), 3)
    again.set_state(state)
    ended = np.array([False, True, False])
    for each in (connector, again):
        step = each.on_step(step_of(third, ended, second), np.zeros(3))
        expected = np.concatenate(pixels[1:], -1)
        expected[1, :, 0] = 0
        np.testing.assert_array_equal(step.obs["more"]["0"], expected)


@pytest.mark.parametrize("connector", [MeanStdFilter, FrameStacking])
def test_where_there_is_no_box_there_is_nothing_to_do(connector):
    space = gym.spaces.Dict(action_mask=gym.spaces.Box(0, 1, (2,)), n=gym.spaces.Discrete(2))
    with pytest.raises(ConfigError, match=r"has none\. Put FlattenObservations"):
        connector().connect(Spaces(space, gym.spaces.Discrete(2)), 1)


def test_moments_of_parts_are_those_of_the_whole():
    values = np.random.default_rng(0).normal(3, 2, (100, 4))
    parts = [Moments.of(part) for part in np.split(values, [1, 1, 7, 60])]
    whole = Moments.empty((4,))
    for part in parts:
        whole = whole.merged(part)
    assert whole.num == 100
    np.testing.assert_allclose(whole.mean, values.mean(0))
    np.testing.assert_allclose(whole.std, values.std(0))
    assert Moments.of(np.full((1, 2), 7.0)).std.tolist() == [1, 1]


def test_what_several_collect_counts_once_however_often_it_is_shared():
    rng = np.random.default_rng(0)
    together, runners = Moments.empty((2,)), [SharedMoments((2,)) for _ in range(3)]
    seen = []
    for _ in range(4):
        for runner in runners:
            seen.append(rng.normal(size=(5, 2)))
            runner.update(seen[-1])
        news = [runner.take_news() for runner in runners]
        late = rng.normal(size=(2, 2))
        runners[0].update(late)  # after the news were taken, before the shared ones are back
        for part in news:
            together = together.merged(part)
        for runner in runners:
            runner.set(together)
        known = np.concatenate([*seen, late])
        np.testing.assert_allclose(runners[0].total.mean, known.mean(0))
        np.testing.assert_allclose(runners[1].total.std, np.concatenate(seen).std(0))
        seen.append(late)


def test_a_frozen_filter_learns_nothing():
    pipeline = Pipeline([MeanStdFilter()]).freeze()
    pipeline.connect(SPACES, 2)
    obs = np.float32([[1, 2], [3, 4]])
    np.testing.assert_array_equal(pipeline.on_reset(obs), obs)
    assert pipeline.get_statistics()["0"]["count"] == 0


@pytest.mark.parametrize("autoreset", list(AutoresetMode))
def test_the_past_of_an_episode_stands_beside_its_observation(autoreset):
    """The counter pays 100 * episode + t, and acts are numbered here."""
    env = make_vector_env(CounterEnv, 1, "sync", {"endings": ENDINGS}, autoreset)
    past = PrevActionsPrevRewards(n_prev_actions=2, n_prev_rewards=2)
    space = past.connect(SPACES, 1).observation
    assert space["prev_actions"].nvec.tolist() == [2, 2]
    seen = [past.on_reset(env.reset(0))[0]]
    for number in range(12):
        actions = np.array([number % 2])
        step = past.on_step(env.step(actions), actions)
        seen.append(step.obs[0])
        if step.terminated[0] or step.truncated[0]:
            seen.append(step.final_obs[0])
    env.close()
    for row in seen:
        episode, t = row["obs"]
        paid = [100 * episode + t - age if t > age else 0 for age in range(2)]
        assert row["prev_rewards"].tolist() == paid


def a_step(rewards, done=(False, False)):
    flags = np.array(done)
    obs = np.zeros((len(rewards), 2), np.float32)
    none = np.zeros(len(rewards), np.bool_)
    return EnvStep(obs, np.float32(rewards), flags, none, none, obs if flags.any() else None)


def test_clipped_rewards_keep_the_raw_ones_beside():
    step = ClipRewards().on_step(a_step([-3, 0.5]), np.zeros(2))
    assert step.reward.tolist() == [-1, 1]
    assert step.raw_reward.tolist() == [-3, 0.5]
    again = ClipRewards(0.25).on_step(step, np.zeros(2))
    assert again.reward.tolist() == [-0.25, 0.25]
    assert again.raw_reward.tolist() == [-3, 0.5]


def test_rewards_are_scaled_by_the_spread_of_discounted_returns():
    scaler = NormalizeRewards(gamma=0.5, clip=None)
    scaler.connect(SPACES, 2)
    scaler.on_reset(np.zeros((2, 2)))
    scaler.on_step(a_step([1, 2], done=(True, False)), np.zeros(2))
    step = scaler.on_step(a_step([4, 6]), np.zeros(2))
    returns = [1, 2, 4, 6 + 0.5 * 2]
    np.testing.assert_allclose(step.reward, np.array([4, 6]) / np.std(returns), rtol=1e-5)


def test_flattening_keeps_the_mask_beside_the_features():
    mask = gym.spaces.MultiBinary(3)
    space = gym.spaces.Dict(
        {"action_mask": mask, "x": gym.spaces.Box(-1, 1, (2, 2)), "y": gym.spaces.Discrete(2)}
    )
    flatten = FlattenObservations()
    after = flatten.connect(Spaces(space, SPACES.action), 1).observation
    dtype = [("action_mask", np.int8, 3), ("x", np.float32, (2, 2)), ("y", np.int64)]
    obs = np.array([([1, 0, 1], [[1, 2], [3, 4]], 1)], dtype)
    flat = flatten.on_reset(obs)
    assert flat["features"].tolist() == [[1, 2, 3, 4, 0, 1]]
    assert flat["action_mask"].tolist() == [[1, 0, 1]]
    assert after["features"].shape == (6,)


def test_a_connector_in_rllibs_shape_is_refused_rather_than_ignored():
    with pytest.raises(TypeError, match=r"Mine.__call__ would never be called: override on_reset"):
        type("Mine", (Connector,), {"__call__": lambda self, *, rl_module, batch, **kwargs: batch})


def test_a_pipeline_can_be_changed_by_name_and_class():
    pipeline = Pipeline([ClipRewards()])
    pipeline.prepend(FrameStacking(2))
    pipeline.insert_after("ClipRewards", MeanStdFilter())
    pipeline.insert_before(ClipRewards, NormalizeRewards())
    pipeline.remove(FrameStacking)
    names = [type(each).__name__ for each in pipeline]
    assert names == ["NormalizeRewards", "ClipRewards", "MeanStdFilter"]
    with pytest.raises(ValueError, match=r"no FrameStacking in the pipeline; it has \['Norm"):
        pipeline.remove("FrameStacking")


def test_settings_name_the_connectors():
    config = (
        PPOConfig()
        .environment(CounterEnv, clip_rewards=True)
        .env_runners(
            observation_filter="MeanStdFilter",
            env_to_module_connector=lambda env, spaces, device: [FrameStacking(2)],
        )
    )
    names = [type(each).__name__ for each in build_pipeline(config)]
    assert names == ["ClipRewards", "FrameStacking", "MeanStdFilter"]
    config.env_runners(env_to_module_connector=lambda env: "nonsense")
    with pytest.raises(ConfigError, match=r"env_to_module_connector.*returned 'nonsense'"):
        build_pipeline(config)


def runner_config(**env_runners):
    return (
        PPOConfig()
        .environment(CounterEnv, env_config={"endings": ENDINGS}, clip_rewards=True)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2, rollout_fragment_length=8)
        .env_runners(observation_filter="MeanStdFilter", **env_runners)
        .rl_module(model_config={"fcnet_hiddens": (4,)})
    )


def test_a_fragment_holds_what_the_module_saw_and_episodes_what_the_env_paid():
    runner = EnvRunner(runner_config(), SPACES, 0)
    spaces = build_pipeline(runner_config()).connect(SPACES, 1)
    module = runner_config().get_rl_module_spec(spaces).build()
    runner.set_weights({k: v.numpy() for k, v in module.policy_state().items()}, 1)
    batch, stats = runner.sample()
    runner.stop()
    assert set(np.unique(batch.rewards)) <= {0.0, 1.0}
    assert np.abs(batch.obs).max() <= 10
    assert stats.episodes[0].episode_return == 1 + 2 + 3
    assert stats.news["1"]["count"] == 2 + 8 * 2


@pytest.mark.parametrize("num_env_runners", [0, 2])
def test_all_runners_go_by_the_same_statistics_and_a_checkpoint_keeps_them(
    num_env_runners, tmp_path
):
    config = runner_config().env_runners(num_env_runners=num_env_runners)
    num_runners = max(1, num_env_runners)
    config.training(train_batch_size_per_learner=16 * num_runners, minibatch_size=None)
    config.training(num_epochs=1)
    with config.build_algo() as algo:
        for _ in range(2):
            algo.train()
        shared = algo.interface.pipeline.get_statistics()
        assert shared["1"]["count"] == num_runners * (2 + 2 * 2 * 8)
        algo.save_to_path(tmp_path / "saved")
        with type(algo).from_checkpoint(tmp_path / "saved", config=config) as heir:
            restored = heir.interface.pipeline.get_statistics()
            np.testing.assert_array_equal(restored["1"]["mean"], shared["1"]["mean"])
            heir.train()


def test_frame_stacking_for_learners_has_nothing_left_to_do():
    batch = object()
    assert FrameStackingLearner(num_frames=4)(batch, None) is batch


@pytest.mark.parametrize("connector", [MeanStdFilter, lambda: FrameStacking(2)])
def test_masks_reach_the_module_through_filters_and_stacks(connector):
    class Measured(gym.Wrapper):
        """MaskedWalk, whose place is told as a number, too."""

        def __init__(self, config):
            super().__init__(MaskedWalk(20))
            number = gym.spaces.Box(0, 100, (1,), np.float32)
            self.observation_space = gym.spaces.Dict(
                {**self.env.observation_space.spaces, "number": number}
            )

        def reset(self, **kwargs):
            obs, info = self.env.reset(**kwargs)
            return obs | {"number": np.float32([obs["place"]])}, info

        def step(self, action):
            obs, *rest = self.env.step(action)
            return obs | {"number": np.float32([obs["place"]])}, *rest

    settings = (
        PPOConfig()
        .environment(Measured)
        .env_runners(num_env_runners=0, env_to_module_connector=connector)
        .training(train_batch_size_per_learner=40, minibatch_size=40, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": (8,)})
    )
    with settings.build_algo() as algo:
        result = algo.train()
    assert result["env_runners"]["episode_return_min"] > -1.0  # which a forbidden action costs


def test_a_run_whose_observations_have_parts_is_saved_and_goes_on_exactly(tmp_path):
    def settings():
        return (
            PPOConfig()
            .environment("CartPole-v1")
            .env_runners(num_env_runners=0, num_envs_per_env_runner=2)
            .training(train_batch_size_per_learner=40, minibatch_size=40, num_epochs=1)
            .rl_module(
                model_config={
                    "use_lstm": True,
                    "lstm_cell_size": 4,
                    "max_seq_len": 5,
                    "lstm_use_prev_action": True,
                }
            )
        )

    with settings().build_algo() as algo:
        algo.train()
        path = algo.save_to_path(tmp_path / "here")
        algo.train()
        expected = algo.params_hash()
    with settings().algo_class.from_checkpoint(path) as algo:
        algo.train()
        assert algo.params_hash() == expected


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rllibs.FlattenObservations(agent_ids={1}), "connectors to one module"),
        (lambda: rllibs.FlattenObservations(keys_to_remove=["a"]), "ObservationFunction"),
        (lambda: rllibs.MeanStdFilter(update_stats=False), "left alone in evaluation"),
        (lambda: rllibs.FrameStacking(num_frames=2, as_learner_connector=True), "a learner sees"),
    ],
)
def test_arguments_of_rllibs_connectors_are_refused_with_what_there_is(make, message) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_choices_become_one_hot():
    choice = OneHot()
    spaces = choice.connect(Spaces(gym.spaces.Discrete(3, start=-1), SPACES.action), 2)
    assert spaces.observation == gym.spaces.Box(0, 1, (3,), np.float32)
    assert choice.on_reset(np.array([-1, 1])).tolist() == [[1, 0, 0], [0, 0, 1]]
    choices = OneHot()
    spaces = choices.connect(Spaces(gym.spaces.MultiDiscrete([2, 3]), SPACES.action), 1)
    assert spaces.observation.shape == (5,)
    assert choices.on_reset(np.array([[1, 0]])).tolist() == [[0, 1, 1, 0, 0]]
    with pytest.raises(ConfigError, match=r"OneHot is for Discrete and MultiDiscrete .* leave it"):
        OneHot().connect(SPACES, 1)


def test_choices_within_parts_become_one_hot_in_their_place():
    one_hot, obs = OneHot(), parts(np.random.default_rng(0), 4)
    space = one_hot.connect(Spaces(PARTS, SPACES.action), 4).observation
    assert space["more"][1] == gym.spaces.Box(0, 1, (3,), np.float32)
    found = one_hot.on_step(step_of(obs, final_obs=obs), np.zeros(4))
    assert found.final_obs is found.obs
    assert found.obs.dtype == Packer(space).dtype
    hot = found.obs["more"]["1"]
    assert (hot.argmax(1) == obs["more"]["1"]).all()
    assert (hot.sum(1) == 1).all()
    for name in ("action_mask", "x"):
        assert (found.obs[name] == obs[name]).all()
    assert (found.obs["more"]["0"] == obs["more"]["0"]).all()


def test_an_algorithm_learns_from_one_hot_choices():
    config = (
        PPOConfig()
        .environment("FrozenLake-v1")
        .env_runners(num_env_runners=0, env_to_module_connector=lambda: OneHot())
    )
    with config.training(train_batch_size_per_learner=128, num_epochs=1).build_algo() as algo:
        assert algo.get_module().observation_space.shape == (16,)
        assert algo.train()["num_env_steps_sampled_lifetime"] > 64
        assert algo.compute_single_action(3) in range(4)
