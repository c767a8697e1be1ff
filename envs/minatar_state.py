"""MinAtar's games have their state in plain attributes, and a generator of numpy's old kind."""

from __future__ import annotations

from typing import Any

from rllib.envs.trees import StateTree, tree_of, value_like

_GENERATOR = "random"


class MinAtarState:
    """Tells and sets the state of a ``minatar.gym.BaseEnv``."""

    def __init__(self, env: Any) -> None:
        self._game = env.game

    def get_state(self) -> StateTree:
        """Of the game, of what is played in it, and of the generator that they share."""
        generator = getattr(self._game, _GENERATOR)
        return {
            "game": _attributes(self._game),
            "level": _attributes(self._game.env),
            _GENERATOR: tree_of(generator.get_state(legacy=False)),
        }

    def set_state(self, state: StateTree) -> None:
        """Go on from ``get_state``."""
        for thing, told in ((self._game, state["game"]), (self._game.env, state["level"])):
            for name, value in told.items():
                setattr(thing, name, value_like(getattr(thing, name, None), value))
            getattr(thing, _GENERATOR).set_state(value_like(None, state[_GENERATOR]))


def _attributes(thing: Any) -> StateTree:
    others = (_GENERATOR, "env")
    return {name: tree_of(value) for name, value in vars(thing).items() if name not in others}
