"""The manifest for Kubernetes: its objects fit together, and the scripts of its pods work."""

import subprocess
from pathlib import Path
from typing import Any

import deployed
import yaml
from patience import patience

from rllib.core.cluster.credentials import read_token
from rllib.core.cluster.launch import stop_all
from rllib.deployment.kubernetes import KubernetesCluster, manifest
from rllib.deployment.training import Training

TRAINING = Training(
    "ppo_cartpole",
    ("num_env_runners=1", "num_envs_per_env_runner=4"),
    ("num_env_steps_sampled_lifetime=2000",),
)
Objects = dict[tuple[str, str], Any]


def objects(cluster: KubernetesCluster, training: Training = TRAINING, text: str = "") -> Objects:
    """By kind and name, less what all names begin with."""
    found = list(yaml.safe_load_all(manifest(cluster, training, text)))
    prefix = found[0]["metadata"]["labels"]["app.kubernetes.io/instance"]
    return {(o["kind"], o["metadata"]["name"].removeprefix(f"{prefix}-")): o for o in found}


def pod(found: Objects, kind: str, name: str) -> Any:
    return found[kind, name]["spec"]["template"]


def test_the_objects_refer_to_each_other() -> None:
    found = objects(KubernetesCluster("image:1", gpus=1, tls_secret="tls"))
    service = found["Service", "head"]
    head, worker = pod(found, "Job", "head"), pod(found, "Deployment", "worker")
    selector = service["spec"]["selector"].items()
    assert selector <= head["metadata"]["labels"].items()
    assert not selector <= worker["metadata"]["labels"].items()
    selected = found["Deployment", "worker"]["spec"]["selector"]["matchLabels"]
    assert selected == worker["metadata"]["labels"]
    policy = found["NetworkPolicy", "inside"]["spec"]
    for each in (head, worker):
        assert policy["podSelector"]["matchLabels"].items() <= each["metadata"]["labels"].items()
        (container,) = each["spec"]["containers"]
        volumes = {volume["name"] for volume in each["spec"]["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
        assert "insecure" not in container["command"][-1]
    assert f"{service['metadata']['name']}:6379" in worker["spec"]["containers"][0]["command"][-1]
    claim = head["spec"]["volumes"][-1]["persistentVolumeClaim"]["claimName"]
    assert claim == found["PersistentVolumeClaim", "runs"]["metadata"]["name"]


def test_no_secret_is_in_it(home: Path) -> None:
    assert read_token(make=True) not in manifest(KubernetesCluster("image:1"), TRAINING)


def test_a_config_of_the_users_goes_along() -> None:
    mine = Training("some/folder/My Config.yaml", name="My_Run 1")
    found = objects(KubernetesCluster("image:1"), mine, "algo: PPO\nlr: 1e-3\n")
    assert found["ConfigMap", "config"]["data"] == {"My Config.yaml": "algo: PPO\nlr: 1e-3\n"}
    assert found["ConfigMap", "config"]["metadata"]["name"] == "rllib-my-run-1-config"
    script = pod(found, "Job", "head")["spec"]["containers"][0]["command"][-1]
    assert "--config '/etc/rllib/config/My Config.yaml'" in script


def test_the_scripts_of_the_pods_train(tmp_path: Path, home: Path) -> None:
    token = tmp_path / "token"
    token.write_text(read_token(make=True))
    found = objects(KubernetesCluster("image:1", workers=1, cpus=1))
    port = deployed.free_port(20_000, 30_000)
    here = {
        "/etc/rllib/token/": f"{tmp_path}/",
        "/runs": f"{tmp_path}/runs",
        f"{found['Service', 'head']['metadata']['name']}:6379": f"127.0.0.1:{port}",
        "6379": str(port),
        "set -eu": "set -eux",
    }
    environment = deployed.on_path(tmp_path / "bin", {})

    def start(kind: str, name: str, ip: str) -> "subprocess.Popen[str]":
        (container,) = pod(found, kind, name)["spec"]["containers"]
        *shell, script = container["command"]
        for there, path in here.items():
            script = script.replace(there, path)
        return subprocess.Popen(
            [*shell, script],
            env={**environment, "POD_IP": ip, "RLLIB_HOME": str(tmp_path / name)},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    worker, head = start("Deployment", "worker", "127.0.0.2"), start("Job", "head", "127.0.0.1")
    told = head.communicate(timeout=patience(60))[0]
    assert head.returncode == 0, told
    assert "Nodes: 2" in told
    assert "finished" in told
    stop_all()
    worker.communicate(timeout=patience(30))
