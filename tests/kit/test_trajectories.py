"""Agents that come, go and skip turns: nothing is lost, nothing counts twice."""

import gymnasium as gym
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib.actions import action_head
from rllib.learning.sequences import observed, sequences, successors
from rllib.multi_agent.agent_state import Agent
from rllib.multi_agent.trajectories import Trajectories
from rllib.replay import UniformReplay

HEAD = action_head(gym.spaces.Discrete(2))
LOGITS = np.zeros(2, np.float32)
LENGTH = 3


class Schedule:
    """Plays a random schedule and remembers, agent by agent, what should come out.

    The observation of a life's k-th step is ``(life, k)``; rewards are different powers.
    """

    def __init__(self, has_memory):
        self.trajectories = Trajectories(LENGTH)
        self.has_memory = has_memory
        self.lives: dict[int, tuple[int, int]] = {}
        self.num_lives = 0
        self.paid = 0.0
        self.acted: list[tuple[int, int]] = []
        self.ends: dict[int, tuple[str, int]] = {}

    def resume(self):
        columns = self.trajectories.columns
        self.trajectories.columns = {Agent(0, agent): each for agent, each in columns.items()}
        state = self.trajectories.get_state()
        self.trajectories = Trajectories(LENGTH)
        self.trajectories.set_state(state)
        columns = self.trajectories.columns
        self.trajectories.columns = {agent.agent_id: each for agent, each in columns.items()}

    def play(self, agent, event, pay):
        if agent not in self.lives:
            self.num_lives += 1
            self.lives[agent] = (self.num_lives, 0)
        if event == "act":
            self.act(agent)
        if pay:
            self.paid += pay
            self.trajectories.reward(agent, pay)
        if event in ("terminate", "truncate"):
            self.end(agent, event)

    def obs(self, agent):
        return np.array(self.lives[agent], np.float32)

    def act(self, agent):
        self.trajectories.observe(agent, self.obs(agent))
        life, k = self.lives[agent]
        state = {"h": self.obs(agent)} if self.has_memory else {}
        self.trajectories.act(agent, self.obs(agent), np.int64(k % 2), LOGITS, state)
        self.acted.append((life, k))
        self.lives[agent] = (life, k + 1)

    def end(self, agent, event):
        life, k = self.lives[agent]
        self.trajectories.end(agent, event == "terminate", self.obs(agent))
        self.ends[life] = (event, k)
        del self.lives[agent]


EVENTS = st.tuples(
    st.integers(0, 4),
    st.sampled_from(["act", "act", "act", "act", "skip", "terminate", "truncate"]),
    st.sampled_from([0.0, 0.0, 1.0, 2.0]),
)


def fragments(events, cuts, has_memory=False, saved_at=-1):
    """The schedule cut into fragments; after that of a number it goes on from a checkpoint."""
    schedule, batches = Schedule(has_memory), []
    for number, (agent, event, pay) in enumerate(events):
        schedule.play(agent, event, pay)
        if number % cuts == cuts - 1:
            batches.append(schedule.trajectories.take(HEAD, 1))
            if number // cuts == saved_at:
                schedule.resume()
    for agent in list(schedule.lives):
        schedule.play(agent, "act", 0.0)  # what was paid before an agent ever acted
        schedule.end(agent, "terminate")
    batches.append(schedule.trajectories.take(HEAD, 1))
    return schedule, [batch for batch in batches if batch is not None]


@settings(max_examples=200, deadline=None)
@given(st.lists(EVENTS, max_size=60), st.integers(1, 20))
def test_every_step_comes_out_once_with_its_successor(events, cuts):
    schedule, batches = fragments(events, cuts)
    steps = []
    for batch in batches:
        following = observed(batch)[successors(batch)]
        for t, n in np.argwhere(~batch.reset_rows):
            life, k = batch.obs[t, n].astype(int)
            steps.append((life, k))
            assert batch.actions[t, n] == k % 2
            ended, at = schedule.ends[life]
            is_last = k == at - 1
            assert batch.terminateds[t, n] == (is_last and ended == "terminate")
            assert batch.truncateds[t, n] == (is_last and ended == "truncate")
            if not batch.terminateds[t, n]:
                assert following[t, n].tolist() == [life, k + 1]
    assert sorted(steps) == sorted(schedule.acted)


@settings(max_examples=100, deadline=None)
@given(st.lists(EVENTS, max_size=60), st.integers(1, 20))
def test_rewards_are_conserved_unless_an_agent_never_acted(events, cuts):
    schedule, batches = fragments(
        [(agent, "act" if event == "skip" else event, pay) for agent, event, pay in events], cuts
    )
    never = {life for life, (_, at) in schedule.ends.items() if at == 0}
    received = sum(float(batch.rewards.sum()) for batch in batches)
    if not never:
        assert received == schedule.paid
    assert received <= schedule.paid


@settings(max_examples=100, deadline=None)
@given(st.lists(EVENTS, max_size=60), st.integers(1, 20))
def test_sequences_of_agents_with_memory(events, cuts):
    _, batches = fragments(events, cuts, has_memory=True)
    for batch in batches:
        runs = sequences(batch, LENGTH)
        assert sorted(runs.rows[runs.mask]) == np.flatnonzero(~batch.reset_rows).tolist()
        obs = batch.obs.reshape(-1, 2)
        for rows, mask, state in zip(runs.rows, runs.mask, runs.state_in["h"], strict=True):
            lives, steps = obs[rows[mask]].T
            assert (lives == lives[0]).all()
            assert (np.diff(steps) == 1).all()
            assert state.tolist() == obs[rows[0]].tolist()


@settings(max_examples=200, deadline=None)
@given(st.lists(EVENTS, max_size=60), st.integers(1, 20), st.booleans(), st.integers(-1, 20))
def test_in_a_replay_buffer_agents_go_on_from_fragment_to_fragment(
    events, cuts, has_memory, saved_at
):
    """Whoever comes, goes or skips turns meanwhile, and from a checkpoint as well."""
    schedule, batches = fragments(events, cuts, has_memory, saved_at)
    replay = UniformReplay(1000, np.random.default_rng(0), max_seq_len=LENGTH)
    for batch in batches:
        assert len(set(batch.streams.tolist())) == batch.rewards.shape[1]
        replay.add(batch)
    lives = [at for _, at in schedule.ends.values() if at]
    assert replay.statistics().num_episodes_stored == len(lives)
    if has_memory:
        most = sum(2 * -(-at // LENGTH) for at in lives)
        assert sum(-(-at // LENGTH) for at in lives) <= replay.memory_bytes / 8 <= most
    elif lives:
        drawn = replay.sample(100, n_step=3)
        for (life, k), n in zip(drawn.obs.astype(int), drawn.n, strict=True):
            assert n == min(3, schedule.ends[life][1] - k)


def test_streams_are_as_few_as_there_were_agents_at_once():
    trajectories = Trajectories(LENGTH)
    seen = set()
    for life in range(20):
        agents = [life, life + 1]  # one of whom was there before
        for agent in agents:
            trajectories.observe(agent, np.array([agent], np.float32))
            trajectories.act(agent, np.array([agent], np.float32), np.int64(0), LOGITS, {})
        trajectories.end(life, True, np.zeros(1, np.float32))
        trajectories.observe(life + 1, np.array([life + 1.5], np.float32))
        seen |= set(trajectories.take(HEAD, 1).streams.tolist())
    assert seen == {0, 1}


def test_after_a_lost_agent_nobody_goes_on_with_its_stream():
    """Also if the next one sees what it saw last: nothing says that its episode was over."""
    trajectories, replay = Trajectories(LENGTH), UniformReplay(10, np.random.default_rng(0))
    same = np.zeros(1, np.float32)
    for life in range(3):
        trajectories.observe("a", same)
        trajectories.act("a", same, np.int64(0), LOGITS, {})
        trajectories.reward("a", life)
        trajectories.observe("a", same)
        replay.add(trajectories.take(HEAD, 1))
        trajectories.act("a", same, np.int64(0), LOGITS, {})
        trajectories.lose("a")
    assert replay.statistics().num_episodes_stored == 3
    assert replay.sample(20, n_step=3).n.tolist() == [1] * 20


def test_agents_of_checkpoints_without_streams_get_some():
    trajectories, other = Trajectories(LENGTH), Trajectories(LENGTH)
    for agent in (Agent(0, "a"), Agent(0, "b")):
        trajectories.observe(agent, np.zeros(1, np.float32))
    state = trajectories.get_state()
    for *_, column in state:
        del column["number"]
    other.set_state(state)
    assert [column.number for column in other.columns.values()] == [0, 1]


def test_nothing_acted_gives_no_fragment():
    trajectories = Trajectories(LENGTH)
    trajectories.observe("a", np.zeros(2))
    assert trajectories.take(HEAD, 1) is None
    trajectories.end("stranger", terminated=True, final_obs=None)
    assert trajectories.num_rows == 0
