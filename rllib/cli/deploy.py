"""``rllib slurm`` and ``rllib kubernetes``: what starts a cluster elsewhere, printed."""

from pathlib import Path
from typing import Annotated

import typer

from rllib.cli.shared import explained, find_modules_here

Config = Annotated[str, typer.Option(help="Name of a preset, or path of a YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Settings that replace those of the config."),
]
Stop = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="Stop when this metric reaches the value."),
]
Name = Annotated[str | None, typer.Option(help="Name of the run; by default that of the config.")]


def slurm(
    config: Config,
    overrides: Overrides = None,
    stop: Stop = None,
    name: Name = None,
    runs_dir: Annotated[
        str, typer.Option(help="Folder of all runs, which all nodes see.")
    ] = "runs",
    nodes: Annotated[int, typer.Option(min=1, help="How many nodes.")] = 2,
    cpus_per_node: Annotated[int, typer.Option(min=1, help="Cores of each.")] = 8,
    gpus_per_node: Annotated[int, typer.Option(min=0, help="GPUs of each.")] = 0,
    time: Annotated[str, typer.Option(help="Limit; the job is then queued again.")] = "24:00:00",
    partition: Annotated[str | None, typer.Option(help="By default SLURM's.")] = None,
    account: Annotated[str | None, typer.Option(help="By default SLURM's.")] = None,
    setup: Annotated[
        str, typer.Option(metavar="COMMANDS", help="What a node's shell needs first.")
    ] = "",
    tls: Annotated[
        bool, typer.Option("--tls", help="Use the files that RLLIB_TLS_CERT, _KEY, _CA name.")
    ] = False,
) -> None:
    """Print a SLURM batch script that starts a cluster on the job's nodes and trains on it.

    Example: rllib slurm --config ppo_cartpole --nodes 4 num_env_runners=48 | sbatch
    """
    from rllib.deployment.slurm import SlurmJob, script
    from rllib.deployment.training import Training

    _check(config, overrides, stop)
    training = Training(config, (*(overrides or ()),), (*(stop or ()),), name, runs_dir)
    job = SlurmJob(
        nodes=nodes,
        cpus_per_node=cpus_per_node,
        gpus_per_node=gpus_per_node,
        time=time,
        partition=partition,
        account=account,
        setup=setup,
        with_tls=tls,
    )
    typer.echo(script(job, training), nl=False)


def kubernetes(
    config: Config,
    image: Annotated[str, typer.Option(help="With Python and rllib-scale in it.")],
    overrides: Overrides = None,
    stop: Stop = None,
    name: Name = None,
    workers: Annotated[int, typer.Option(min=0, help="Pods beside the head.")] = 3,
    cpus: Annotated[int, typer.Option(min=1, help="Cores of each pod.")] = 4,
    memory: Annotated[str, typer.Option(help="Of each pod.")] = "8Gi",
    gpus: Annotated[int, typer.Option(min=0, help="Of each pod.")] = 0,
    storage: Annotated[str, typer.Option(help="Size of the volume of the runs.")] = "20Gi",
    token_secret: Annotated[
        str, typer.Option(help="A Secret whose key `token` is the cluster's.")
    ] = "rllib-token",
    tls_secret: Annotated[
        str,
        typer.Option(help="A Secret with tls.crt, tls.key and ca.crt; none trusts the network."),
    ] = "",
) -> None:
    """Print a Kubernetes manifest of a head that trains, and of nodes that join it.

    Example: rllib kubernetes --config ppo_cartpole --image mine/rllib:1 | kubectl apply -f -
    """
    from rllib.deployment.kubernetes import KubernetesCluster, manifest
    from rllib.deployment.training import Training

    _check(config, overrides, stop)
    cluster = KubernetesCluster(
        image=image,
        workers=workers,
        cpus=cpus,
        memory=memory,
        gpus=gpus,
        storage=storage,
        token_secret=token_secret,
        tls_secret=tls_secret,
    )
    training = Training(config, (*(overrides or ()),), (*(stop or ()),), name, "/runs")
    text = Path(config).read_text(encoding="utf-8") if Path(config).is_file() else ""
    typer.echo(manifest(cluster, training, text), nl=False)


def _check(config: str, overrides: list[str] | None, stop: list[str] | None) -> None:
    """A mistake in a config is told now, not when the job has come through the queue."""
    find_modules_here()
    with explained():
        from rllib.config.file import read_draft

        read_draft(config, tuple(overrides or ()), tuple(stop or ())).plan()
