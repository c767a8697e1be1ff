"""One learner per module, called as if they were one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rllib.checkpoints.components import OF_LEARNER, Paths, at, chosen_modules
from rllib.config import AlgorithmConfig
from rllib.errors import ConfigError, Problem, TrainingError
from rllib.learning.bystander import Bystander, learner_for
from rllib.learning.devices import learner_device, meeting_device
from rllib.learning.learner import Learner, Metrics, check_ids
from rllib.learning.peers import Alone, Members, Peers
from rllib.learning.shares import Share, take
from rllib.modules.multi_rl_module import MultiRLModule
from rllib.multi_agent.env_runner import MultiAgentBatch
from rllib.multi_agent.modules import ModuleSpaces, module_config


class MultiLearner:
    """The algorithm's learner once for each module; modules that are not to be trained only act.

    Args:
        config: the algorithm's configuration.
        spaces: what each module sees, by module id.
    """

    def __init__(self, config: AlgorithmConfig, spaces: ModuleSpaces) -> None:
        self.config = config
        self.group: Peers = Alone()
        learner_class: Any = config.learner_class or config.algo_class.learner_class
        self.learners: dict[str, Learner[Any]] = {}
        for module_id, each in sorted(spaces.items()):
            own = module_config(config, module_id)
            with _named(module_id):
                self.learners[module_id] = learner_for(own, each, learner_class)(own, each)

    @property
    def module(self) -> MultiRLModule:
        """The modules that are trained, by id; what is done to them here is done to them."""
        return MultiRLModule({name: each.module for name, each in self.learners.items()})

    def join_members(self, rank: int, size: int, name: str, timeout_s: float) -> None:
        """Become one of several; see ``Learner.join_members``. All modules share the group."""
        self.group.leave()
        device = meeting_device(self.config, learner_device(self.config))
        self.group = Members(rank, size, name, device, timeout_s)
        for learner in self.learners.values():
            learner.join(self.group)

    def update(
        self, *batches: MultiAgentBatch, timestep: int = 0, shares: Sequence[Share] = ()
    ) -> dict[str, Metrics]:
        """Learn from fragments; metrics by module id.

        Raises:
            TrainingError: a loss or gradient of a module is not finite.
            CollectiveError: another learner died or failed.
        """
        if shares:
            batches = tuple(map(take, batches, shares))
        updates = {}
        for module_id, learner in self.learners.items():
            own = [batch[module_id] for batch in batches if module_id in batch]
            own = [batch for batch in own if batch.num_env_steps]
            if self._is_to_learn(module_id, own):
                updates[module_id] = _update(module_id, learner, own, timestep)
        return updates

    def _is_to_learn(self, module_id: str, batches: Sequence[Any]) -> bool:
        """Whether all learners have steps of the module: an update is made by all or by none."""
        if isinstance(self.learners[module_id], Bystander):
            return False
        wanted = bool(batches) and self.config.is_policy_to_train(module_id, batches)
        return self.group.total(int(wanted)) == self.group.size

    def get_weights(self) -> dict[str, Any]:
        """Copies of the weights that acting needs, by module id."""
        return {name: learner.get_weights() for name, learner in self.learners.items()}

    def get_module_state(self) -> dict[str, Any]:
        """Copies of all weights, by module id and name."""
        return {name: learner.get_module_state() for name, learner in self.learners.items()}

    def set_module_weights(self, weights: Mapping[str, Mapping[str, Any]]) -> None:
        """Take over weights by module id; those that are not named stay as they are.

        Raises:
            ConfigError: there is no module of an id.
            CheckpointError: they are those of another network.
        """
        check_ids(weights, list(self.learners))
        for module_id, each in weights.items():
            self.learners[module_id].module.set_state(each)

    def apply(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call ``function(self, *args)`` where the learners live; returns what it returns."""
        return function(self, *args)

    def get_streams(self) -> dict[str, Any]:
        """State tree of the random streams, by module id."""
        return {name: learner.get_streams() for name, learner in self.learners.items()}

    def weights_of(self, module_ids: Sequence[str], *, inference_only: bool) -> dict[str, Any]:
        """Copies of weights by module id."""
        return self.module.get_state(module_ids, inference_only=inference_only)

    def get_state(
        self,
        components: Paths = None,
        *,
        not_components: Paths = None,
        inference_only: bool = False,
    ) -> dict[str, Any]:
        """State tree: of each module, and this learner's random streams by rank.

        Its arguments, and errors, are those of ``Learner.get_state``.
        """
        call, ids = "MultiLearner.get_state", list(self.learners)
        part = chosen_modules(call, OF_LEARNER, ids, components, not_components, inference_only)
        if part is not None:
            return at(OF_LEARNER, self.weights_of(part, inference_only=inference_only))
        return {
            "modules": {name: learner.get_state() for name, learner in self.learners.items()},
            "streams": {str(self.group.rank): self.get_streams()},
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``.

        Raises:
            CheckpointError: the weights are those of other networks.
        """
        for module_id, learner in self.learners.items():
            streams = {rank: each[module_id] for rank, each in state["streams"].items()}
            learner.set_state({**state["modules"][module_id], "streams": streams})


@contextmanager
def _named(module_id: str) -> Iterator[None]:
    """Mistakes in what one module is made of, with its name."""
    try:
        yield
    except ConfigError as error:
        problems = [Problem(f"module {module_id!r}: {p.text}", p.key) for p in error.problems]
        raise ConfigError(problems) from error


def _update(module_id: str, learner: Learner[Any], own: Sequence[Any], timestep: int) -> Metrics:
    try:
        return learner.update(*own, timestep=timestep)
    except TrainingError as error:
        raise TrainingError(f"module {module_id!r}: {error}") from error
