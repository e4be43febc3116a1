"""The job that Prefect's own worker makes of infra/kubernetes/job-template.json, and its secret.

    python -m tests.kubernetes_job

Builds the environment of kubernetes.txt in a temporary folder, as the image does, and lets the
worker prepare a run's job there; nothing is asked of a cluster.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import kubernetes_validate

from tests.infra.kubernetes.test_kubernetes import without_what_prefect_misplaces

ROOT = Path(__file__).parent.parent
_PROGRAMS = Path(sys.executable).parent
PASSWORD = "assay:planted-by-the-test-5531"
_PREPARE = """
import asyncio, json, sys
from uuid import uuid4
from prefect.client.schemas.objects import FlowRun
from prefect_kubernetes.worker import KubernetesWorker, KubernetesWorkerJobConfiguration
from prefect_kubernetes.settings import KubernetesSettings

async def main():
    template = json.load(open(sys.argv[1]))
    made = await KubernetesWorkerJobConfiguration.from_template_and_values(
        base_job_template=template, values={"gpus": 2}
    )
    made.prepare_for_flow_run(FlowRun(id=uuid4(), name="a-run", flow_id=uuid4()))
    names = KubernetesSettings().worker
    worker = KubernetesWorker(work_pool_name="assay")
    await worker._replace_env_variable_with_secret(
        env_variable_name="PREFECT_API_AUTH_STRING", configuration=made,
        secret_name=names.api_auth_string_secret_name, secret_key=names.api_auth_string_secret_key,
    )
    print(json.dumps(made.job_manifest))

asyncio.run(main())
"""


def main() -> None:
    settings = "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET"
    with tempfile.TemporaryDirectory() as folder:
        venv = Path(folder) / "venv"
        subprocess.run(
            ["bash", ROOT / "infra" / "environments" / "bootstrap.sh", venv], check=True,
            env={**os.environ, "LOCK": "kubernetes", "PATH": f"{_PROGRAMS}:{os.environ['PATH']}"},
        )  # fmt: skip
        said = subprocess.check_output(
            [venv / "bin" / "python", "-c", _PREPARE, ROOT / "infra/kubernetes/job-template.json"],
            env={
                "PATH": os.environ["PATH"], "PREFECT_HOME": folder,
                "PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_API_AUTH_STRING": PASSWORD,
                f"{settings}_NAME": "assay", f"{settings}_KEY": "auth-string",
            },
        )  # fmt: skip
    job = json.loads(said.splitlines()[-1])
    without_what_prefect_misplaces(job)
    kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)
    assert PASSWORD not in json.dumps(job)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    (secret,) = [one for one in container["env"] if one["name"] == "PREFECT_API_AUTH_STRING"]
    assert secret["valueFrom"]["secretKeyRef"] == {"name": "assay", "key": "auth-string"}
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 2
    print(json.dumps(job, indent=2))


if __name__ == "__main__":
    main()
