"""A batch script that starts a cluster on the nodes of a SLURM job, and trains on it.

The script runs on the job's first node, which becomes the head. Two jobs may share a node, so each
has a port, a token and a folder for it of its own. Before SLURM ends the job it tells the script,
which has ``rllib train`` write a checkpoint, and queues the job again.
"""

import shlex
from dataclasses import dataclass

from rllib.deployment.training import Training


@dataclass(frozen=True)
class SlurmJob:
    """What is asked of SLURM.

    Attributes:
        nodes: how many.
        cpus_per_node: cores of each.
        gpus_per_node: GPUs of each.
        time: limit, as SLURM writes it.
        partition: None takes SLURM's default.
        account: None takes SLURM's default.
        setup: shell commands before all else, such as activating an environment.
        with_tls: use the files of ``RLLIB_TLS_CERT``, ``_KEY`` and ``_CA``, instead of trusting the
            network between the nodes.
    """

    nodes: int
    cpus_per_node: int
    gpus_per_node: int = 0
    time: str = "24:00:00"
    partition: str | None = None
    account: str | None = None
    setup: str = ""
    with_tls: bool = False


def script(job: SlurmJob, training: Training) -> str:
    """The text of the script."""
    return _SCRIPT.format(
        directives="\n".join(f"#SBATCH {each}" for each in _directives(job, training)),
        setup=f"{job.setup}\n" if job.setup else "",
        amounts=f"--num-cpus {job.cpus_per_node} --num-gpus {job.gpus_per_node}",
        trust=_FILES_OF_TLS if job.with_tls else _TRUST,
        train=training.command("$address"),
    )


def _directives(job: SlurmJob, training: Training) -> list[str]:
    wanted = {
        "job-name": training.title,
        "nodes": job.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": job.cpus_per_node,
        "gpus-per-node": job.gpus_per_node or None,
        "time": job.time,
        "partition": job.partition,
        "account": job.account,
        "output": "%x-%j.log",
        "open-mode": "append",
        "signal": "B:TERM@120",
    }
    given = [f"--{name}={shlex.quote(str(v))}" for name, v in wanted.items() if v is not None]
    return [*given, "--requeue"]


_TRUST = "trust=(--insecure) # the network between the nodes is trusted"
_FILES_OF_TLS = "trust=() # RLLIB_TLS_CERT, RLLIB_TLS_KEY and RLLIB_TLS_CA name the files of TLS"

_SCRIPT = """#!/bin/bash
{directives}

set -euo pipefail
{setup}
# A token of this job alone, on a disk that all nodes see.
export RLLIB_HOME="$PWD/.rllib-$SLURM_JOB_ID"
rllib token > /dev/null
{trust}

# The head: the first node, on which this script runs.
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000))
address="$head:$port"
on_head=(srun --overlap --nodes=1 --ntasks=1 --nodelist="$head")
"${{on_head[@]}}" rllib start --head --host 0.0.0.0 --port "$port" \\
    {amounts} "${{trust[@]}}" --block &
steps=($!)

# All others.
others=$((SLURM_JOB_NUM_NODES - 1))
if ((others > 0)); then
    srun --overlap --nodes="$others" --ntasks="$others" --exclude="$head" \\
        rllib start --address "$address" --wait 300 \\
        {amounts} "${{trust[@]}}" --block &
    steps+=($!)
fi

trap 'kill "${{steps[@]}}" || true; wait "${{steps[@]}}" || true; rm -rf "$RLLIB_HOME"' EXIT

"${{on_head[@]}}" rllib status --address "$address" --nodes "$SLURM_JOB_NUM_NODES" --wait 300

# Shortly before its time is up, or when it has to make way, the job is told, and goes on later.
again=no
"${{on_head[@]}}" {train} &
training=$!
trap 'again=yes; kill -TERM "$training"' TERM
code=0
wait "$training" || code=$?
if [[ $again == yes ]]; then # that was the end of the waiting, not of the training
    code=0
    wait "$training" || code=$?
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""
