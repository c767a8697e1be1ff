"""How to make a lost value again: by running the task that made it once more.

A value is lost when the file that it was spilled to is gone or damaged, or the node that kept it
(see `outlying`). The owner keeps a *recipe* of each task whose results lie in shared memory, on
disk or on another node, as long as one of them is referred to, or a result that was made of them::

    a = f.remote()      recipe of a: f
    b = g.remote(a)     recipe of b: g, of a, whose recipe is f
    del a               the value goes; should b be lost, f runs again and then g

A recipe keeps the values of small arguments, which have no recipes, but not those of large ones. So
a large one that was `put` must still be referred to when the value is lost; and where a large
argument was passed by value, there is no recipe. Recipes are bounded in size, in which a value that
many of them keep counts once; beyond it the oldest are dropped.
"""

from __future__ import annotations

import weakref
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rllib.core.exceptions import ObjectLostError, ObjectReconstructionFailedError
from rllib.core.native.leases import Task
from rllib.core.native.objects import NativeRef, Stored
from rllib.core.native.spillfiles import FileLostError, FileRegion

MAX_LINEAGE_BYTES = 64 * 2**20
_RECIPE_BYTES = 1000
"""What a recipe takes besides the arguments in it."""


@dataclass(slots=True)
class Argument:
    """A reference among a task's arguments: its value if that is small, or else how it was made, if
    that is known."""

    ref: weakref.ref[NativeRef]
    made_by: Recipe | None
    index: int
    value: Stored | None


class Recipe:
    """A task that can be run again, without its references.

    Attributes:
        size: bytes it takes, without the values of arguments.
        values: bytes of those that it keeps, by which object that is; others may keep it as well.
    """

    __slots__ = ("__weakref__", "arguments", "returns", "size", "task", "values")

    def __init__(self, task: Task, arguments: list[Argument]) -> None:
        body, buffers = task.args.body, task.args.buffers
        self.arguments = arguments
        self.returns = len(task.refs)
        kept = [each.value for each in arguments if each.value is not None]
        self.values = {id(value): value.size for value in kept}
        self.size = _RECIPE_BYTES + len(body) + sum(map(len, buffers))
        self.task: Task | None = task.again([], Stored(body, buffers, []))

    def drop(self) -> None:
        """Forget how it was done."""
        self.task = None
        self.arguments = []

    def again(self, refs: Sequence[NativeRef], arguments: list[NativeRef]) -> Task:
        """The task, to be run once more; which leaves one retry less for the next time."""
        assert self.task is not None
        self.task.retries -= self.task.retries > 0
        args = self.task.args
        return self.task.again(refs, Stored(args.body, args.buffers, list(arguments)))


class Recipes:
    """Recipes of values that are referred to, and of what those were made of; oldest first."""

    def __init__(self, me: bytes, limit: int) -> None:
        self._me = me
        self._limit = limit
        self._bytes = 0
        self._made: dict[int, tuple[Recipe, int]] = {}
        self._watched: dict[int, weakref.ref[NativeRef]] = {}
        self._all: OrderedDict[int, tuple[weakref.ref[Recipe], int, dict[int, int]]] = OrderedDict()
        self._keepers: Counter[int] = Counter()
        self._gone: deque[int] = deque()
        """Of recipes that nobody needs any more, which any thread may notice at any time."""

    def add(self, recipe: Recipe, refs: Sequence[NativeRef]) -> None:
        """``recipe`` has made the values of ``refs``."""
        for index, ref in enumerate(refs):
            self._made[ref._number] = (recipe, index)
            self._watched[ref._number] = weakref.ref(ref, self._forgetter(ref._number))
        self._settle()
        key = id(recipe)
        gone = weakref.ref(recipe, lambda _: self._gone.append(key))
        self._all[key] = (gone, recipe.size, recipe.values)
        self._bytes += recipe.size + self._keep(recipe.values)
        while self._bytes > self._limit:
            self._drop_oldest()

    @property
    def bytes(self) -> int:
        """What all of them take."""
        self._settle()
        return self._bytes

    def _settle(self) -> None:
        """Release those that are gone."""
        while self._gone:
            self._release(self._gone.popleft())

    def _forgetter(self, number: int) -> Callable[[Any], None]:
        def forget(_ref: Any) -> None:
            self._watched.pop(number, None)
            self._made.pop(number, None)

        return forget

    def _release(self, key: int) -> None:
        found = self._all.pop(key, None)
        if found is not None:
            _, size, values = found
            self._bytes -= size + self._let_go(values)

    def _keep(self, values: dict[int, int]) -> int:
        """Bytes of those that no other recipe keeps."""
        added = sum(size for value, size in values.items() if not self._keepers[value])
        self._keepers.update(values.keys())
        return added

    def _let_go(self, values: dict[int, int]) -> int:
        """Bytes of those that no recipe keeps any more."""
        self._keepers.subtract(values.keys())
        unkept = [value for value in values if not self._keepers[value]]
        for value in unkept:
            del self._keepers[value]
        return sum(values[value] for value in unkept)

    def _drop_oldest(self) -> None:
        key, (recipe, *_) = next(iter(self._all.items()))
        self._release(key)
        dropped = recipe()
        if dropped is not None:
            dropped.drop()

    def find(self, ref: NativeRef) -> tuple[Recipe | None, int]:
        """The recipe of an own object, and which of its results that is."""
        own = ref._owner == self._me
        return self._made.get(ref._number, (None, 0)) if own else (None, 0)

    def __len__(self) -> int:
        self._settle()
        return len(self._all)


class Lineage:
    """Keeps recipes and uses them. Runs under the runtime's lock."""

    def __init__(
        self,
        me: bytes,
        new_ref: Callable[[], NativeRef],
        submit: Callable[[Task, Sequence[NativeRef]], None],
        limit: int = MAX_LINEAGE_BYTES,
    ) -> None:
        self._new_ref = new_ref
        self._submit = submit
        self.recipes = Recipes(me, limit)

    def keep(self, task: Task) -> None:
        """A task has answered: remember how its results were made, should they ever be lost."""
        if (
            task.retries == 0
            or task.args.region is not None
            or not any(map(_may_be_lost, task.refs))
        ):
            return
        self.recipes.add(Recipe(task, [*map(self._argument, task.args.refs)]), task.refs)

    def _argument(self, ref: NativeRef) -> Argument:
        return Argument(weakref.ref(ref), *self.recipes.find(ref), _small_value(ref))

    def can_recover(self, ref: NativeRef) -> bool:
        """Whether the value of an own object could be made again."""
        return not _obstacle(self.recipes.find(ref)[0])

    def recover(self, ref: NativeRef) -> None:
        """Have the lost value of an own object made again; or give ``ref`` the reason why not."""
        recipe, index = self.recipes.find(ref)
        reason = _obstacle(recipe)
        if recipe is None:
            ref.resolve(ObjectLostError(f"the value of {ref!r} was lost, and {reason}"))
        elif reason:
            ref.resolve(_failed(ref, reason))
        else:
            ref.outcome = None
            self._run_again(recipe, {index: ref})

    def _run_again(self, recipe: Recipe, wanted: dict[int, NativeRef]) -> None:
        """Run a task again, after those that make what it needs and what is gone."""
        agenda = [(recipe, wanted)]
        while agenda:
            recipe, wanted = agenda.pop()
            arguments, missing = [], []
            for argument in recipe.arguments:
                ref = argument.ref()
                if ref is None:
                    ref = self._new_ref()
                    missing.append(ref)
                    agenda += self._make(ref, argument)
                arguments.append(ref)
            refs = [wanted.get(k) or self._new_ref() for k in range(recipe.returns)]
            self._submit(recipe.again(refs, arguments), missing)

    def _make(
        self, ref: NativeRef, argument: Argument
    ) -> list[tuple[Recipe, dict[int, NativeRef]]]:
        """Give ``ref`` the value of an argument that nobody refers to any more, or the reason why
        not; or tell by which recipe it is made again, and which of its results it is."""
        recipe = argument.made_by
        if argument.value is not None:
            ref.resolve(argument.value)
        elif recipe is None or _obstacle(recipe):
            ref.resolve(_failed(ref, f"one of its arguments is gone, and {_obstacle(recipe)}"))
        else:
            return [(recipe, {argument.index: ref})]
        return []


def is_lost(outcome: Any) -> bool:
    """Whether a value's file is not there any more."""
    if not isinstance(outcome, Stored) or not isinstance(outcome.region, FileRegion):
        return False
    try:
        outcome.region.parts(None)
    except FileLostError:
        return True
    return False


def _may_be_lost(ref: NativeRef) -> bool:
    return ref.is_away or (isinstance(ref.outcome, Stored) and ref.outcome.region is not None)


def _small_value(ref: NativeRef) -> Stored | None:
    """The value, where it is part of messages; none that would keep other values alive."""
    value = ref.outcome
    if isinstance(value, Stored) and value.region is None and not value.refs:
        return value
    return None


def _obstacle(recipe: Recipe | None) -> str:
    """Why a recipe cannot be followed; empty if it can."""
    if recipe is None:
        return (
            "it cannot be made again: that is possible for results of tasks with max_retries other "
            "than 0 and without large arguments by value; not for what was put, or what actors "
            "or generators have made"
        )
    if recipe.task is None:
        return "how it was made is forgotten: there were too many newer results to remember"
    return "its task was run as often as max_retries allows" if recipe.task.retries == 0 else ""


def _failed(ref: NativeRef, reason: str) -> ObjectReconstructionFailedError:
    return ObjectReconstructionFailedError(f"the value of {ref!r} was lost, and {reason}")
