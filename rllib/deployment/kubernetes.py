"""A manifest for Kubernetes: a job that is the head and trains, and nodes that join it.

The job's pod writes to a volume, and continues the run when it is started anew; the others come and
go. They find the head by the name of a service, and nobody else may reach any of them.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from rllib.deployment.training import Training

PORT = 6379
Object = dict[str, Any]

_RUNS, _HOME = "/runs", "/tmp/rllib"
_TOKEN, _TLS, _CONFIG = "/etc/rllib/token", "/etc/rllib/tls", "/etc/rllib/config"
_ONLY_READABLE = 0o444
_WAIT_S = 600


@dataclass(frozen=True)
class KubernetesCluster:
    """What is asked of Kubernetes.

    Attributes:
        image: has Python and ``rllib-scale`` in it.
        workers: how many pods beside the head.
        cpus: cores of each pod.
        memory: of each pod, as Kubernetes writes it.
        gpus: of each pod.
        storage: size of the volume of the runs.
        token_secret: a Secret whose ``token`` is that of the cluster.
        tls_secret: a Secret with ``tls.crt``, ``tls.key`` and ``ca.crt``; empty trusts the network
            between the pods.
        user: number of the user that all of it runs as.
    """

    image: str
    workers: int = 3
    cpus: int = 4
    memory: str = "8Gi"
    gpus: int = 0
    storage: str = "20Gi"
    token_secret: str = "rllib-token"
    tls_secret: str = ""
    user: int = 1000


def manifest(cluster: KubernetesCluster, training: Training, config_text: str = "") -> str:
    """The text of the manifest, for ``kubectl apply -f -``.

    Args:
        cluster: what is asked for.
        training: what is trained; its runs are kept in a volume whatever its ``runs_dir``.
        config_text: content of the config's file, where that is no preset.
    """
    maker = _Maker(cluster, training, config_text)
    objects = [maker.volume(), maker.service(), maker.policy(), maker.head(), maker.workers()]
    if config_text:
        objects.insert(0, maker.config())
    text: str = yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, width=1_000)
    return text


class _Dumper(yaml.SafeDumper):
    """Writes for people: scripts as they are, and what is said twice twice."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never refer to what was said before."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


class _Maker:
    """Makes the objects of one cluster."""

    def __init__(self, cluster: KubernetesCluster, training: Training, config_text: str) -> None:
        self._cluster = cluster
        self._config_text = config_text
        self._config_file = Path(training.config).name
        config = f"{_CONFIG}/{self._config_file}" if config_text else training.config
        self._training = replace(training, config=config, runs_dir=_RUNS)
        self._name = f"rllib-{_plain(training.title)}"
        self._address = f"{self._name}-head:{PORT}"
        self._trust = "" if cluster.tls_secret else " --insecure"

    def config(self) -> Object:
        """The file of the config."""
        metadata = {"name": f"{self._name}-config", "labels": self._labels()}
        data = {self._config_file: self._config_text}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}

    def volume(self) -> Object:
        """Where runs are kept."""
        spec = {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": self._cluster.storage}},
        }
        return self._object("v1", "PersistentVolumeClaim", "runs", spec)

    def service(self) -> Object:
        """The name of the head: of its pod's own address, not of another one that leads there."""
        spec = {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": self._labels("head"),
            "ports": [{"name": "grpc", "port": PORT}],
        }
        return self._object("v1", "Service", "head", spec)

    def policy(self) -> Object:
        """Pods of the cluster are reached from each other, and from nowhere else."""
        ours = {"matchLabels": self._labels()}
        spec = {
            "podSelector": ours,
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": ours}]}],
        }
        return self._object("networking.k8s.io/v1", "NetworkPolicy", "inside", spec)

    def head(self) -> Object:
        """The head trains; a pod that ends amid that is started again, and goes on."""
        command = (
            f'rllib start --head --host "$POD_IP" --port {PORT} {self._amounts}{self._trust}\n'
            f'rllib status --address "$POD_IP:{PORT}" --nodes {self._cluster.workers + 1} '
            f"--wait {_WAIT_S}\n"
            f"exec {self._training.command(f'$POD_IP:{PORT}')}"
        )
        mounts = [{"name": "runs", "mountPath": _RUNS}]
        claim = {"claimName": f"{self._name}-runs"}
        volumes: list[Object] = [{"name": "runs", "persistentVolumeClaim": claim}]
        if self._config_text:
            mounts.append({"name": "config", "mountPath": _CONFIG})
            volumes.append({"name": "config", "configMap": {"name": f"{self._name}-config"}})
        pod = self._pod("head", command, mounts, volumes)
        pod["spec"] |= {"restartPolicy": "OnFailure", "terminationGracePeriodSeconds": 120}
        return self._object("batch/v1", "Job", "head", {"backoffLimit": 100, "template": pod})

    def workers(self) -> Object:
        """Nodes end when their head does, and are started again to wait for the next one."""
        command = (
            f'exec rllib start --address {self._address} --host "$POD_IP" --wait {_WAIT_S} '
            f"{self._amounts}{self._trust} --block"
        )
        spec = {
            "replicas": self._cluster.workers,
            "selector": {"matchLabels": self._labels("worker")},
            "template": self._pod("worker", command, [], []),
        }
        return self._object("apps/v1", "Deployment", "worker", spec)

    # -- parts ---------------------------------------------------------------------------------

    def _object(self, version: str, kind: str, name: str, spec: Object) -> Object:
        metadata = {"name": f"{self._name}-{name}", "labels": self._labels()}
        return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}

    def _labels(self, role: str = "") -> dict[str, str]:
        labels = {"app.kubernetes.io/name": "rllib", "app.kubernetes.io/instance": self._name}
        return labels | ({"app.kubernetes.io/component": role} if role else {})

    @property
    def _amounts(self) -> str:
        return f"--num-cpus {self._cluster.cpus} --num-gpus {self._cluster.gpus}"

    def _pod(
        self, role: str, command: str, mounts: list[Object], volumes: list[Object]
    ) -> dict[str, Any]:
        """A pod of one container, which keeps the token to itself before it runs the command."""
        script = f"set -eu\nrllib token --set < {_TOKEN}/token\n{command}\n"
        user = self._cluster.user
        spec: Object = {
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": user,
                "fsGroup": user,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "node",
                    "image": self._cluster.image,
                    "workingDir": "/tmp",
                    "command": ["/bin/sh", "-c", script],
                    "env": self._environment(),
                    "ports": [{"name": "grpc", "containerPort": PORT}] if role == "head" else [],
                    "resources": self._resources(),
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [*self._secret_mounts(), *mounts],
                }
            ],
            "volumes": [*self._secrets(), *volumes],
        }
        return {"metadata": {"labels": self._labels(role)}, "spec": spec}

    def _environment(self) -> list[Object]:
        given: list[Object] = [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "RLLIB_HOME", "value": _HOME},
            {"name": "HOME", "value": "/tmp"},  # the user may be a mere number
            {"name": "USER", "value": "rllib"},
        ]
        if self._cluster.tls_secret:
            files = {"CERT": "tls.crt", "KEY": "tls.key", "CA": "ca.crt"}
            given += [
                {"name": f"RLLIB_TLS_{name}", "value": f"{_TLS}/{file}"}
                for name, file in files.items()
            ]
        return given

    def _resources(self) -> Object:
        amounts: Object = {"cpu": str(self._cluster.cpus), "memory": self._cluster.memory}
        if self._cluster.gpus:
            amounts["nvidia.com/gpu"] = str(self._cluster.gpus)
        return {"requests": amounts, "limits": dict(amounts)}

    def _secret_names(self) -> dict[str, tuple[str, str]]:
        """By volume: the Secret, and where it is mounted."""
        found = {"token": (self._cluster.token_secret, _TOKEN)}
        return found | ({"tls": (tls, _TLS)} if (tls := self._cluster.tls_secret) else {})

    def _secrets(self) -> list[Object]:
        return [
            {"name": name, "secret": {"secretName": secret, "defaultMode": _ONLY_READABLE}}
            for name, (secret, _) in self._secret_names().items()
        ]

    def _secret_mounts(self) -> list[Object]:
        return [
            {"name": name, "mountPath": path, "readOnly": True}
            for name, (_, path) in self._secret_names().items()
        ]


def _plain(name: str) -> str:
    """As Kubernetes has names."""
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower()).strip("-")
