"""Convolutions are for images, and said to be where there is none."""

import gymnasium as gym
import pytest

from rllib import core
from rllib.algorithms.dqn import DQNConfig
from rllib.algorithms.ppo import PPOConfig
from rllib.algorithms.sac import SACConfig
from rllib.connectors import FlattenObservations
from rllib.envs.multi_agent import MultiAgentEnv
from rllib.errors import ConfigError
from rllib.modules.actor_critic import ActorCriticModule
from rllib.modules.spec import MultiRLModuleSpec, RLModuleSpec

FILTERS = {"conv_filters": [[4, 3, 2]], "fcnet_hiddens": (4,)}
IMAGE, GREY, VECTOR = (gym.spaces.Box(0, 1, shape) for shape in ((6, 6, 1), (6, 6), (4,)))


@pytest.fixture(scope="module", autouse=True)
def inline():
    with core.init(address="inline"):
        yield


class Seen(gym.Env):
    def __init__(self, config):
        self.observation_space, self.action_space = config["space"], gym.spaces.Discrete(2)
        if config.get("continuous"):
            self.action_space = gym.spaces.Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, True, {}


class Two(MultiAgentEnv):
    def __init__(self, config):
        self.agents = self.possible_agents = ["eye", "ear"]
        self.observation_spaces = {"eye": config.get("eye", IMAGE), "ear": VECTOR}
        self.action_spaces = dict.fromkeys(self.agents, gym.spaces.Discrete(2))

    def reset(self, *, seed=None, options=None):
        return {agent: space.sample() for agent, space in self.observation_spaces.items()}, {}

    def step(self, actions):
        return *self.reset(), dict.fromkeys(actions, 0.0), {"__all__": True}, {}, {}


def config(space=IMAGE, algorithm=PPOConfig, model=FILTERS, **env_config):
    return (
        algorithm()
        .environment(Seen, env_config={"space": space} | env_config)
        .env_runners(num_env_runners=0)
        .rl_module(model_config=model)
    )


@pytest.mark.parametrize("algorithm", [PPOConfig, DQNConfig, SACConfig])
@pytest.mark.parametrize(
    "space", [VECTOR, GREY, gym.spaces.Discrete(3), gym.spaces.Dict(a=VECTOR)], ids=str
)
def test_filters_without_an_image_name_the_space_and_what_to_do(space, algorithm):
    settings = config(space, algorithm, continuous=algorithm is SACConfig)
    with pytest.raises(
        ConfigError, match=r"no image for convolutions.*Leave conv_filters"
    ) as error:
        settings.build_algo()
    assert str(space) in str(error.value)
    assert error.value.problems[0].key == "model_config.conv_filters"


@pytest.mark.parametrize(
    "space", [IMAGE, gym.spaces.Dict(a=VECTOR, b=gym.spaces.Tuple([IMAGE]))], ids=str
)
def test_one_image_anywhere_is_enough(space):
    with config(space).build_algo():
        pass
    with config(VECTOR, model={"conv_filters": None, "fcnet_hiddens": (4,)}).build_algo():
        pass


def test_an_image_that_is_flattened_is_told():
    with pytest.raises(ConfigError, match="encoder 'mlp' flattens; leave one of both out"):
        config(model=FILTERS | {"encoder": "mlp"}).build_algo()
    settings = config().env_runners(env_to_module_connector=lambda env: FlattenObservations())
    with pytest.raises(ConfigError, match=r"Box\(.*\(36,\).*leave out the connector"):
        settings.build_algo()


class Own(ActorCriticModule):
    """Uses its settings as it likes."""

    def setup(self):
        super().setup()


def test_a_module_of_ones_own_may_read_them_as_it_likes():
    spec = RLModuleSpec(module_class=Own)
    with config(VECTOR).rl_module(rl_module_spec=spec).build_algo():
        pass


def two(eye=IMAGE):
    return (
        config()
        .environment(Two, env_config={"eye": eye})
        .multi_agent(policies={"eye", "ear"}, policy_mapping_fn=lambda agent, episode, **_: agent)
    )


def test_of_several_modules_one_with_images_is_enough():
    with two().build_algo():
        pass
    with pytest.raises(ConfigError, match=r"module '(eye|ear)' sees Box\(.*no image"):
        two(eye=VECTOR).build_algo()


def test_filters_of_a_modules_own_are_for_its_own_images():
    specs = {"eye": RLModuleSpec(), "ear": RLModuleSpec(model_config={"conv_filters": [[2, 3, 1]]})}
    settings = two().rl_module(rl_module_spec=MultiRLModuleSpec(specs))
    with pytest.raises(ConfigError, match="module 'ear' sees"):
        settings.build_algo()
