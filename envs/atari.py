"""Atari games as everybody trains on them, whatever the backend (Machado et al. 2018, 1709.06009).

An id ``ALE/Pong-v5`` stands for the preprocessed game: four grey frames of 84 x 84 pixels, each the
maximum of two, one action for four frames, of which every fourth is the one before ("sticky"). ALE
does all of that in C++ for many games at once; a single game is a vector of one.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from rllib.envs.extras import ATARI

SETTINGS: dict[str, Any] = {
    "repeat_action_probability": 0.25,
    "full_action_space": False,
    "frameskip": 4,
    "maxpool": True,
    "stack_num": 4,
    "img_height": 84,
    "img_width": 84,
    "grayscale": True,
    "noop_max": 30,
    "use_fire_reset": True,
    "max_num_frames_per_episode": 108_000,
    "reward_clipping": False,
    "episodic_life": False,
    "life_loss_info": False,
}
"""What ``env_config`` may change. Returns are the game's scores, since rewards are clipped by the
setting ``clip_rewards``; a life that is lost ends no episode."""

Obs = NDArray[np.uint8]


def is_atari(env: object) -> bool:
    """Whether it is the id of a game of the Arcade Learning Environment."""
    return isinstance(env, str) and env.startswith("ALE/")


def make_atari_vector(
    game: str, num_envs: int, config: dict[str, Any], autoreset_mode: AutoresetMode
) -> gym.vector.VectorEnv[Any, Any, Any]:
    """ALE's own vector environment.

    Args:
        game: name of the ROM, ``space_invaders``.
        num_envs: games.
        config: arguments of ``ale_py.vector_env.AtariVectorEnv``, over ``SETTINGS``.
        autoreset_mode: NEXT_STEP or SAME_STEP.

    Raises:
        EnvSetupError: ale-py is not installed.
    """
    base = ATARI.load("an Atari game").AtariVectorEnv
    # ALE writes its mode into a dict that all vector environments of gymnasium share.
    own = type(base.__name__, (base,), {"metadata": dict(base.metadata)})
    vector: gym.vector.VectorEnv[Any, Any, Any] = own(
        game, num_envs, autoreset_mode=autoreset_mode, **SETTINGS | config
    )
    return vector


class AtariEnv(gym.Env[Obs, np.int64]):
    """One preprocessed game.

    Args:
        game: name of the ROM.
        config: as of ``make_atari_vector``.
    """

    def __init__(self, game: str, config: dict[str, Any]) -> None:
        self._vector = make_atari_vector(
            game, 1, {"num_threads": 1} | config, AutoresetMode.NEXT_STEP
        )
        self.observation_space = self._vector.single_observation_space
        self.action_space = self._vector.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Obs, dict[str, Any]]:
        """Begin a new episode: observation [stack_num, img_height, img_width]."""
        super().reset(seed=seed)
        obs, info = self._vector.reset(seed=seed)
        return obs[0].copy(), _first(info)

    def step(self, action: np.int64) -> tuple[Obs, float, bool, bool, dict[str, Any]]:
        """Play ``frameskip`` frames."""
        obs, reward, terminated, truncated, info = self._vector.step(np.asarray(action)[None])
        flags = bool(terminated[0]), bool(truncated[0])
        return obs[0].copy(), float(reward[0]), *flags, _first(info)

    def close(self) -> None:
        """End the emulator."""
        self._vector.close()


def _first(info: dict[str, Any]) -> dict[str, Any]:
    return {key: values[0] for key, values in info.items()}
