"""Agents that come, go and skip turns, told apart and told of exactly once."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, Tuple
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rllib.envs.agent_groups import GroupedAgents
from rllib.envs.faults import EnvFault, EnvSetupError
from rllib.envs.multi_agent import MultiAgentEnv, make_multi_agent
from rllib.envs.multi_agent_vector import MultiAgentVector
from rllib.envs.pettingzoo import ParallelPettingZooEnv, PettingZooEnv
from rllib.envs.schedules import RandomSchedule


class Books:
    """What is known of the agents of one environment; refuses whatever contradicts it."""

    def __init__(self, obs):
        self.lives = {}
        self.paid = 0.0
        self.acted = 0
        self.ended = set()
        self.begin(obs)

    def begin(self, obs):
        self.t = 0
        self.waiting = set(obs)
        self.see(obs)

    def see(self, obs):
        """(life, own steps) of each agent that acts next: one more than when it acted last."""
        for agent, seen in obs.items():
            life, steps = seen.tolist()
            assert life not in self.ended
            assert self.lives.setdefault(agent, [life, 0]) == [life, steps]

    def step(self, step):
        self.t += 1
        for agent in self.waiting:
            self.lives[agent][1] += 1
            self.acted += 1
        for agent, reward in step.rewards.items():
            self.paid += reward
            life = int(reward)
            assert (reward - life) * 64 == self.t
            assert self.lives[agent][0] == life
        for agent, end in step.ends.items():
            self.end(agent, end.final_obs)
        if step.is_over:
            assert not self.lives
            self.begin(step.obs)
        else:
            self.waiting = set(step.obs)
            self.see(step.obs)

    def end(self, agent, final_obs):
        """Its last observation is its newest; of one that waited, what it saw when it acted."""
        life, steps = self.lives.pop(agent)
        assert life not in self.ended
        self.ended.add(life)
        assert final_obs[0] == life
        assert final_obs[1] in (steps, steps - 1)
        assert final_obs[1] == steps or agent not in self.waiting


@given(seed=st.integers(0, 2**20), length=st.integers(1, 20), num_envs=st.integers(1, 3))
@example(seed=2905, length=20, num_envs=3)  # all five agents end in one step
@settings(max_examples=60, deadline=None)
def test_every_agent_acts_is_paid_and_ends_as_its_environment_says(seed, length, num_envs):
    vector = MultiAgentVector(RandomSchedule, num_envs, {"length": length, "coded": True})
    books = [Books(obs) for obs in vector.reset(seed)]
    for _ in range(30):
        steps = vector.step([dict.fromkeys(each.waiting, 0) for each in books])
        for each, step in zip(books, steps, strict=True):
            each.step(step)
    assert [each.paid for each in books] == [env.paid for env in vector.envs]
    assert [each.acted for each in books] == [env.acted for env in vector.envs]
    vector.close()
    vector.close()


def test_the_same_seed_is_the_same_schedule_and_environments_differ():
    def play(seed):
        vector = MultiAgentVector(RandomSchedule, 2, {"coded": True})
        waiting, rewards = vector.reset(seed), []
        for _ in range(20):
            steps = vector.step([dict.fromkeys(obs, 0) for obs in waiting])
            waiting = [step.obs for step in steps]
            rewards.append([step.rewards for step in steps])
        return rewards

    assert play(3) == play(3)
    assert play(3) != play(4)
    assert any(one != other for one, other in play(3))


# One agent in an environment of two, in which each test changes one thing.


class Pair(MultiAgentEnv):
    """``a`` and ``b`` act at once, for four steps; ``config["step"]`` changes what is returned."""

    def __init__(self, config):
        self.possible_agents = ["a", "b"]
        self.observation_spaces = {
            "a": Box(-9, 9, (2,), np.float32),
            "b": Dict(x=Box(-9, 9, (), np.float32), n=Discrete(5), bits=MultiBinary(2)),
        }
        self.action_spaces = dict.fromkeys("ab", Discrete(2))
        self.change = config.get("step", lambda *parts: parts)
        self.first = config.get("first")

    def reset(self, *, seed=None, options=None):
        self.t = 0
        self.agents = ["b"]
        return self.first or (self.observe(), {})

    def observe(self):
        b = {"x": self.t, "n": np.int64(self.t), "bits": np.int8([0, 1])}
        return {"a": np.float32([self.t, 0]), "b": b}

    def step(self, action_dict):
        self.t += 1
        ends = {"__all__": False}, {"__all__": self.t == 4}
        return self.change(self.observe(), {"a": 1.0, "b": -self.t}, *ends, {})


def vector_of(change=lambda *parts: parts, **config):
    vector = MultiAgentVector(Pair, 2, {"step": change} | config)
    vector.reset(seed=0)
    return vector


ACTIONS = [{"a": 0, "b": 0}] * 2


def test_observations_are_packed_by_agent():
    step = vector_of().step(ACTIONS)[1]
    assert step.obs["a"].tolist() == [1, 0]
    assert (step.obs["b"]["n"], step.obs["b"]["bits"].tolist()) == (1, [0, 1])
    assert step.obs["b"].shape == ()
    assert step.rewards == {"a": 1.0, "b": -1.0}


def test_an_episode_that_is_cut_ends_all_with_their_last_observations():
    vector = vector_of()
    step = [vector.step(ACTIONS) for _ in range(4)][-1][0]
    assert step.is_over
    assert {agent: end.terminated for agent, end in step.ends.items()} == {"a": False, "b": False}
    assert (step.ends["a"].final_obs[0], step.ends["b"].final_obs["n"]) == (4, 4)
    assert step.obs["a"][0] == 0  # of the next episode


@pytest.mark.parametrize(
    ("terminateds", "truncateds", "expected"),
    [
        ({"a": True, "__all__": False}, {"__all__": False}, {"a": True}),
        ({"__all__": False}, {"a": True, "__all__": False}, {"a": False}),
        ({"a": True, "__all__": False}, {"a": True, "__all__": False}, {"a": True}),
        ({"__all__": True}, {"__all__": False}, {"a": True, "b": True}),
        ({"__all__": True}, {"a": True, "__all__": False}, {"a": False, "b": True}),
        ({"a": True, "__all__": False}, {"__all__": True}, {"a": True, "b": False}),
        ({"a": 1, "b": np.True_, "__all__": 0}, {"__all__": False}, {"a": True, "b": True}),
    ],
)
def test_how_agents_end(terminateds, truncateds, expected):
    step = vector_of(lambda o, r, *_: (o, r, terminateds, truncateds, {})).step(ACTIONS)[0]
    assert {agent: end.terminated for agent, end in step.ends.items()} == expected
    assert step.is_over == (len(expected) == 2)


def test_a_turn_is_skipped_by_not_being_observed():
    vector = vector_of(lambda o, r, *rest: ({"b": o["b"]}, r, *rest))
    step = vector.step(ACTIONS)[0]
    assert list(step.obs) == ["b"]
    assert step.rewards.keys() == {"a", "b"}
    steps = [vector.step([{"b": 0}] * 2)[0] for _ in range(3)]
    assert steps[-1].ends["a"].final_obs.tolist() == [0, 0]  # what it saw last


def test_an_agent_that_was_gone_may_come_back():
    def change(obs, rewards, terminateds, truncateds, infos):
        if obs["a"][0] == 2:
            del obs["a"]
        return obs, rewards, {"a": obs.get("a", [0])[0] == 1} | terminateds, truncateds, infos

    def quiet(obs, rewards, *rest):
        return change(obs, rewards | {"a": 0.0}, *rest)

    vector = vector_of(quiet)
    assert "a" in vector.step(ACTIONS)[0].ends
    second = vector.step([{"b": 0}] * 2)[0]
    assert list(second.obs) == ["b"]
    assert "a" not in second.rewards
    third = vector.step([{"b": 0}] * 2)[0]
    assert third.obs.keys() == {"a", "b"}
    pays_the_dead = vector_of(change)
    pays_the_dead.step(ACTIONS)
    with pytest.raises(EnvFault, match=r"reward of agent 'a' = 1.0 .*before the agent is gone"):
        pays_the_dead.step([{"b": 0}] * 2)


def test_who_is_paid_before_observing_ends_with_the_episode():
    def change(obs, rewards, *rest):
        return {"b": obs["b"]}, rewards, *rest

    observed = {"b": {"x": 0, "n": 0, "bits": np.int8([0, 0])}}
    vector = vector_of(change, first=(observed, {}))
    steps = [vector.step([{"b": 0}] * 2)[0] for _ in range(4)]
    assert [step.rewards["a"] for step in steps] == [1.0] * 4
    assert steps[-1].ends["a"].final_obs is None
    assert vector.unseen == [set(), set()]


@pytest.mark.parametrize(
    ("change", "agent", "field", "message"),
    [
        (lambda o, *r: (o | {"a": np.zeros(3)}, *r), "a", "obs", r"obs of agent 'a' = .*\(3,\)"),
        (lambda o, *r: (o | {"a": None}, *r), "a", "obs", "obs of agent 'a' = None"),
        (
            lambda o, *r: (o | {"a": np.float32([0, np.nan])}, *r),
            "a",
            "obs",
            r"nan in its element \[1\] at its env step 1; it should be finite",
        ),
        (
            lambda o, *r: (o | {"b": o["b"] | {"n": 5}}, *r),
            "b",
            "obs['n']",
            r"obs\['n'\] of agent 'b' = 5 .*from 0 to 4",
        ),
        (
            lambda o, *r: (o | {"b": o["b"] | {"bits": np.int8([0, 2])}}, *r),
            "b",
            "obs['bits']",
            r"= 2 .*within its bounds \[0, 1\]",
        ),
        (
            lambda o, *r: (o | {"b": o["b"] | {"x": np.inf}}, *r),
            "b",
            "obs['x']",
            "= inf at its env step 1",
        ),
        (lambda o, *r: (o | {"c": 1}, *r), "c", "obs", r"possible_agents \['a', 'b'\]"),
        (lambda o, r, *e: (o, {"c": 1.0}, *e), "c", "reward", "possible_agents"),
        (lambda o, r, *e: (o, {"a": np.nan}, *e), "a", "reward", "a finite number"),
        (lambda o, r, *e: (o, {"b": "1"}, *e), "b", "reward", "should be a number"),
        (lambda o, r, te, tr, i: (o, r, {"a": True}, {}, i), None, "terminateds", "'__all__'"),
        (
            lambda o, r, te, tr, i: (o, r, te | {"a": None}, tr, i),
            "a",
            "terminateds",
            "terminateds of agent 'a' = None .*true or false",
        ),
        (
            lambda o, r, te, tr, i: (o, r, te | {"c": True}, tr, i),
            "c",
            "terminateds",
            r"terminateds of agent 'c' = True .*possible_agents \['a', 'b'\]",
        ),
        (
            lambda o, r, te, tr, i: (o, r, te, tr | {"c": False}, i),
            "c",
            "truncateds",
            "truncateds of agent 'c' = False .*possible_agents",
        ),
        (
            lambda o, r, te, tr, i: (o, r, te, tr, {"a": "fine"}),
            "a",
            "infos",
            r"infos of agent 'a' = 'fine' .*a dict, or None or left out if there is nothing to say",
        ),
        (
            lambda *parts: (*parts[:4], {"c": {}}),
            "c",
            "infos",
            "infos of agent 'c' .*possible_agents",
        ),
        (lambda *parts: (*parts[:4], None), None, "result of step()", "five dicts"),
        (lambda *parts: parts[:4], None, "result of step()", "five dicts"),
        (lambda o, r, *e: (o, 1.0, *e), None, "result of step()", "five dicts"),
    ],
)
def test_mistakes_are_signed(change, agent, field, message):
    vector = vector_of(change)
    with pytest.raises(EnvFault, match=message) as caught:
        vector.step(ACTIONS)
    fault = caught.value
    assert (fault.env_index, fault.step, fault.agent, fault.field) == (0, 1, agent, field)


def test_unchecked_observations_need_not_be_of_their_space_but_finite():
    def changed(value):
        return lambda o, *rest: (o | {"a": np.array([value, 0.0])}, *rest)

    vector = MultiAgentVector(Pair, 2, {"step": changed(1e9)}, is_checked=False)
    vector.reset(seed=0)
    assert vector.step(ACTIONS)[0].obs["a"].tolist() == [1e9, 0.0]
    vector = MultiAgentVector(Pair, 2, {"step": changed(np.nan)}, is_checked=False)
    vector.reset(seed=0)
    with pytest.raises(EnvFault, match=r"obs of agent 'a' = nan in its element \[0\]"):
        vector.step(ACTIONS)


@pytest.mark.parametrize(
    "change",
    [
        lambda o, r, te, tr, i: (o, r, {"__all__": True}, {}, i),
        lambda o, r, te, tr, i: (o, r, {}, {"__all__": True}, i),
    ],
    ids=["terminateds", "truncateds"],
)
def test_either_of_both_may_say_nothing_of_all(change):
    step, *_ = vector_of(change).step(ACTIONS)
    assert step.is_over
    assert set(step.ends) == {"a", "b"}


def test_an_agent_may_have_nothing_to_say():
    """As with RLlib, its info is None, or it is left out."""
    said = {"a": None, "__common__": {"t": 1}, "__all__": None}
    vector = vector_of(lambda *parts: (*parts[:4], said))
    step, *_ = vector.step(ACTIONS)
    assert step.infos == {"a": {}, "__common__": {"t": 1}, "__all__": {}}


def test_infos_of_a_reset_are_looked_at_too():
    first = Pair({}).reset()[0]
    vector_of(first=(first, {"a": None}))
    with pytest.raises(EnvFault, match="infos of agent 'b' = 3 at its env step 0") as caught:
        vector_of(first=(first, {"b": 3}))
    assert (caught.value.env_index, caught.value.agent) == (0, "b")


def test_what_is_no_reset_is_refused():
    with pytest.raises(EnvFault, match=r"two dicts: \(obs, infos\)"):
        vector_of(first=({"a": 1},))


def test_an_environment_that_raises_is_named():
    with pytest.raises(EnvFault, match="environment 0 raised ZeroDivisionError in step"):
        vector_of(lambda *parts: 1 / 0).step(ACTIONS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda config: gym.make("CartPole-v1"), "none of several agents"),
        (lambda config: 1 / 0, "cannot be made .*ZeroDivisionError"),
        (type("Empty", (MultiAgentEnv,), {"__init__": lambda self, c: None}), "no possible_agents"),
        (
            type("Spaceless", (MultiAgentEnv,), {"__init__": lambda self, c: None, "agents": [1]}),
            "does not say the observation_space of agent 1",
        ),
    ],
)
def test_what_is_no_environment_of_several_agents_is_refused(make, message):
    with pytest.raises(EnvSetupError, match=message):
        MultiAgentVector(make, 1)


# What makes environments of several agents of others.


def test_copies_of_an_environment_of_one_agent():
    CartPoles = make_multi_agent("CartPole-v1")
    assert issubclass(CartPoles, MultiAgentEnv)
    env = CartPoles({"num_agents": 3, "sutton_barto_reward": True})
    obs, _ = env.reset(seed=1)
    assert (list(obs), env.num_agents, env.max_num_agents) == ([0, 1, 2], 3, 3)
    assert (obs[0] != obs[1]).any()
    while env.agents:
        _, rewards, terminateds, truncateds, _ = env.step(dict.fromkeys(env.agents, 0))
        assert set(rewards.values()) <= {0.0, -1.0}
    assert terminateds["__all__"]
    assert not truncateds["__all__"]
    env.close()


def test_groups_act_as_one():
    env = Pair({}).with_agent_groups({"both": ["a", "b"]})
    assert isinstance(env, GroupedAgents)
    vector = MultiAgentVector(lambda config: env, 1)
    vector.reset(seed=0)
    step = vector.step([{"both": (0, 1)}])[0]
    assert step.obs["both"]["1"]["n"] == 1
    assert step.rewards == {"both": 0.0}
    assert step.infos["both"]["individual_rewards"] == [1.0, -1]
    for _ in range(3):
        step = vector.step([{"both": (0, 1)}])[0]
    assert (step.is_over, step.ends["both"].terminated) == (True, False)


class NamesNobody(MultiAgentEnv):
    """As RLlib's two-step game: no ``possible_agents``, and one space for all."""

    observation_space, action_space = Discrete(3), Discrete(2)

    def reset(self, *, seed=None, options=None):
        return {0: 0, 1: 0}, {}

    def step(self, action_dict):
        over = {"__all__": True}
        return {0: 1, 1: 1}, {0: 3.0, 1: 4.0}, over, {"__all__": False}, {}


def test_groups_name_the_agents_of_an_environment_that_does_not():
    env = NamesNobody().with_agent_groups({"both": [0, 1]}, obs_space=Tuple([Discrete(3)] * 2))
    assert env.possible_agents == ["both"]
    assert env.get_action_space("both") == Tuple([Discrete(2)] * 2)
    assert env.observation_space == env.get_observation_space("both")
    vector = MultiAgentVector(lambda config: env, 1)
    vector.reset(seed=0)
    step = vector.step([{"both": (0, 1)}])[0]
    assert (step.rewards, step.is_over) == ({"both": 7.0}, True)
    with pytest.raises(EnvSetupError, match=r"\[0\] should be possible_agents \[0, 1\]"):
        NamesNobody().with_agent_groups({"x": [0, 1], "y": [0]})


def test_groups_of_whom_one_has_to_wait_are_refused():
    env = Pair({"step": lambda o, *r: ({"a": o["a"]}, *r)})
    vector = MultiAgentVector(lambda c: env.with_agent_groups({"both": ["a", "b"]}), 1)
    vector.reset(seed=0)
    with pytest.raises(EnvFault, match=r"group 'both' acts together, but \['b'\] had to wait"):
        vector.step([{"both": (0, 1)}])
    with pytest.raises(EnvSetupError, match=r"\['c', 'a'\] should be possible_agents|\['a', 'c'\]"):
        env.with_agent_groups({"x": ["a", "c"], "y": ["a"]})


class Turns:
    """PettingZoo's AEC shape: agents 0, 1, 2 in turn; 1 dies in its second turn, all in the third.

    The dead stay in the list until their turn comes, when PettingZoo wants a step of ``None``.
    """

    possible_agents = [0, 1, 2]  # noqa: RUF012

    def observation_space(self, agent):
        return Box(-1, 9, (1,), np.float32)

    def action_space(self, agent):
        return Discrete(2)

    def reset(self, seed=None, options=None):
        self.agents = [0, 1, 2]
        self.turns = dict.fromkeys(self.agents, 0)
        self.terminations, self.truncations = (dict.fromkeys(self.agents, False) for _ in "ab")
        self.rewards, self.infos = dict.fromkeys(self.agents, 0.0), {}
        self.agent_selection = 0

    def observe(self, agent):
        return np.float32([self.turns[agent]])

    def step(self, action):
        agent = self.agent_selection
        following = self.agents[(self.agents.index(agent) + 1) % len(self.agents)]
        self.rewards = dict.fromkeys(self.agents, 0.0)
        if self.terminations[agent]:
            assert action is None
            self.agents.remove(agent)
        else:
            assert action is not None
            self.turns[agent] += 1
            self.rewards[agent] = 1.0
            self.terminations[agent] = self.turns[agent] == (2 if agent == 1 else 3)
            if agent == 0 and self.turns[0] == 2:
                self.terminations[2] = True  # waits for its turn, dead
        self.agent_selection = following if self.agents else None


def test_agents_in_turn_end_once_and_are_buried():
    vector = MultiAgentVector(lambda config: PettingZooEnv(Turns()), 1)
    waiting = vector.reset(seed=0)[0]
    turns, ends, paid = [], [], 0.0
    for _ in range(7):
        turns += list(waiting)
        step = vector.step([dict.fromkeys(waiting, 1)])[0]
        paid += sum(step.rewards.values())
        ends += [(agent, end.final_obs.tolist()) for agent, end in step.ends.items()]
        waiting = step.obs
        if step.is_over:
            break
    assert turns == [0, 1, 2, 0, 1, 0]
    assert ends == [(2, [1]), (1, [2]), (0, [3])]
    assert paid == len(turns)
    assert list(waiting) == [0]  # the next episode


@pytest.mark.parametrize("wrapper", [PettingZooEnv, ParallelPettingZooEnv])
def test_what_does_not_tell_its_agents_is_refused(wrapper):
    with pytest.raises(EnvSetupError, match="does not tell its possible_agents"):
        wrapper(gym.make("CartPole-v1"))
