"""The files under ``cluster/``, by the tools that will read them as far as those can be had."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

CLUSTER = Path(__file__).parents[1] / "cluster"
FILES = sorted(path for path in CLUSTER.rglob("*") if path.is_file() and path.suffix != ".md")
SCRIPTS = [path for path in FILES if path.read_text().startswith("#!")]
LAUNCHERS = sorted((CLUSTER / "ray").glob("*.yaml"))
MANIFESTS = sorted((CLUSTER / "kuberay").glob("*.yaml"))
PINNED = dict(
    re.findall(r"^([\w-]+)==([\w.]+)", (CLUSTER.parent / "constraints.txt").read_text(), re.M)
)


def name(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_file_says_what_to_change(path: Path) -> None:
    assert "hange" in path.read_text()[:1500]
    assert re.search(r"hange (the same )?three values", path.read_text()[:1500])


@pytest.mark.parametrize("path", FILES, ids=name)
def test_versions_are_those_that_are_tested(path: Path) -> None:
    text = path.read_text()
    for pattern, package in (
        (r"rayVersion: ([\d.]+)", "ray"),
        (r"ray\[default\]==([\d.]+)", "ray"),
        (r"rayproject/ray:([\d.]+)", "ray"),
        (r"ARG RAY=([\d.]+)", "ray"),
        (r"torch==([\d.]+)\b", "torch"),
    ):
        assert set(re.findall(pattern, text)) <= {PINNED[package]}, path


@pytest.mark.parametrize("path", LAUNCHERS, ids=name)
def test_ray_accepts_launcher_files(path: Path) -> None:
    pytest.importorskip("ray")
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load(path.read_text())
    validate_config(prepare_config(copy.deepcopy(config)))
    with pytest.raises(Exception, match="not_a_field"):
        validate_config(prepare_config({**config, "not_a_field": 1}))
    head = "".join(config["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in head


# Fields of KubeRay's ray.io/v1 (its CRD reference, 1.6); a pod's are checked by Kubernetes' own.
KUBERAY: dict[str, dict[str, Any]] = {
    "RayCluster": {
        "rayVersion": str,
        "enableInTreeAutoscaling": bool,
        "authOptions": {"mode": str, "secretName": str},
        "autoscalerOptions": {"idleTimeoutSeconds": int, "upscalingMode": str, "version": str},
        "gcsFaultToleranceOptions": {
            "redisAddress": str,
            "redisPassword": {"value": str, "valueFrom": "V1EnvVarSource"},
        },
        "headGroupSpec": {"rayStartParams": {str: str}, "template": "V1PodTemplateSpec"},
        "workerGroupSpecs": [
            {
                "groupName": str,
                "replicas": int,
                "minReplicas": int,
                "maxReplicas": int,
                "rayStartParams": {str: str},
                "template": "V1PodTemplateSpec",
            }
        ],
    },
}
KUBERAY["RayJob"] = {
    "entrypoint": str,
    "runtimeEnvYAML": str,
    "shutdownAfterJobFinishes": bool,
    "ttlSecondsAfterFinished": int,
    "rayClusterSpec": KUBERAY["RayCluster"],
}


def check(found: Any, schema: Any, where: str) -> None:
    """Compare a value with a schema of the form above, or a model of Kubernetes'."""
    if isinstance(schema, str):
        check_model(found, schema)
    elif isinstance(schema, list):
        for number, each in enumerate(found):
            check(each, schema[0], f"{where}[{number}]")
    elif isinstance(schema, dict):
        for key, value in found.items():
            assert str in schema or key in schema, f"{where}.{key}: no such field"
            check(value, schema[str if str in schema else key], f"{where}.{key}")
    else:
        assert type(found) is schema, f"{where}: {found!r}"


def check_model(found: Any, kind: str) -> None:
    """Have Kubernetes' own client take a value as one of a type."""
    from kubernetes.client import models

    getattr(models, kind).model_validate(found)


MODELS = {"Secret": "V1Secret", "Service": "V1Service", "StatefulSet": "V1StatefulSet"}
MODELS["PersistentVolumeClaim"] = "V1PersistentVolumeClaim"


@pytest.mark.parametrize("path", MANIFESTS, ids=name)
def test_kubernetes_types_accept_manifests(path: Path) -> None:
    pytest.importorskip("kubernetes", minversion="37")
    for manifest in yaml.safe_load_all(path.read_text()):
        kind = manifest["kind"]
        if kind in KUBERAY:
            assert manifest["apiVersion"] == "ray.io/v1"
            check_model(manifest["metadata"], "V1ObjectMeta")
            check(manifest["spec"], KUBERAY[kind], kind)
        else:
            check_model(manifest, MODELS[kind])


def test_the_check_of_manifests_finds_mistakes() -> None:
    pytest.importorskip("kubernetes", minversion="37")
    pod = {"spec": {"containers": [{"name": "one", "imagee": "two"}]}}
    with pytest.raises(ValueError, match="imagee"):
        check({"headGroupSpec": {"template": pod}}, KUBERAY["RayCluster"], "RayCluster")
    with pytest.raises(AssertionError, match="minReplicas"):
        check({"workerGroupSpecs": [{"minReplicas": "2"}]}, KUBERAY["RayCluster"], "RayCluster")


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_scripts_parse(path: Path) -> None:
    subprocess.run(["bash", "-n", str(path)], check=True)
    if shutil.which("shellcheck"):
        found = subprocess.run(["shellcheck", str(path)], capture_output=True, text=True)
        assert found.returncode == 0, found.stdout


def test_dockerfile() -> None:
    text = (CLUSTER / "docker/Dockerfile").read_text()
    lines = re.sub(r"\\\n", " ", text).splitlines()
    said = [line.split(None, 1) for line in lines if line.strip() and line[0] not in "#"]
    known = {"ARG", "FROM", "ENV", "WORKDIR", "COPY", "SHELL", "RUN", "USER", "CMD"}
    assert {word for word, _ in said} <= known
    before = [word for word, _ in said]
    assert set(before[: before.index("FROM")]) == {"ARG"}
    assert not re.search(r"^FROM \S+:latest|^FROM [^:\s]+$|^ADD |apt-get|sudo", text, re.M)
    assert [rest for word, rest in said if word == "USER"][-1] != "root"
    assert "PIP_NO_CACHE_DIR=1" in text
    for _, rest in (each for each in said if each[0] == "COPY"):
        for source in rest.split()[1:-1]:
            assert (CLUSTER.parent / source).exists(), source
    for line in lines:
        if line.startswith("RUN "):
            subprocess.run(["bash", "-n"], input=line[4:], text=True, check=True)


def test_dashboard_asks_for_metrics_that_are_exported() -> None:
    pytest.importorskip("ray")
    from distgan.launch.ray.metrics import GAUGES, HEALTH, SEEN

    ours = {f"ray_distgan_{name}" for name in (*GAUGES, HEALTH, SEEN)}
    of_ray = {"ray_node_cpu_utilization", "ray_node_mem_used"}
    dashboard = json.loads((CLUSTER / "monitoring/grafana-dashboard.json").read_text())
    asked = {
        found
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for found in re.findall(r"\bray_\w+", target["expr"])
    }
    assert asked == ours | of_ray
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_prometheus_reads_the_list_that_ray_writes() -> None:
    pytest.importorskip("ray")
    from ray._private.ray_constants import PROMETHEUS_SERVICE_DISCOVERY_FILE

    config = yaml.safe_load((CLUSTER / "monitoring/prometheus.yml").read_text())
    (found,) = config["scrape_configs"][0]["file_sd_configs"][0]["files"]
    assert Path(found).name == PROMETHEUS_SERVICE_DISCOVERY_FILE
