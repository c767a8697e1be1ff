"""`RuntimeContext`: who and where the calling code is, under Ray's names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rllib.core import api

if TYPE_CHECKING:
    from rllib.core.remote import ActorHandle


class RuntimeContext:
    """See `get_runtime_context`. Every method looks anew. Ids are hexadecimal text."""

    def get_job_id(self) -> str:
        """The runtime that the driver started."""
        return api.runtime().where().job_id

    def get_node_id(self) -> str:
        """The machine."""
        return api.runtime().where().node_id

    def get_worker_id(self) -> str:
        """The process."""
        return api.runtime().where().worker_id

    def get_task_id(self) -> str | None:
        """The call that runs; ``None`` in the driver."""
        return api.runtime().where().task_id

    def get_task_name(self) -> str | None:
        """Its ``name`` option, or what it calls."""
        return api.runtime().where().task_name

    def get_task_function_name(self) -> str | None:
        """The function or method that it calls."""
        return api.runtime().where().function_name

    def get_actor_id(self) -> str | None:
        """The actor; ``None`` outside of one."""
        return api.runtime().where().actor_id

    def get_actor_name(self) -> str | None:
        """The actor's name, empty for an anonymous one; ``None`` outside of one."""
        return api.runtime().where().actor_name

    def get_placement_group_id(self) -> str | None:
        """The placement group that the task or actor runs in."""
        return api.runtime().where().placement_group_id

    def get_assigned_resources(self) -> dict[str, float]:
        """What the task or actor holds."""
        return dict(api.runtime().where().resources)

    def get_accelerator_ids(self) -> dict[str, list[str]]:
        """Numbers of the devices that it may use, by kind."""
        return {"GPU": list(api.runtime().where().gpus)}

    def get_node_labels(self) -> dict[str, str]:
        """Labels of the machine: its id under ``ray.io/node-id``, and those given to ``init``."""
        return api.runtime().labels()

    def get_runtime_env_string(self) -> str:
        """The ``runtime_env`` as JSON."""
        return json.dumps(dict(api.runtime().where().runtime_env))

    def get_session_name(self) -> str:
        """The session directory's name."""
        return api.runtime().where().session.rsplit("/", 1)[-1]

    def get_temp_dir(self) -> str:
        """Where session directories lie."""
        return api.runtime().where().session.rsplit("/", 1)[0]

    def is_canceled(self) -> bool:
        """Whether `cancel` was called for the call that runs. Raises `RuntimeError` in a driver."""
        where = api.runtime().where()
        if where.task_id is None:
            raise RuntimeError("is_canceled() asks about a task, and the driver is none")
        return where.canceled

    @property
    def namespace(self) -> str:
        """In which names of actors are looked up."""
        return api.runtime().where().namespace

    @property
    def current_actor(self) -> ActorHandle:
        """A handle of the actor that this is called in. Raises `RuntimeError` outside of one."""
        from rllib.core.remote import ActorHandle

        where = api.runtime().where()
        if where.actor is None or where.shape is None:
            raise RuntimeError("current_actor was asked for outside of an actor")
        return ActorHandle(where.actor, where.shape)

    @property
    def was_current_actor_reconstructed(self) -> bool:
        """Whether the actor's process is not its first. Raises `RuntimeError` outside of one."""
        where = api.runtime().where()
        if where.actor_id is None:
            raise RuntimeError("was_current_actor_reconstructed asks about an actor")
        return where.restarts > 0

    @property
    def runtime_env(self) -> dict[str, Any]:
        """The ``runtime_env`` of the task or actor."""
        return dict(api.runtime().where().runtime_env)

    @property
    def should_capture_child_tasks_in_placement_group(self) -> bool:
        """Whether tasks that this one starts run in its placement group."""
        return api.runtime().where().captures_children

    def get(self) -> dict[str, Any]:
        """The ids, as a dictionary."""
        where = api.runtime().where()
        ids = {
            "job_id": where.job_id,
            "node_id": where.node_id,
            "namespace": where.namespace,
            "task_id": where.task_id,
            "actor_id": where.actor_id,
        }
        return {name: value for name, value in ids.items() if value is not None}


def get_runtime_context() -> RuntimeContext:
    """Who and where the calling code is: ids, assigned resources, the current actor."""
    api.runtime()
    return RuntimeContext()
