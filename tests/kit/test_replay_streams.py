"""Replay buffers against a slow one, on random streams of several env runners."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_streams import (
    KINDS,
    Kind,
    Reference,
    Source,
    check_sequences,
    check_transitions,
    new_numbers,
)

from rllib.checkpoints.tree import decode, encode
from rllib.replay import FrameStack, PrioritizedReplay, UniformReplay, join_rows

CLASSES = [UniformReplay, PrioritizedReplay]
GAMMA = 0.75


class Play:
    """Several env runners that feed one buffer, of which some are restarted or lose a fragment."""

    def __init__(
        self, replay, seed, kind, autoreset, ends=0.2, max_seq_len=1, reports_losses=False
    ):
        self.replay = replay
        self.reports_losses = reports_losses
        self.reference = Reference(replay.capacity, KINDS[kind].stack, max_seq_len > 1)
        self.rng = np.random.default_rng(seed)
        self.numbers = new_numbers()
        self.settings = {"autoreset": autoreset, "ends": ends, "max_seq_len": max_seq_len}
        self.kind = kind
        self.sources = {}

    def start(self, index):
        key = next(self.numbers)
        self.sources[index] = Source(
            self.kind, self.rng.integers(1, 4), self.numbers, seed=key, key=key, **self.settings
        )

    def lose_a_fragment(self, index):
        _, lost = self.sources[index].fragment(2)
        cut = {step.run[:-1] for step in lost}
        for column in self.sources[index].columns:
            if self.reports_losses or column.key in cut:
                column.key = (*column.key, "later")
        if self.reports_losses:
            self.replay.end_streams(index)

    def go_on(self):
        index = int(self.rng.integers(3))
        happens = self.rng.random()
        if index not in self.sources or happens < 0.05:
            self.start(index)  # without a word
        elif happens < 0.1:
            self.replay.end_streams(index)
            self.start(index)
        elif happens < 0.15:
            self.lose_a_fragment(index)
        batch, steps = self.sources[index].fragment(int(self.rng.integers(1, 6)))
        self.replay.add(batch, index)
        self.reference.add(steps)


def make(cls, kind, capacity=40, seed=0, max_seq_len=1):
    stack = KINDS[kind].stack
    return cls(capacity, np.random.default_rng(seed), frame_stack=stack, max_seq_len=max_seq_len)


plays = given(
    seed=st.integers(0, 2**20),
    cls=st.sampled_from(CLASSES),
    kind=st.sampled_from(list(KINDS)),
    autoreset=st.sampled_from(["same", "next", "ragged"]),
    ends=st.sampled_from([0.0, 0.1, 0.4]),
    num_fragments=st.integers(1, 20),
)


@settings(max_examples=300, deadline=None)
@plays
def test_every_transition_is_what_happened(seed, cls, kind, autoreset, ends, num_fragments):
    replay = make(cls, kind)
    play = Play(replay, seed, kind, autoreset, ends)
    for _ in range(num_fragments):
        play.go_on()
        if not play.reference.drawable():
            continue
        for n in (1, 3, (1, 4)):
            check_transitions(replay.sample(8, n_step=n, gamma=GAMMA), play.reference, n, GAMMA)
    record = replay.statistics()
    reference = play.reference
    assert record.num_env_steps_added_lifetime == len(reference.steps)
    assert record.num_env_steps_evicted_lifetime == reference.oldest
    assert record.num_env_steps_stored == len(reference.steps) - reference.oldest == len(replay)
    assert record.num_episodes_stored == reference.num_episodes


@settings(max_examples=200, deadline=None)
@plays
def test_every_sequence_is_what_happened(seed, cls, kind, autoreset, ends, num_fragments):
    replay = make(cls, kind)
    memory = 1 + 3 * (seed % 2)
    play = Play(replay, seed, kind, autoreset, ends, max_seq_len=memory, reports_losses=True)
    for _ in range(num_fragments):
        play.go_on()
        if play.reference.drawable():
            for burn_in in (0, 2):
                drawn = replay.sample_sequences(4, 5, burn_in)
                check_sequences(drawn, play.reference, burn_in)


@settings(max_examples=300, deadline=None)
@plays
def test_of_states_as_few_are_kept_as_sequences_need(
    seed, cls, kind, autoreset, ends, num_fragments
):
    """Between two that are kept of a run there are no more steps than a sequence has, and fewer
    would leave out some; what is drawn is what happened."""
    length = 2 + seed % 5
    replay = make(cls, kind, max_seq_len=length)
    play = Play(replay, seed, kind, autoreset, ends, max_seq_len=length, reports_losses=True)
    for _ in range(num_fragments):
        play.go_on()
    reference = play.reference
    kept = set(replay._ring.positions(replay._memory.live).tolist()) if len(replay) else set()
    assert kept <= set(range(reference.oldest, len(reference.steps)))
    runs = {}
    for position in range(reference.oldest, len(reference.steps)):
        runs.setdefault(reference.steps[position].run, []).append(position)
    for run in runs.values():
        places = [k for k, position in enumerate(run) if position in kept]
        gaps = np.diff([*places, len(run)], prepend=0)  # of the first ones, the state may be gone
        assert (gaps <= length).all()
        between = [b - a for a, b in zip(places, places[2:], strict=False)]
        assert all(gap > length for gap in between)
    if reference.drawable():
        for burn_in in (0, 2):
            drawn = replay.sample_sequences(4, length, burn_in)
            assert set(drawn.indices.tolist()) <= kept
            check_sequences(drawn, reference, burn_in)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize(("num_rows", "share"), [(1, 20), (8, 16), (20, 20), (50, 50 / 3)])
def test_bytes_of_states(cls, num_rows, share):
    """However short its fragments are, of a stream that goes on one state is kept in 20 steps; in
    longer ones those are kept that they begin with, too."""
    source = Source("scalar", 2, new_numbers(), ends=0.0, max_seq_len=20)
    replay = make(cls, "scalar", capacity=2000, max_seq_len=20)
    for _ in range(4000 // num_rows):
        replay.add(source.fragment(num_rows)[0])
    assert len(replay) == 2000
    expected = 2000 / share * 2 * 4  # a state of two numbers
    assert replay.memory_bytes == pytest.approx(expected, rel=0.05)
    memory = replay.get_state()["memory"]
    assert memory["parts"]["h"].nbytes == replay.memory_bytes
    assert len(memory["slots"]) == replay.memory_bytes / 8


@pytest.mark.parametrize("max_seq_len", [1, 20])
def test_after_a_reset_row_nothing_goes_on_although_observations_are_the_same(max_seq_len):
    """An environment that failed was made anew, with a fragment: nothing ended before."""
    source = Source("vector", 1, new_numbers(), ends=0.0, max_seq_len=20)
    first, second = (source.fragment(3)[0] for _ in range(2))
    reset_rows = np.array([[True], [False], [False]])
    states = {"h": np.repeat(second.state_in["h"], 2, axis=0)}
    begins = {"reset_rows": reset_rows, "state_in": states, "state_rows": np.array([0, 1])}
    same = replace(second, obs=np.repeat(second.obs[:1], 3, axis=0), **begins)
    replay = make(UniformReplay, "vector", max_seq_len=max_seq_len)
    replay.add(first)
    replay.add(same)
    drawn = replay.sample_sequences(20, 5, 1)
    lengths = drawn.mask.sum(axis=1).tolist()
    assert dict(zip(drawn.indices.tolist(), lengths, strict=True)) == {0: 3, 3: 2}
    assert drawn.train_mask[drawn.indices == 3][0, 0]  # it is known to begin an episode


def test_states_of_a_stream_that_is_longer_than_the_buffer_can_always_be_drawn():
    source = Source("scalar", 1, new_numbers(), ends=0.0, max_seq_len=20)
    replay = make(UniformReplay, "scalar", capacity=7, max_seq_len=20)
    for _ in range(100):
        replay.add(source.fragment(1)[0])
        assert replay.sample_sequences(2, 20).mask.any()


@pytest.mark.parametrize("cls", CLASSES)
def test_a_buffer_of_before_with_all_its_states_gives_away_what_is_not_needed(cls):
    """Otherwise its steps would be drawn as many times more often as a sequence has steps."""
    source = Source("scalar", 1, new_numbers(), ends=0.0, max_seq_len=4)
    replay = make(cls, "scalar", max_seq_len=1)
    for _ in range(10):
        replay.add(source.fragment(1)[0])
    state = replay.get_state()
    del state["sparse"]
    later = make(cls, "scalar", max_seq_len=4)
    later.set_state(state)
    assert later._memory.live.tolist() == [0, 4, 8]
    assert set(later.sample_sequences(100, 4).indices.tolist()) == {0, 4, 8}
    for _ in range(10):
        later.add(source.fragment(1)[0])
    assert later._memory.live.tolist() == [0, 4, 8, 12, 16]


@settings(max_examples=100, deadline=None)
@plays
def test_sequences_of_another_length_find_the_states_that_they_would_have_kept(
    seed, cls, kind, autoreset, ends, num_fragments
):
    """Of all states those are left that a buffer for such sequences has kept, and it goes on so."""
    length = 2 + seed % 5
    settings = {"max_seq_len": length, "reports_losses": True}
    dense, sparse = (make(cls, kind, max_seq_len=each) for each in (1, length))
    play = Play(dense, seed, kind, autoreset, ends, **settings)
    again = Play(sparse, seed, kind, autoreset, ends, **settings)
    for _ in range(num_fragments):
        play.go_on()
        again.go_on()
    later = make(cls, kind, max_seq_len=length)
    later.set_state(through_a_file(dense.get_state()))
    if not len(sparse):
        return
    if not sparse.statistics().num_env_steps_evicted_lifetime:
        assert later._memory.live.tolist() == sparse._memory.live.tolist()
    for index, source in play.sources.items():
        batch, steps = source.fragment(3)
        play.reference.add(steps)
        later.add(batch, index)
    if play.reference.drawable():
        check_sequences(later.sample_sequences(8, length), play.reference, 0)


@settings(max_examples=100, deadline=None)
@plays
def test_a_restored_buffer_goes_on_to_the_last_bit(seed, cls, kind, autoreset, ends, num_fragments):
    memory = 1 + 3 * (seed % 2)
    replay, other = (make(cls, kind, seed=k, max_seq_len=memory) for k in (0, 99))
    play = Play(replay, seed, kind, autoreset, ends, max_seq_len=memory)
    for _ in range(num_fragments):
        play.go_on()
        draw(replay, play.reference)
    other.set_state(through_a_file(replay.get_state()))
    for _ in range(4):
        index, source = next(iter(play.sources.items()))
        batch, steps = source.fragment(3)
        play.reference.add(steps)
        for each in (replay, other):
            each.add(batch, index)
        left, right = (draw(each, play.reference) for each in (replay, other))
        assert as_bytes(left) == as_bytes(right)
        assert replay.statistics() == other.statistics()
    assert json.dumps(stated(replay)) == json.dumps(stated(other))


def draw(replay, reference):
    if not reference.drawable():
        return ()
    drawn = replay.sample_sequences(3, 4, 1)
    replay.update_priorities(drawn.indices, drawn.rewards.sum(axis=1))
    return drawn


def as_bytes(drawn):
    return [
        {name: part.tobytes() for name, part in value.items()}
        if isinstance(value, dict)
        else value.tobytes()
        for value in drawn
    ]


def through_a_file(state):
    tensors = {}
    text = json.dumps(encode(state, "", tensors))
    return decode(json.loads(text), tensors)


def stated(replay):
    """The state without what may lie about in rows that nobody uses."""
    tensors = {}
    tree = encode(replay.get_state(), "", tensors)
    named = {name: array.tolist() for name, array in tensors.items() if "/aside" not in name}
    return [tree["rng"], named]


@pytest.mark.parametrize("kind", ["vector", "structured", "repeat"])
def test_rows_can_be_saved_piece_by_piece(kind):
    replay = make(UniformReplay, kind)
    play = Play(replay, 3, kind, "next")
    pieces, position = [], 0
    for _ in range(40):
        play.go_on()
        pieces.append(replay.rows_since(position))
        position = replay.num_added_lifetime
    assert replay.statistics().num_env_steps_evicted_lifetime > 40
    state = replay.get_state(since=position)
    assert len(state["ring"]["rows"]["rewards"]) == 0
    state["ring"]["rows"] = join_rows([through_a_file(piece) for piece in pieces])
    other = make(UniformReplay, kind)
    other.set_state(through_a_file(state))
    assert as_bytes(replay.sample(100, n_step=3)) == as_bytes(other.sample(100, n_step=3))
    assert stated(replay) == stated(other)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_step_is_drawn(cls, kind):
    replay = make(cls, kind)
    play = Play(replay, 5, kind, "next")
    for _ in range(30):
        play.go_on()
    drawn = replay.sample(2000)
    assert sorted(set(drawn.indices.tolist())) == play.reference.drawable()


@pytest.mark.parametrize("cls", CLASSES)
def test_every_beginning_is_drawn_and_nothing_else_where_states_are_stored(cls):
    replay = make(cls, "vector", capacity=60)
    play = Play(replay, 5, "vector", "next", max_seq_len=4)
    for _ in range(30):
        play.go_on()
    drawn = replay.sample_sequences(2000, 3)
    assert sorted(set(drawn.indices.tolist())) == play.reference.drawable()
    with pytest.raises(ValueError, match="drawn by sample_sequences"):
        replay.sample(1)


@pytest.mark.parametrize("cls", CLASSES)
def test_stacks_are_drawn_unless_their_first_frames_are_gone(cls):
    replay = make(cls, "repeat", capacity=20)
    source = Source("repeat", 1, new_numbers(), ends=0.0)
    reference = Reference(20, FrameStack(4))
    for _ in range(6):
        batch, steps = source.fragment(6)
        replay.add(batch)
        reference.add(steps)
    assert reference.oldest == 16
    drawn = replay.sample(1000)
    check_transitions(drawn, reference, 1, 0.99)
    assert sorted(set(drawn.indices.tolist())) == list(range(16 + 3, 36))


PADDED = np.dtype([("flag", "?"), ("seen", [("flag", "?"), ("word", "i8")])], align=True)


def padded(number):
    return np.array((True, (number % 2, number)), PADDED)


def with_other_padding(obs, rng):
    """The same observations, with other bytes between their fields."""
    copy = np.frombuffer(bytearray(rng.bytes(obs.nbytes)), obs.dtype).reshape(obs.shape)
    copy["flag"], copy["seen"]["flag"] = obs["flag"], obs["seen"]["flag"]
    copy["seen"]["word"] = obs["seen"]["word"]
    return copy


def test_bytes_between_the_fields_of_observations_mean_nothing(monkeypatch):
    monkeypatch.setitem(KINDS, "padded", Kind(padded))
    play = Play(make(UniformReplay, "padded"), 0, "padded", "same", ends=0.0)
    play.start(0)
    for _ in range(4):
        batch, steps = play.sources[0].fragment(2)
        play.replay.add(batch, 0)
        aside = play.replay._ring.aside
        aside.rows = with_other_padding(aside.rows, play.rng)
        play.reference.add(steps)
    check_transitions(play.replay.sample(32, n_step=5, gamma=GAMMA), play.reference, 5, GAMMA)
