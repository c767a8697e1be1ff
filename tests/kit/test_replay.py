"""What a replay buffer promises, shown on the counter env and on streams written out by hand."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import FrameStackObservation
from replay_streams import FIELDS, Source, new_numbers

from rllib.algorithms.ppo import PPOConfig
from rllib.checkpoints.array_state import array_from_state, array_to_state
from rllib.checkpoints.tree import decode, encode
from rllib.envs.counter import CounterEnv
from rllib.envs.make import make_vector_env, probe_spaces
from rllib.errors import CheckpointError, ConfigError
from rllib.replay import (
    FrameStack,
    PrioritizedReplay,
    UniformReplay,
    join_rows,
    make_replay,
)
from rllib.replay.memory_log import MemoryLog
from rllib.replay.pool import Pool
from rllib.sampling.env_runner import EnvRunner

ENDINGS = [
    (3, "terminated"),
    (2, "truncated"),
    (1, "truncated"),
    (6, "terminated"),
    (1, "terminated"),
]
GAMMA = 0.5


def rng(seed=0):
    return np.random.default_rng(seed)


def fragment(num_steps=6, num_envs=1, kind="scalar", **settings):
    batch, _ = Source(kind, num_envs, new_numbers(), **settings).fragment(num_steps)
    return batch


# The counter env


def make_runner(env, autoreset, num_rows=5, num_envs=2):
    settings = (
        PPOConfig()
        .environment(env, env_config={"endings": ENDINGS})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=num_envs)
        .env_runners(gym_env_vectorize_mode="sync", rollout_fragment_length=num_rows)
        .rl_module(model_config={"fcnet_hiddens": ()})
    )
    spaces = probe_spaces(env)
    runner = EnvRunner(settings, spaces, index=0)
    runner.stop()
    runner.env = make_vector_env(env, num_envs, "sync", settings.env_config, autoreset)
    runner.reset(generation=0)
    module = settings.get_rl_module_spec(spaces).build()
    runner.set_weights({name: part.numpy() for name, part in module.policy_state().items()}, 1)
    return runner


def collect(replay, runners, rounds):
    for _ in range(rounds):
        for index, runner in enumerate(runners):
            replay.add(runner.sample()[0], index)
    for runner in runners:
        runner.stop()


def rewards_of(episode, t, n):
    return sum(GAMMA**j * (100.0 * episode + t + j + 1) for j in range(n))


@pytest.mark.parametrize("cls", [UniformReplay, PrioritizedReplay])
@pytest.mark.parametrize("autoreset", list(AutoresetMode))
def test_no_transition_crosses_an_episode_of_the_counter_env(cls, autoreset):
    replay = cls(60, rng())
    collect(replay, [make_runner(CounterEnv, autoreset) for _ in range(2)], rounds=12)
    assert replay.num_added_lifetime > 2 * 60
    drawn = replay.sample(1000, n_step=(1, 4), gamma=GAMMA)
    for b in range(1000):
        (episode, t), n = drawn.obs[b].astype(int).tolist(), int(drawn.n[b])
        length, ending = ENDINGS[episode % len(ENDINGS)]
        assert t + n <= length
        assert drawn.rewards[b] == rewards_of(episode, t, n)
        assert drawn.terminateds[b] == (t + n == length and ending == "terminated")
        assert drawn.discounts[b] == (0.0 if drawn.terminateds[b] else GAMMA**n)
        if not drawn.terminateds[b]:
            assert drawn.next_obs[b].tolist() == [episode, t + n]
    lengths = {int(n) for n in drawn.n}
    assert lengths == {1, 2, 3, 4}


def test_n_steps_go_on_into_the_next_fragment_of_the_same_stream():
    source = [Source("scalar", 1, new_numbers(), ends=0.0) for _ in range(2)]
    replay = UniformReplay(100, rng())
    for _ in range(2):
        for index in range(2):
            replay.add(source[index].fragment(3)[0], index)
    drawn = replay.sample(300, n_step=4)
    # Positions 0-2 and 6-8 are of the first source, 3-5 and 9-11 of the second.
    last = {0: 4, 1: 4, 2: 4, 6: 3, 7: 2, 8: 1} | {3: 4, 4: 4, 5: 4, 9: 3, 10: 2, 11: 1}
    assert {int(i): int(n) for i, n in zip(drawn.indices, drawn.n, strict=True)} == last


# Frames


class Seen(gym.Env):
    """Shows how many steps there were ever, as a small image; its episodes have 5 steps."""

    observation_space = gym.spaces.Box(0, 255, (2, 3), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, config=None):
        self.now = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.see(), {}

    def step(self, action):
        self.t += 1
        return self.see(), 1.0, self.t == 5 and self.now % 2 == 0, self.t == 5, {}

    def see(self):
        self.now += 1
        return np.full((2, 3), self.now % 256, np.uint8)


class Stacked(FrameStackObservation):
    def __init__(self, config):
        super().__init__(Seen(), 4, padding_type=config.get("padding", "reset"))


class StackedZero(Stacked):
    def __init__(self, config):
        super().__init__({"padding": "zero"})


@pytest.mark.parametrize(("env", "padding"), [(Stacked, "repeat"), (StackedZero, "zero")])
@pytest.mark.parametrize("autoreset", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_frames_of_gymnasiums_stacks_are_kept_once_and_come_back(env, padding, autoreset):
    plain = UniformReplay(200, rng(1))
    frames = UniformReplay(200, rng(1), frame_stack=FrameStack(4, padding=padding))
    runner = make_runner(env, autoreset)
    for _ in range(9):
        batch, _ = runner.sample()
        plain.add(batch)
        frames.add(batch)
    runner.stop()
    for n in (1, 3):
        left, right = plain.sample(200, n_step=n), frames.sample(200, n_step=n)
        assert left.obs.tobytes() == right.obs.tobytes()
        goes_on = ~left.terminateds
        assert left.next_obs[goes_on].tobytes() == right.next_obs[goes_on].tobytes()
    assert frames._ring.frames[0].nbytes * 4 == batch.obs[0, 0].nbytes


def test_the_wrong_padding_is_named():
    source = Source("repeat", 1, new_numbers(), ends=1.0)
    replay = UniformReplay(20, rng(), frame_stack=FrameStack(4, padding="zero"))
    with pytest.raises(ValueError, match="padded by 'zero' along axis 0; set padding"):
        replay.add(source.fragment(3)[0])


def test_what_is_not_stacked_is_noticed():
    batch = fragment(5, kind="repeat", ends=0.0)
    changed = batch.obs.copy()
    changed[3, 0, 1] += 1
    replay = UniformReplay(20, rng(), frame_stack=FrameStack(4))
    for bad in (replace(batch, obs=changed), replace(batch, last_obs=batch.last_obs[:, ::-1])):
        with pytest.raises(ValueError, match="not the one before with one new frame"):
            replay.add(bad)
    assert len(replay) == 0


def test_a_restart_that_begins_with_the_frame_seen_last_is_noticed():
    first = fragment(1, kind="repeat", ends=0.0)
    begin = np.repeat(first.last_obs[:, -1:], 4, axis=1)
    second = replace(first, obs=begin[None], last_obs=np.roll(begin, -1, axis=1))
    replay = UniformReplay(20, rng(), frame_stack=FrameStack(4))
    for batch in (first, second):
        replay.add(batch)
    assert replay.statistics().num_episodes_stored == 2


@pytest.mark.parametrize(
    ("stack", "message"),
    [
        (FrameStack(3), r"shape \(4, 2, 2\) are no stacks of 3 frames along axis 0"),
        (FrameStack(2, axis=3), "along axis 3"),
        (FrameStack(1), "2 frames or more, not 1"),
        (FrameStack(4, padding="reset"), "'repeat' or 'zero', not 'reset'"),
    ],
)
def test_observations_that_are_no_such_stacks_are_refused(stack, message):
    replay = UniformReplay(20, rng(), frame_stack=stack)
    with pytest.raises(ValueError, match=message):
        replay.add(fragment(kind="repeat"))


def test_no_whole_stack_is_an_error_and_no_endless_loop():
    for cls in (UniformReplay, PrioritizedReplay):
        source = Source("repeat", 1, new_numbers(), ends=0.0)
        replay = cls(3, rng(), frame_stack=FrameStack(4))
        for _ in range(3):
            replay.add(source.fragment(3)[0])
        with pytest.raises(ValueError, match="raise its capacity"):
            replay.sample(2)


# Sequences


def test_an_episodes_beginning_needs_no_burn_in():
    replay = UniformReplay(100, rng())
    replay.add(fragment(40, ends=0.3, max_seq_len=3))
    drawn = replay.sample_sequences(200, length=4, burn_in=2)
    assert drawn.mask.shape == drawn.train_mask.shape == drawn.rewards.shape == (200, 6)
    assert drawn.obs.shape == (200, 7)
    begins = drawn.state_in["h"][:, 1] == 0  # the state is (episode, steps before)
    known = drawn.indices > 0  # nobody knows what was before the first step of a stream
    assert (drawn.train_mask[begins & known] == drawn.mask[begins & known]).all()
    assert begins.any()
    assert not begins.all()
    assert not drawn.train_mask[~begins, :2].any()
    assert drawn.train_mask.any(axis=1).mean() > 0.95  # others were drawn anew


def test_sequences_without_anything_to_train_on_are_taken_in_the_end():
    replay = UniformReplay(100, rng())
    replay.add(fragment(3, ends=0.0))
    drawn = replay.sample_sequences(5, length=1, burn_in=9)
    assert not drawn.train_mask.any()
    assert drawn.mask.any(axis=1).all()


@pytest.mark.parametrize(("length", "burn_in"), [(0, 0), (1, -1)])
def test_impossible_lengths_are_refused(length, burn_in):
    replay = UniformReplay(100, rng())
    replay.add(fragment())
    with pytest.raises(ValueError, match=f"length={length} after burn_in={burn_in}"):
        replay.sample_sequences(1, length, burn_in)


# Statistics and state


def test_statistics_count_what_is_there_and_what_went_through():
    replay = UniformReplay(10, rng())
    assert set(replay.statistics()) == {0}
    source = Source("scalar", 1, new_numbers(), ends=0.0)
    for _ in range(2):
        replay.add(source.fragment(6)[0])
    replay.sample(5)
    replay.sample_sequences(1, length=1)
    assert replay.statistics() == (10, 1, 12, 2, 6)
    assert len(replay) == 10
    assert replay.num_added_lifetime == 12


def test_an_empty_buffer_has_a_state():
    for cls in (UniformReplay, PrioritizedReplay):
        replay, other = cls(10, rng(1)), cls(10, rng(2))
        assert replay.rows_since(0) is None
        other.set_state(replay.get_state())
        for each in (replay, other):
            each.add(fragment())
        assert replay.sample(5).indices.tolist() == other.sample(5).indices.tolist()


def test_a_state_of_other_settings_is_refused():
    replay = UniformReplay(10, rng())
    with pytest.raises(CheckpointError, match="capacity 20, this one 10"):
        replay.set_state(UniformReplay(20, rng()).get_state())
    other = UniformReplay(10, rng(), frame_stack=FrameStack(4))
    with pytest.raises(CheckpointError, match="frame_stack"):
        replay.set_state(other.get_state())


def test_missing_rows_are_noticed():
    replay, other = UniformReplay(10, rng()), UniformReplay(10, rng())
    replay.add(fragment())
    with pytest.raises(CheckpointError, match="rows 0 to 5 should be there"):
        other.set_state(replay.get_state(since=2))
    with pytest.raises(CheckpointError, match="rows 2 to 3 are missing"):
        join_rows([cut(replay.rows_since(0), 2), replay.rows_since(4)])


def cut(rows, length):
    return {key: value if key == "first" else value[:length] for key, value in rows.items()}


@pytest.mark.parametrize(
    "dtype",
    ["f4", "?", ">i8", "<U3", FIELDS, np.dtype([("a", "u1"), ("b", "f8")], align=True)],
)
@pytest.mark.parametrize("shape", [(3,), (2, 3), (0,)])
def test_arrays_of_any_dtype_pass_through_a_checkpoint(dtype, shape):
    array = np.zeros(shape, dtype)
    array.reshape(-1).view(np.uint8)[::3] = 1
    tensors = {}
    back = array_from_state(decode(encode(array_to_state(array), "", tensors), tensors))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()
    back[...] = np.zeros(1, dtype)  # it is the receiver's own


def test_objects_are_not_saved():
    with pytest.raises(CheckpointError, match="Python objects"):
        array_to_state(np.array([{}]))


def test_a_pool_grows_and_lends_what_it_got_back():
    pool = Pool((2,), np.dtype(np.int64))
    slots = pool.put(np.arange(80).reshape(40, 2))
    assert len(set(slots.tolist())) == 40
    assert 0 not in slots
    assert pool.rows[slots].tolist() == np.arange(80).reshape(40, 2).tolist()
    assert pool.rows[0].tolist() == [0, 0]
    pool.release(slots[:30])
    assert set(pool.put(np.zeros((30, 2), np.int64)).tolist()) == set(slots[:30].tolist())


def test_a_log_of_states_outgrows_its_first_size_while_it_wraps_around():
    log = MemoryLog(1000)
    for first in range(0, 3000, 10):
        slots = np.arange(first, first + 10) % 1000
        states = {"h": np.arange(first, first + 10, 2)}
        log.replace(slots, np.arange(0, 10, 2), states)
    assert log.live.tolist() == list(range(0, 1000, 2))
    assert log.states(np.array([0, 998]))["h"].tolist() == [2000, 2998]


# Bad input


def test_a_capacity_of_0_is_refused():
    with pytest.raises(ConfigError, match="1 env step or more, not 0"):
        UniformReplay(0, rng())


def test_nothing_can_be_drawn_from_an_empty_buffer():
    replay = UniformReplay(10, rng())
    resets_only = fragment(num_steps=1)
    resets_only = replace(resets_only, reset_rows=np.ones((1, 1), np.bool_))
    replay.add(resets_only)
    for draw in (replay.sample, lambda num: replay.sample_sequences(num, 2)):
        with pytest.raises(ValueError, match="is empty: add a fragment"):
            draw(4)
    with pytest.raises(ValueError, match="is empty"):
        PrioritizedReplay(10, rng()).update_priorities(np.array([0]), np.array([1.0]))


@pytest.mark.parametrize("n_step", [0, -1, (0, 3), (3, 2)])
def test_impossible_numbers_of_steps_are_refused(n_step):
    replay = UniformReplay(10, rng())
    replay.add(fragment())
    with pytest.raises(ValueError, match="n_step is a number of steps or a pair"):
        replay.sample(1, n_step=n_step)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (fragment(kind="vector"), r"obs_shape is \(2,\), but the replay buffer holds \(\)"),
        (
            replace(fragment(), obs=np.zeros((6, 1), np.float32)),
            "obs_dtype is float32, but the replay buffer holds int64",
        ),
        (
            replace(fragment(), actions=np.zeros((6, 1, 2))),
            r"action_shape is \(2,\), but the replay buffer holds \(\)",
        ),
        (fragment(max_seq_len=3), "with and without memory"),
        (fragment(num_steps=11), "11 env steps does not fit .* capacity of 10"),
        (
            replace(fragment(ends=0.0), truncateds=np.ones((6, 1), np.bool_)),
            "6 truncated rows, but 0 final observations",
        ),
    ],
)
def test_fragments_that_do_not_fit_are_refused_and_change_nothing(other, message):
    replay = UniformReplay(10, rng())
    replay.add(fragment(ends=0.0))
    before = replay.statistics()
    with pytest.raises(ValueError, match=message):
        replay.add(other)
    assert replay.statistics() == before


def test_a_fragment_may_fill_the_whole_buffer():
    replay = UniformReplay(6, rng())
    source = Source("scalar", 2, new_numbers(), ends=0.0)
    for _ in range(3):
        replay.add(source.fragment(3)[0])
    assert replay.statistics() == (6, 2, 18, 12, 0)
    assert set(replay.sample(100, n_step=5).n.tolist()) == {1, 2, 3}


def test_fragments_may_be_read_only():
    batch = fragment(6, 2, ends=0.4, autoreset="next")
    for array in vars(batch).values():
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    replay = UniformReplay(10, rng())
    replay.add(batch)
    replay.sample(10).obs[:] = 0
    assert replay.sample(10).obs.all()


# Settings


@pytest.mark.parametrize(
    ("config", "cls"),
    [
        ({"type": "EpisodeReplayBuffer", "capacity": 7}, UniformReplay),
        ({"type": "MultiAgentEpisodeReplayBuffer", "capacity": 7}, UniformReplay),
        ({"type": "PrioritizedEpisodeReplayBuffer", "capacity": 7}, PrioritizedReplay),
        ({"type": PrioritizedReplay, "capacity": 7}, PrioritizedReplay),
        ({"capacity": 7}, UniformReplay),
    ],
)
def test_buffers_are_made_by_rllibs_names(config, cls):
    replay = make_replay(config, rng())
    assert type(replay) is cls
    assert replay.capacity == 7


def test_settings_reach_the_buffer():
    stack = FrameStack(4)
    config = {"type": "PrioritizedEpisodeReplayBuffer", "capacity": 7, "alpha": 0.5, "beta": 1}
    replay = make_replay(config, rng(), frame_stack=stack)
    assert isinstance(replay, PrioritizedReplay)
    assert (replay.alpha, replay.beta, replay.frame_stack) == (0.5, 1, stack)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"type": "PrioritizedReplayBufer"}, "did you mean 'PrioritizedReplay'"),
        ({"type": "x"}, "no replay buffer is called 'x'; known are"),
        ({"capacty": 3}, "capacty: unknown key of a UniformReplay; did you mean 'capacity'"),
        ({"alpha": 0.6}, "alpha: unknown key of a UniformReplay"),
        ({"type": "PrioritizedReplay", "alpha": -1}, "alpha: should be a number from 0 on"),
    ],
)
def test_wrong_settings_are_named(config, message):
    with pytest.raises(ConfigError, match=message):
        make_replay(config, rng())


class LongWay(UniformReplay):
    """Takes every fragment for one with ends."""

    def _goes_on(self, batch, source):
        return False


class ShortWay(UniformReplay):
    """Counts the fragments that it takes for ones without."""

    num_short = 0

    def _goes_on(self, batch, source):
        goes_on = super()._goes_on(batch, source)
        self.num_short += goes_on
        return goes_on


@pytest.mark.parametrize("kind", ["scalar", "structured"])
@pytest.mark.parametrize("num_envs", [1, 3])
def test_the_short_way_for_fragments_without_ends_comes_to_the_same(kind, num_envs):
    source = Source(kind, num_envs, new_numbers(), ends=0.05)
    short, long = (cls(210, rng(1)) for cls in (ShortWay, LongWay))
    for _ in range(150):  # several times around
        batch, _ = source.fragment(4)
        for replay in (short, long):
            replay.add(batch)
        assert short.statistics() == long.statistics()
        runs = (replay.sample_sequences(16, 6, burn_in=2) for replay in (short, long))
        draws = (replay.sample(64, n_step=3, gamma=GAMMA) for replay in (short, long))
        for one, other in (*zip(*draws, strict=True), *zip(*runs, strict=True)):
            np.testing.assert_array_equal(one, other)
    assert 20 < short.num_short < 150
