"""Strategies of spaces, and members of them."""

import gymnasium as gym
import numpy as np
from hypothesis import strategies as st

SHAPES = st.lists(st.integers(1, 3), max_size=2).map(tuple)


@st.composite
def boxes(draw):
    dtype = draw(st.sampled_from([np.float32, np.float64, np.uint8, np.int16]))
    return gym.spaces.Box(0, 9, draw(SHAPES), dtype)


LEAVES = st.one_of(
    boxes(),
    st.builds(gym.spaces.Discrete, st.integers(1, 5), start=st.integers(-2, 2)),
    st.builds(gym.spaces.MultiDiscrete, st.lists(st.integers(1, 4), min_size=1, max_size=3)),
    st.builds(gym.spaces.MultiBinary, st.sampled_from([1, 3, (2, 2)])),
)
COMPOSITES = st.recursive(
    LEAVES,
    lambda parts: st.one_of(
        st.dictionaries(st.sampled_from("abc"), parts, min_size=1).map(gym.spaces.Dict),
        st.lists(parts, min_size=1, max_size=3).map(gym.spaces.Tuple),
    ),
    max_leaves=5,
)


def samples(space, num):
    space.seed(0)
    return [space.sample() for _ in range(num)]
