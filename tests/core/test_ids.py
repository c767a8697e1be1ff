"""Identifiers, and what the package says of names that it does not have."""

import pickle

import pytest

from rllib import core


def test_ids_are_values() -> None:
    made = core.ActorID.from_random()
    assert core.ActorID.from_hex(made.hex()) == made
    assert pickle.loads(pickle.dumps(made)) == made
    assert len({made, core.ActorID(made.binary())}) == 1
    assert made != core.WorkerID(made.binary())
    assert made.size() == len(made.binary()) == 16
    assert core.TaskID.nil().is_nil()
    assert not made.is_nil()
    with pytest.raises(ValueError, match="JobID has 4 bytes, got 3"):
        core.JobID(b"abc")


def test_names_that_only_ray_has_say_so() -> None:
    with pytest.raises(AttributeError, match=r"core.Language is not supported: .*Python"):
        core.Language  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        core.nonsense  # noqa: B018


def test_an_actors_id_is_what_its_context_tells() -> None:
    @core.remote
    class Actor:
        def own_id(self) -> str | None:
            return core.get_runtime_context().get_actor_id()

    with core.init(address="inline"):
        actor = Actor.remote()
        assert core.get(actor.own_id.remote()) == actor._actor_id.hex()
