"""One step schema for every vector backend and every autoreset mode of gymnasium.

    gymnasium vector env --(NEXT_STEP | SAME_STEP | DISABLED)--> VectorEnv.step() -> EnvStep

Each mode has its own class, which only translates; whoever reads an ``EnvStep`` never asks which
mode it came from. See https://farama.org/Vector-Autoreset-Mode for what the modes mean.

Legend: N environments.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from rllib.envs.faults import EnvFault, EnvSetupError, close_env, raise_fault
from rllib.envs.packing import pack, pack_one, packed_dtype

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
GymStep = tuple[Any, Any, Any, Any, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class EnvStep:
    """What one step of N environments returned. All arrays are the receiver's own.

    Attributes:
        obs: [N, ...] observation to act on next: of a new episode where the last one ended, except
            under NEXT_STEP, where it is still the ended episode's last and a reset row follows.
        reward: [N] float32; 0 on reset rows.
        terminated: [N] the episode ended by the environment's own rules; its value beyond is 0.
        truncated: [N] the episode was cut; its value beyond is that of ``final_obs``.
        is_reset_row: [N] no env step happened here: the action was ignored and the environment
            was reset.
        final_obs: [N, ...] true last observations, valid where an episode ended in this step;
            ``None`` if none did.
        raw_reward: [N] what the environment gave, where ``reward`` was changed on its way;
            ``None`` elsewhere.
    """

    obs: NDArray[Any]
    reward: Floats
    terminated: Bools
    truncated: Bools
    is_reset_row: Bools
    final_obs: NDArray[Any] | None
    raw_reward: Floats | None = None


class VectorEnv(ABC):
    """N environments behind the one step schema.

    Args:
        env: the gymnasium vector environment, owned from here on.
    """

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any]) -> None:
        self.env = env
        self.num_envs = env.num_envs
        self.observation_space = env.single_observation_space
        self.action_space = env.single_action_space
        self.num_steps = 0
        self._dtype, shape = packed_dtype(self.observation_space)
        self._obs_shape = (self.num_envs, *shape)
        self._closed = False

    def reset(self, seed: int) -> NDArray[Any]:
        """Begin a new episode everywhere, seeded; returns observations [N, ...].

        Raises:
            EnvFault: an environment raised.
        """
        try:
            raw, _ = self.env.reset(seed=seed)
            obs = self._packed(raw)
        except EnvFault:
            raise
        except Exception as error:
            raise_fault(error, "reset", None, None)
        self._on_reset()
        return self._of_batch_shape(obs)

    def step(self, actions: NDArray[Any]) -> EnvStep:
        """Step every environment once with ``actions`` [N, ...].

        Raises:
            EnvFault: an environment raised, or its worker process died.
        """
        self.num_steps += 1
        try:
            step = self._translate(self.env.step(actions))
        except EnvFault:
            raise
        except Exception as error:
            raise_fault(error, "step", None, self.num_steps)
        self._of_batch_shape(step.obs)
        return step

    def close(self) -> None:
        """Release the environments and their processes; may be called twice."""
        if not self._closed:
            self._closed = True
            close_env(self.env)

    def _of_batch_shape(self, obs: NDArray[Any]) -> NDArray[Any]:
        """The observations, unless a row of them would be stretched or cut to fit its place."""
        if obs.shape != self._obs_shape:
            raise EnvFault(
                f"{self.env} returned observations of shape {obs.shape} at vector step "
                f"{self.num_steps}; they should be of shape {self._obs_shape}, as its space says",
                step=self.num_steps,
                field="obs",
            )
        return obs

    @abstractmethod
    def _translate(self, raw: GymStep) -> EnvStep:
        """Bring one raw step into the schema."""

    def _on_reset(self) -> None:  # noqa: B027 (most modes keep no state)
        """Forget what was remembered of the episodes before a full reset."""

    def _packed(self, obs: Any) -> NDArray[Any]:
        """[N, ...] one array of our own: backends may reuse theirs for the next step."""
        return pack(self.observation_space, obs, self.num_envs)

    def _own(self, raw: GymStep) -> tuple[NDArray[Any], Floats, Bools, Bools]:
        """Copies of the arrays of a raw step."""
        obs, reward, terminated, truncated, _ = raw
        return (
            self._packed(obs),
            np.array(reward, dtype=np.float32),
            np.array(terminated, dtype=np.bool_),
            np.array(truncated, dtype=np.bool_),
        )

    def _no_reset_rows(self) -> Bools:
        return np.zeros(self.num_envs, dtype=np.bool_)


class NextStepEnv(VectorEnv):
    """NEXT_STEP: the step after an episode's end is the reset, and its action is ignored."""

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any]) -> None:
        super().__init__(env)
        self.resets_next = self._no_reset_rows()

    def _on_reset(self) -> None:
        self.resets_next = self._no_reset_rows()

    def _translate(self, raw: GymStep) -> EnvStep:
        obs, reward, terminated, truncated = self._own(raw)
        is_reset_row = self.resets_next
        if is_reset_row.any():  # backends differ in what they leave on these rows
            live = ~is_reset_row
            reward, terminated, truncated = reward * live, terminated & live, truncated & live
        self.resets_next = terminated | truncated
        final_obs = obs if self.resets_next.any() else None
        return EnvStep(obs, reward, terminated, truncated, is_reset_row, final_obs)


class SameStepEnv(VectorEnv):
    """SAME_STEP: the observation is a new episode's first; the ended one's last is in the info."""

    def _translate(self, raw: GymStep) -> EnvStep:
        obs, reward, terminated, truncated = self._own(raw)
        done = terminated | truncated
        final_obs = self._dense_final_obs(raw[4], done) if done.any() else None
        return EnvStep(obs, reward, terminated, truncated, self._no_reset_rows(), final_obs)

    def _dense_final_obs(self, info: dict[str, Any], done: Bools) -> NDArray[Any]:
        """[N, ...] true last observations, from one object per episode that ended."""
        if "final_obs" not in info:
            raise EnvSetupError(
                "the vector environment declares AutoresetMode.SAME_STEP, but its info has no "
                "'final_obs' for the episodes that ended; a truncated one could not be bootstrapped"
            )
        final_obs = np.zeros(self._obs_shape, self._dtype)
        for index in np.flatnonzero(done).tolist():
            final_obs[index] = pack_one(self.observation_space, self._final_of(info, index))
        return final_obs

    @staticmethod
    def _final_of(info: dict[str, Any], index: int) -> Any:
        """Gymnasium gives an object array, others dense ones, of a Dict one per key."""
        final = info["final_obs"]
        if isinstance(final, dict):
            return {key: part[index] for key, part in final.items() if not key.startswith("_")}
        return final[index]


class DisabledEnv(VectorEnv):
    """DISABLED: the environment never resets by itself; we reset by mask where an episode ended."""

    def _translate(self, raw: GymStep) -> EnvStep:
        obs, reward, terminated, truncated = self._own(raw)
        done = terminated | truncated
        final_obs = None
        if done.any():
            final_obs = obs
            fresh, _ = self.env.reset(options={"reset_mask": done.copy()})
            obs = obs.copy()
            obs[done] = self._packed(fresh)[done]
        return EnvStep(obs, reward, terminated, truncated, self._no_reset_rows(), final_obs)


def adapt(env: gym.vector.VectorEnv[Any, Any, Any]) -> VectorEnv:
    """Put a gymnasium vector environment behind the step schema, by the mode that it declares.

    Raises:
        EnvSetupError: it declares no autoreset mode, so its episode borders cannot be known.
    """
    mode = env.metadata.get("autoreset_mode")
    try:
        return _ADAPTERS[AutoresetMode(mode)](env)
    except ValueError:
        raise EnvSetupError(
            f"{env} declares no autoreset mode (metadata['autoreset_mode'] is {mode!r}); where its "
            "episodes end cannot be known. Set it to one of gymnasium.vector.AutoresetMode."
        ) from None


_ADAPTERS: dict[AutoresetMode, type[VectorEnv]] = {
    AutoresetMode.NEXT_STEP: NextStepEnv,
    AutoresetMode.SAME_STEP: SameStepEnv,
    AutoresetMode.DISABLED: DisabledEnv,
}
