"""One action at a time beside training: of modules and connectors with memory."""

from itertools import pairwise

import numpy as np
import pytest

from rllib.algorithms.dqn import DQNConfig
from rllib.algorithms.ppo import PPOConfig
from rllib.connectors import Connector, FrameStacking
from rllib.errors import ConfigError

OBS = np.array([0.1, -0.2, 0.05, 0.3], np.float32)
OTHER = np.array([-0.4, 0.7, -0.1, -0.9], np.float32)


def config(**model):
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0)
        .training(train_batch_size_per_learner=64, minibatch_size=64, num_epochs=1, lr=0.05)
        .rl_module(model_config={"fcnet_hiddens": (8,), **model})
    )


def stacked():
    return config().env_runners(env_to_module_connector=lambda env: FrameStacking(num_frames=2))


def test_the_acting_policy_is_made_once_and_follows_training(monkeypatch):
    with config().build_algo() as algo:
        first = algo.compute_single_action(OBS, full_fetch=True)[2]["action_dist_inputs"]
        policy = algo._acting_policy(None)
        monkeypatch.setattr(policy, "take_over", pytest.fail)
        algo.compute_single_action(OTHER)
        monkeypatch.undo()
        algo.train()
        after = algo.compute_single_action(OBS, full_fetch=True)[2]["action_dist_inputs"]
        assert algo._acting_policy(None) is policy
        assert not np.allclose(first, after)
        module = algo.get_module()
        expected = module.forward_inference({"obs": module.encode(OBS[None])})
        np.testing.assert_allclose(after, expected["action_dist_inputs"][0], rtol=1e-5)


def test_explore_draws_and_does_not_disturb_training():
    hashes = []
    for num_acts in (0, 40):
        with config().build_algo() as algo:
            algo.train()
            drawn = {int(algo.compute_single_action(OBS, explore=True)) for _ in range(num_acts)}
            assert not drawn or drawn == {0, 1}
            algo.train()
            hashes.append(algo.params_hash())
    assert hashes[0] == hashes[1]


def test_exploring_goes_by_the_schedule_of_a_timestep():
    settings = DQNConfig().environment("CartPole-v1").env_runners(num_env_runners=0)
    settings.training(epsilon=[(0, 1.0), (1000, 0.0)])
    with settings.build_algo() as algo:
        greedy = algo.compute_single_action(OBS)
        at_end = {algo.compute_single_action(OBS, explore=True, timestep=1000) for _ in range(30)}
        at_first = {int(algo.compute_single_action(OBS, explore=True)) for _ in range(30)}
    assert at_end == {greedy}
    assert at_first == {0, 1}


@pytest.mark.parametrize("cell", ["use_lstm", "use_gru"])
def test_the_memory_of_a_module_goes_in_and_comes_out(cell):
    with config(**{cell: True}, lstm_cell_size=4).build_algo() as algo:
        with pytest.raises(ValueError, match="has a memory: compute_single_action"):
            algo.compute_single_action(OBS)
        module = algo.get_module()
        state, batch_state = module.get_initial_state(), module.initial_state(1)
        episode = algo.begin_episode()
        for obs in (OBS, OTHER, OBS):
            action, state, extra = algo.compute_single_action(obs, state)
            expected, batch_state = module.act(obs[None], batch_state)
            assert action == expected[0] == algo.compute_single_action(obs, episode=episode)
            for name, part in state.items():
                np.testing.assert_allclose(part, batch_state[name][0], rtol=1e-5)
                np.testing.assert_allclose(part, episode.state[name], rtol=1e-5)
        assert extra["action_dist_inputs"].shape == (2,)


def test_a_state_of_another_module_is_refused():
    wanted = r"one episode's, of shapes .* got \{'h': \(1, 4\)\}"
    settings = config(use_lstm=True, lstm_cell_size=4)
    with settings.build_algo() as algo, pytest.raises(ValueError, match=wanted):
        algo.compute_single_action(OBS, {"h": np.zeros((1, 4))})


def test_frame_stacks_grow_over_an_episode():
    with stacked().build_algo() as algo:
        with pytest.raises(ValueError, match="FrameStacking remembers the episode"):
            algo.compute_single_action(OBS)
        module, episode = algo.get_module(), algo.begin_episode()
        frames = [np.zeros(4, np.float32), OBS, OTHER]
        for before, now in pairwise(frames):
            rows = module.encode(np.concatenate([before, now])[None])
            found = algo.compute_single_action(now, episode=episode, full_fetch=True)[2]
            expected = module.forward_inference({"obs": rows})["action_dist_inputs"][0]
            np.testing.assert_allclose(found["action_dist_inputs"], expected, rtol=1e-5)


def test_an_episode_tells_past_actions_and_rewards():
    settings = config(use_lstm=True, lstm_use_prev_action=True, lstm_use_prev_reward=True)
    with settings.build_algo() as algo:
        episode = algo.begin_episode()
        algo.compute_single_action(OBS, episode=episode)
        past = episode.pipeline.connectors[-1].past
        algo.compute_single_action(OBS, episode=episode, prev_action=1, prev_reward=2.5)
        past = episode.pipeline.connectors[-1].past
    assert past["prev_actions"].tolist() == [[1]]
    assert past["prev_rewards"].tolist() == [[2.5]]


@pytest.mark.parametrize("space", ["CartPole-v1", "Pendulum-v1"])
def test_a_state_may_come_with_what_was_done_and_what_came_of_it(space):
    """As in RLlib; it is the same as within an episode."""
    past = {"lstm_use_prev_action": True, "lstm_use_prev_reward": True}
    settings = config(use_lstm=True, lstm_cell_size=4, **past).environment(space)
    with settings.build_algo() as algo:
        obs = algo.get_module().observation_space["obs"].shape
        rows = np.random.default_rng(0).uniform(-1, 1, (4, *obs)).astype(np.float32)
        state, episode = algo.get_module().get_initial_state(), algo.begin_episode()
        done, reward = {}, 0.0
        for row in rows:
            action, state, extra = algo.compute_single_action(row, state, **done)
            asked = algo.compute_single_action(
                row, episode=episode, prev_reward=reward, full_fetch=True
            )
            logits = [each["action_dist_inputs"] for each in (extra, asked[2])]
            np.testing.assert_allclose(*logits, rtol=1e-6)
            np.testing.assert_allclose(action, asked[0], rtol=1e-6)
            reward += 0.5
            done = {"prev_action": extra["actions"], "prev_reward": reward}
        with pytest.raises(ValueError, match=r"remembers the episode.*or give prev_action and"):
            algo.compute_single_action(rows[0], state)
        with pytest.raises(ValueError, match="remembers the episode"):
            algo.compute_single_action(rows[0])


class Reversed(Connector):
    def on_actions(self, actions):
        return 1 - actions


def test_actions_pass_the_connectors_on_their_way_to_the_environment():
    plain = config()
    turned = config().env_runners(module_to_env_connector=lambda env: Reversed())
    with plain.build_algo() as one, turned.build_algo() as other:
        assert one.compute_single_action(OBS) == 1 - other.compute_single_action(OBS)


@pytest.mark.parametrize(
    ("argument", "hint"),
    [
        ({"unsquash_action": True}, r"'unsquash_action': .*normalize_actions"),
        ({"input_dict": {}}, r"'input_dict': give the observation"),
        ({"explor": True}, r"'explor': did you mean 'explore'\?"),
    ],
)
def test_an_argument_that_there_is_not_names_the_nearest(argument, hint):
    with config().build_algo() as algo:
        assert algo.compute_single_action(OBS, unsquash_action=None) in (0, 1)
        with pytest.raises(TypeError, match=hint):
            algo.compute_single_action(OBS, **argument)
        with pytest.raises(ConfigError, match="no module 'other'"):
            algo.compute_single_action(OBS, policy_id="other")


def test_statistics_are_those_of_the_last_iteration():
    settings = config().env_runners(observation_filter="MeanStdFilter")
    with settings.build_algo() as algo:
        episode = algo.begin_episode()
        algo.compute_single_action(OBS, episode=episode)
        algo.train()
        algo.compute_single_action(OBS, episode=episode)
        expected = algo.interface.pipeline.connectors[0].moments.total
        for pipeline in (episode.pipeline, episode.policy.pipeline):
            np.testing.assert_array_equal(pipeline.connectors[0].moments.total.mean, expected.mean)
