"""One step schema for every vector backend and every autoreset mode of gymnasium.

    gymnasium vector env --(NEXT_STEP | SAME_STEP | DISABLED)--> VectorEnv.step() -> EnvStep

Each mode has its own class, which only translates; whoever reads an ``EnvStep`` never asks which
mode it came from. See https://farama.org/Vector-Autoreset-Mode for what the modes mean.

Legend: N environments.
"""

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from rllib.envs.bounds import FIRST_STEPS, SAMPLED, Bounds, Outsider
from rllib.envs.faults import EnvFault, EnvSetupError, close_env, raise_fault
from rllib.envs.infos import FINAL_INFO, info_of
from rllib.envs.packing import MisfitError, Packer, row_of

RESTARTED = "rllib_restarted"
"""Key in the info of environments that failed in a step and were made anew."""

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
        failed: [N] reset rows of environments that failed and were made anew, so that the episode
            before has no end; ``None`` if none did.
    """

    obs: NDArray[Any]
    reward: Floats
    terminated: Bools
    truncated: Bools
    is_reset_row: Bools
    final_obs: NDArray[Any] | None
    raw_reward: Floats | None = None
    failed: Bools | None = None


class VectorEnv(ABC):
    """N environments behind the one step schema.

    Args:
        env: the gymnasium vector environment, owned from here on.
        is_checked: whether observations are to be members of their space.

    Attributes:
        backend: what steps them, as ``rllib.envs.make.choose_backend`` calls it.
        bounds: between which observations have to lie.
        infos: what the environments said with the last step or reset, as gymnasium has it.

    Raises:
        EnvSetupError: its observations cannot be packed into one array.
    """

    backend: str = "given"

    def __init__(
        self, env: gym.vector.VectorEnv[Any, Any, Any], *, is_checked: bool = True
    ) -> None:
        self.env = env
        self.num_envs = env.num_envs
        self.observation_space = env.single_observation_space
        self.action_space = env.single_action_space
        self.num_steps = 0
        self.packer = Packer(self.observation_space)
        self.bounds = Bounds(self.packer.leaves, is_checked)
        self._is_checked = is_checked
        self._last_first_step = FIRST_STEPS
        self._closed = False
        self.infos: dict[str, Any] = {}

    @property
    def single_observation_space(self) -> gym.Space[Any]:
        """Gymnasium's name for the space of one environment."""
        return self.observation_space

    @property
    def single_action_space(self) -> gym.Space[Any]:
        """Gymnasium's name for the space of one environment."""
        return self.action_space

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of every environment, or get an attribute; see gymnasium."""
        return self._of_single_envs("call")(name, *args, **kwargs)

    def get_attr(self, name: str) -> Any:
        """An attribute of every environment; see gymnasium."""
        return self._of_single_envs("get_attr")(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute of every environment; see gymnasium."""
        self._of_single_envs("set_attr")(name, values)

    def _of_single_envs(self, method: str) -> Any:
        found = getattr(self.env, method, None)
        if found is None:
            raise AttributeError(
                f"{self.env} steps all environments as one, so that there is no single one to "
                f"{method}; gym_env_vectorize_mode 'sync' or 'async' has them"
            )
        return found

    def info_of(self, index: int, *, is_last: bool = False) -> dict[str, Any]:
        """What an environment said with its last step or reset.

        Args:
            index: of the environment.
            is_last: whether the info is wanted that came with an episode's end, rather than that of
                the next one's beginning, where both came with the same step.
        """
        return info_of(self.infos, index)

    @property
    def unwrapped(self) -> gym.vector.VectorEnv[Any, Any, Any]:
        """The gymnasium vector environment without its wrappers."""
        return self.env.unwrapped

    def reset(self, seed: int) -> NDArray[Any]:
        """Begin a new episode everywhere, seeded; returns observations [N, ...].

        Raises:
            EnvFault: an environment raised, or its observation is outside of its space.
        """
        try:
            raw, self.infos = self.env.reset(seed=seed)
            obs = self._packed(raw)
        except Exception as error:
            self._raise_named(error, "reset")
        self._on_reset()
        self._last_first_step = self.num_steps + FIRST_STEPS
        self._look_at_floats(obs)
        return obs

    def step(self, actions: Any) -> EnvStep:
        """Step every environment once.

        Args:
            actions: array [N, ...]; of a Dict or Tuple space a dict or tuple of those, as
                ``gymnasium.vector.utils.batch_space`` has it.

        Raises:
            EnvFault: an environment raised, its worker process died, or its observation or action
                is outside of its space.
        """
        self.num_steps += 1
        is_first = self.num_steps <= self._last_first_step
        try:
            if is_first:
                self._look_at_actions(actions)
            raw = self.env.step(actions)
            self.infos = raw[4]
            step = self._translate(raw)
            if RESTARTED in raw[4]:
                step = _with_failed(step, np.asarray(raw[4][RESTARTED], np.bool_))
        except Exception as error:
            self._look_at_actions(actions)  # one that there is not may be the reason
            self._raise_named(error, "step")
        if is_first or self.num_steps % SAMPLED == 0:
            self._look_at_floats(step.obs)
        return step

    def close(self) -> None:
        """Release the environments and their processes; may be called twice."""
        if not self._closed:
            self._closed = True
            close_env(self.env)

    def _raise_named(self, error: Exception, operation: str) -> NoReturn:
        """Say where ``error`` came from, unless it does itself."""
        if isinstance(error, EnvFault):
            raise error
        if isinstance(error, MisfitError):
            text = (
                f"{self.env} returned at vector step {self.num_steps} observations that do not fit"
            )
            raise EnvFault(f"{text}: {error}", step=self.num_steps, field=error.field)
        raise_fault(error, operation, None, self.num_steps if operation == "step" else None)

    def _look_at_floats(self, obs: NDArray[Any]) -> None:
        """Numbers outside of a Box are refused at first, and told once later: see ``bounds``."""
        if self.num_steps <= self._last_first_step:
            if outsider := self.bounds.first_float_outside(obs):
                self._refuse_outsider(outsider)
            return
        for outsider in self.bounds.new_floats_outside(obs):
            text = f"{self._told(outsider)}. It is trained on as it is, and not told of again."
            warnings.warn(text, RuntimeWarning, stacklevel=3)

    def _look_at_actions(self, actions: Any) -> None:
        """Refuse choices that there are not: they come from a module's or connector's own code."""
        packer, bounds = self._actions
        try:
            packed = packer.pack(actions, self.num_envs)
        except MisfitError:
            return  # what it is worth is for the environment to say
        if outsider := bounds.first_choice_outside(packed):
            raise EnvFault(
                f"environment {outsider.row} was given {outsider.told('action')} at vector step "
                f"{self.num_steps}, outside of its bounds [{outsider.low}, {outsider.high}]; what "
                "modules and connectors give has to be a member of the action_space",
                env_index=outsider.row,
                step=self.num_steps,
                field=outsider.leaf.path("action"),
                value=outsider.value,
            )

    @cached_property
    def _actions(self) -> tuple[Packer, Bounds]:
        packer = Packer(self.action_space)
        return packer, Bounds(packer.leaves, self._is_checked)

    def _refuse_outsider(self, outsider: Outsider, root: str = "obs") -> NoReturn:
        raise EnvFault(
            self._told(outsider, root),
            env_index=outsider.row,
            step=self.num_steps,
            field=outsider.leaf.path(root),
            value=outsider.value,
        )

    def _told(self, outsider: Outsider, root: str = "obs") -> str:
        return (
            f"environment {outsider.row} returned {outsider.told(root)} at vector step "
            f"{self.num_steps}, outside of {outsider.bounds}"
        )

    @abstractmethod
    def _translate(self, raw: GymStep) -> EnvStep:
        """Bring one raw step into the schema."""

    def _on_reset(self) -> None:  # noqa: B027 (most modes keep no state)
        """Forget what was remembered of the episodes before a full reset."""

    def _packed(self, obs: Any) -> NDArray[Any]:
        """[N, ...] one array of our own: backends may reuse theirs for the next step."""
        packed = self.packer.pack(obs, self.num_envs)
        if outsider := self.bounds.first_choice_outside(packed):
            self._refuse_outsider(outsider)
        return packed

    def _own(self, raw: GymStep) -> tuple[NDArray[Any], Floats, Bools, Bools]:
        """Copies of the arrays of a raw step."""
        obs, reward, terminated, truncated, _ = raw
        return (
            self._packed(obs),
            np.array(reward, np.float32),
            np.array(terminated, np.bool_),
            np.array(truncated, np.bool_),
        )

    def _no_reset_rows(self) -> Bools:
        return np.zeros(self.num_envs, dtype=np.bool_)


def _with_failed(step: EnvStep, failed: Bools) -> EnvStep:
    return replace(step, is_reset_row=step.is_reset_row | failed, failed=failed)


class NextStepEnv(VectorEnv):
    """NEXT_STEP: the step after an episode's end is the reset, and its action is ignored."""

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any], **checks: bool) -> None:
        super().__init__(env, **checks)
        self.resets_next = self._no_reset_rows()

    def _on_reset(self) -> None:
        self.resets_next = self._no_reset_rows()

    def _translate(self, raw: GymStep) -> EnvStep:
        obs, reward, terminated, truncated = self._own(raw)
        is_reset_row = self.resets_next
        if np.count_nonzero(is_reset_row):  # backends differ in what they leave on these rows
            live = ~is_reset_row
            reward, terminated, truncated = reward * live, terminated & live, truncated & live
        self.resets_next = terminated | truncated
        final_obs = obs if np.count_nonzero(self.resets_next) else None
        return EnvStep(obs, reward, terminated, truncated, is_reset_row, final_obs)


class SameStepEnv(VectorEnv):
    """SAME_STEP: the observation is a new episode's first; the ended one's last is in the info."""

    def info_of(self, index: int, *, is_last: bool = False) -> dict[str, Any]:
        """The ended episode's info lies within the next one's."""
        return info_of(self.infos.get(FINAL_INFO, {}) if is_last else self.infos, index)

    def _translate(self, raw: GymStep) -> EnvStep:
        obs, reward, terminated, truncated = self._own(raw)
        done = terminated | truncated
        final_obs = self._dense_final_obs(raw[4], done) if np.count_nonzero(done) else None
        return EnvStep(obs, reward, terminated, truncated, self._no_reset_rows(), final_obs)

    def _dense_final_obs(self, info: dict[str, Any], done: Bools) -> NDArray[Any]:
        """[N, ...] true last observations, from one per episode that ended."""
        if "final_obs" not in info:
            raise EnvSetupError(
                "the vector environment declares AutoresetMode.SAME_STEP, but its info has no "
                "'final_obs' for the episodes that ended; a truncated one could not be bootstrapped"
            )
        final_obs = np.zeros((self.num_envs, *self.packer.shape), self.packer.dtype)
        for index in np.flatnonzero(done).tolist():
            # Gymnasium gives an object array; others a batch like any other.
            final_obs[index] = self.packer.pack_one(row_of(info["final_obs"], index))
        if outsider := self.bounds.first_choice_outside(final_obs[done]):
            index = int(np.flatnonzero(done)[outsider.row])
            self._refuse_outsider(outsider._replace(row=index), "final obs")
        return final_obs


class DisabledEnv(VectorEnv):
    """DISABLED: the environment never resets by itself; we reset by mask where an episode ended."""

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any], **checks: bool) -> None:
        super().__init__(env, **checks)
        self._begun, self._first_infos = self._no_reset_rows(), dict[str, Any]()

    def info_of(self, index: int, *, is_last: bool = False) -> dict[str, Any]:
        """Where a new episode has begun, that of the reset, unless the last one's is wanted."""
        is_first = self._begun[index] and not is_last
        return info_of(self._first_infos if is_first else self.infos, index)

    def _translate(self, raw: GymStep) -> EnvStep:
        obs, reward, terminated, truncated = self._own(raw)
        self._begun = done = terminated | truncated
        final_obs = None
        if np.count_nonzero(done):
            final_obs = obs
            fresh, self._first_infos = self.env.reset(options={"reset_mask": done.copy()})
            obs = obs.copy()
            obs[done] = self._packed(fresh)[done]
        return EnvStep(obs, reward, terminated, truncated, self._no_reset_rows(), final_obs)


def adapt(env: gym.vector.VectorEnv[Any, Any, Any], *, is_checked: bool = True) -> VectorEnv:
    """Put a gymnasium vector environment behind the step schema, by the mode that it declares.

    Args:
        env: owned from here on.
        is_checked: whether observations are to be members of their space.

    Raises:
        EnvSetupError: it declares no autoreset mode, so its episode borders cannot be known; or
            its observations have no fixed shape.
    """
    mode = env.metadata.get("autoreset_mode")
    try:
        adapter = _ADAPTERS[AutoresetMode(mode)]
    except ValueError:
        raise EnvSetupError(
            f"{env} declares no autoreset mode (metadata['autoreset_mode'] is {mode!r}); where its "
            "episodes end cannot be known. Set it to one of gymnasium.vector.AutoresetMode."
        ) from None
    return adapter(env, is_checked=is_checked)


_ADAPTERS: dict[AutoresetMode, type[VectorEnv]] = {
    AutoresetMode.NEXT_STEP: NextStepEnv,
    AutoresetMode.SAME_STEP: SameStepEnv,
    AutoresetMode.DISABLED: DisabledEnv,
}
