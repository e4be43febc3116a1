"""The manifests: of Kubernetes' schemas, as its strictest policy wants them, without a secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from prefect.utilities.templating import apply_values

from tests import dockerfile

FOLDER = Path(__file__).parents[3] / "infra" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
TEMPLATE = json.loads((FOLDER / "job-template.json").read_text())


def manifests() -> Iterator[dict[str, Any]]:
    for name in KUSTOMIZATION["resources"]:
        yield from yaml.safe_load_all((FOLDER / name).read_text())


def job(**values: Any) -> dict[str, Any]:
    """Return the job that a run gets, as Prefect fills in the template."""
    variables = TEMPLATE["variables"]["properties"]
    defaults = {name: one["default"] for name, one in variables.items() if "default" in one}
    given = {"name": "run", "command": ["prefect", "flow-run", "execute"], "env": [], **values}
    made: dict[str, Any] = apply_values(
        TEMPLATE["job_configuration"]["job_manifest"], defaults | given
    )
    return without_what_prefect_misplaces(made)


def without_what_prefect_misplaces(manifest: dict[str, Any]) -> dict[str, Any]:
    """Take out two fields that its worker wants in the pod, and Kubernetes drops there."""
    pod = manifest["spec"]["template"]["spec"]
    assert (pod.pop("parallelism"), pod.pop("completions")) == (1, 1)
    return manifest


def pods() -> dict[str, dict[str, Any]]:
    (worker,) = [one for one in manifests() if one["kind"] == "Deployment"]
    return {"worker": worker["spec"]["template"]["spec"], "job": job()["spec"]["template"]["spec"]}


def valid(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("manifest", [*manifests(), job()], ids=lambda one: one["kind"])
def test_a_manifest_is_of_its_schema(manifest: dict[str, Any]) -> None:
    valid(manifest)
    with pytest.raises(kubernetes_validate.ValidationError):
        valid({**manifest, "specs": {}})


def test_the_job_has_gpus_memory_to_share_and_a_volume_that_stays() -> None:
    spec = job(gpus=4, shared_memory="16Gi", claim="ours")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 4
    volumes = {one["name"]: one for one in spec["volumes"]}
    at = {one["mountPath"]: volumes[one["name"]] for one in container["volumeMounts"]}
    assert at["/dev/shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "16Gi"}
    (claim,) = [one for one in manifests() if one["kind"] == "PersistentVolumeClaim"]
    assert at["/var/lib/assay"]["persistentVolumeClaim"]["claimName"] == "ours"
    assert TEMPLATE["variables"]["properties"]["claim"]["default"] == claim["metadata"]["name"]
    *_, image = dockerfile.stages()
    homes = [path for name, path in image.environment().items() if name.startswith("ASSAY_")]
    written = [path for path in homes if path != "/assay"]
    assert all(any(path.startswith(mount) for mount in at) for path in written)


@pytest.mark.parametrize("name", ["worker", "job"])
def test_a_pod_may_do_little(name: str) -> None:
    pod = pods()[name]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*pod["containers"], *pod.get("initContainers", ())]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_the_password_is_only_ever_referred_to() -> None:
    pod = pods()["worker"]
    for container in [*pod["containers"], *pod["initContainers"]]:
        variables = {one["name"]: one for one in container["env"]}
        secret = variables["PREFECT_API_AUTH_STRING"]["valueFrom"]["secretKeyRef"]
        assert secret == {"name": "assay", "key": "auth-string"}
    (worker,) = pod["containers"]
    plain = {one["name"]: one.get("value") for one in worker["env"]}
    named = "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_{}"
    assert (plain[named.format("NAME")], plain[named.format("KEY")]) == tuple(secret.values())
    assert "Secret" not in {one["kind"] for one in manifests()}
