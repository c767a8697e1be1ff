"""Constructors in RLlib's shape get the config whole, those in gymnasium's by keyword."""

import functools

import gymnasium as gym
import pytest

from rllib.envs.make import make_single_env
from rllib.envs.makers import make_from, takes_keywords


class ByKeyword:
    def __init__(self, length=5, render_mode=None):
        self.length = length


class OnlyRender:
    def __init__(self, render_mode=None):
        pass


class Nothing:
    pass


class Whole:
    def __init__(self, config=None):
        pass


class Named:
    def __init__(self, my_env_cfg=7):
        pass


@pytest.mark.parametrize(
    ("maker", "by_keyword"),
    [
        (ByKeyword, True),
        (OnlyRender, True),
        (Nothing, True),
        (lambda: None, True),
        (lambda **settings: settings, True),
        (lambda *, size=3: size, True),
        (functools.partial(ByKeyword, render_mode="human"), True),
        (Whole, False),
        (Named, False),
        (lambda _: None, False),
        (lambda options=None: options, False),
        (lambda given={}: given, False),
        (dict, False),
    ],
)
def test_the_parameters_decide(maker, by_keyword):
    assert takes_keywords(maker) == by_keyword


def test_settings_arrive():
    assert make_from(ByKeyword, {"length": 3}).length == 3
    assert make_from(lambda config: config, {"length": 3}) == {"length": 3}


def test_an_environment_without_arguments_is_made():
    class Env(gym.Env):
        pass

    assert isinstance(make_single_env(Env, {}), Env)
