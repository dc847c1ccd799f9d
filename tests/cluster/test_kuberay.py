"""KubeRay's file in deploy: what it asks of a cluster, read and checked without one."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from containers import REPOSITORY
from ray.autoscaler._private.kuberay.node_provider import IN_CLUSTER_CA_CERT_PATH, IN_CLUSTER_TOKEN_PATH

from orchestrator.cli.sweep import sweep as orchestrate_sweep

FIELDS = {
    "job": {"entrypoint", "shutdownAfterJobFinishes", "rayClusterSpec"},
    "cluster": {
        "rayVersion",
        "authOptions",
        "enableInTreeAutoscaling",
        "autoscalerOptions",
        "headGroupSpec",
        "workerGroupSpecs",
    },
    "autoscaler": {"version", "idleTimeoutSeconds", "securityContext", "volumeMounts"},
    "head": {"rayStartParams", "template"},
    "workers": {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"},
}
"""Of those that KubeRay's API of ray.io/v1 knows, the ones that the file uses: Kubernetes ignores or refuses others."""
TOKEN_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"


@pytest.fixture
def job() -> dict[str, Any]:
    return yaml.safe_load((REPOSITORY / "deploy" / "kuberay.yaml").read_text())  # type: ignore[no-any-return]


@pytest.fixture
def cluster(job: dict[str, Any]) -> dict[str, Any]:
    return job["spec"]["rayClusterSpec"]  # type: ignore[no-any-return]


def test_kuberay_knows_all_fields_of_the_job(job: dict[str, Any], cluster: dict[str, Any]) -> None:
    assert set(job["spec"]) == FIELDS["job"]
    assert set(cluster) == FIELDS["cluster"]
    assert set(cluster["autoscalerOptions"]) == FIELDS["autoscaler"]
    assert set(cluster["headGroupSpec"]) == FIELDS["head"]
    assert [set(group) for group in cluster["workerGroupSpecs"]] == [FIELDS["workers"]] * 2


def test_the_kubernetes_job_runs_a_sweep_of_ours_on_the_image_of_ours(
    job: dict[str, Any], cluster: dict[str, Any]
) -> None:
    compose = (REPOSITORY / "docker-compose.yml").read_text()
    constraints = (REPOSITORY / "constraints.txt").read_text()
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    program, command, sweep_file, *options = job["spec"]["entrypoint"].split()
    assert (program, command, options) == ("orchestrate", "sweep", ["--wait-for-nodes"])
    assert (REPOSITORY / sweep_file).is_file()
    assert "--wait-for-nodes" in {option for parameter in orchestrate_sweep.params for option in parameter.opts}
    assert f"\nray=={cluster['rayVersion']}\n" in constraints
    assert cluster["authOptions"] == {"mode": "token"}
    for group in groups:
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert pod["automountServiceAccountToken"] is False
        assert TOKEN_FOLDER not in {mount["mountPath"] for mount in container["volumeMounts"]}
        assert container["image"].removeprefix("REGISTRY/") in re.findall(r"image: (\S+)", compose)
        assert pod["securityContext"]["runAsNonRoot"]
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/srv/runs", "/srv/data"}
        assert {mount["name"] for mount in container["volumeMounts"]} <= {it["name"] for it in pod["volumes"]}
    for group in cluster["workerGroupSpecs"]:
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_workers_come_from_none_and_the_autoscaler_alone_may_ask_for_them(cluster: dict[str, Any]) -> None:
    assert cluster["enableInTreeAutoscaling"] is True
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] == group["replicas"] == 0 < group["maxReplicas"]
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    assert {pod["restartPolicy"] for pod in pods} == {"Never"}, "autoscaler v2 takes no other"
    (mount,) = cluster["autoscalerOptions"]["volumeMounts"]
    (volume,) = (it for it in pods[0]["volumes"] if it["name"] == mount["name"])
    assert mount["mountPath"] == TOKEN_FOLDER
    paths = [path for source in volume["projected"]["sources"] for path in re.findall(r"'path': '(.*?)'", str(source))]
    assert {f"{TOKEN_FOLDER}/{path}" for path in paths} == {IN_CLUSTER_TOKEN_PATH, IN_CLUSTER_CA_CERT_PATH}


def test_the_spot_pool_takes_nodes_that_the_cloud_may_take_away_and_the_other_none(cluster: dict[str, Any]) -> None:
    steady, spot = (group["template"]["spec"] for group in cluster["workerGroupSpecs"])
    ((label, value),) = spot["nodeSelector"].items()
    assert spot["tolerations"] == [{"key": label, "operator": "Equal", "value": value, "effect": "NoSchedule"}]
    assert not {"nodeSelector", "tolerations"} & steady.keys()
    assert spot["containers"] == steady["containers"]
