"""`python -m deployments preflight`: a table of everything, and nothing reached but the hubs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nltk.data
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.__main__ import main
from tests import stub_hub
from tests.conftest import ROOT

WATCHED = """
import json, os, sys
reached = []
def watch(event, arguments):
    if event == "socket.connect":
        reached.append(arguments[1])
    elif event in ("socket.getaddrinfo", "socket.sendto"):
        reached.append(arguments[:2] if event == "socket.getaddrinfo" else arguments[1])
sys.addaudithook(watch)
from deployments.__main__ import main
code = main(sys.argv[2:])
with open(sys.argv[1], "w") as stream:
    json.dump([list(address) if isinstance(address, tuple) else address for address in reached],
              stream, default=str)
sys.exit(code)
"""


def environment(tmp_path: Path, endpoint: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("PREFECT_", "HF_"))
    }
    return kept | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_TOKEN": "hf_test",
        "MODELSCOPE_ENDPOINT": endpoint,
        "ASSAY_CACHE": str(tmp_path / "cache"),
        "ASSAY_RUNS": str(tmp_path / "runs"),
        "CUDA_VISIBLE_DEVICES": "-1",
    }


@pytest.mark.usefixtures("own_cache")
def test_nothing_but_the_configured_hub_is_reached_and_nothing_is_downloaded(
    tmp_path: Path,
) -> None:
    log = tmp_path / "reached.json"
    files = stub_hub.model_files()
    files["config.json"] = json.dumps(
        {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 3584,
         "num_attention_heads": 28, "num_key_value_heads": 4, "num_hidden_layers": 28,
         "max_position_embeddings": 32768}
    ).encode()  # fmt: skip
    rows = {"README.md": b"# Rows", "data/test.parquet": b"PAR1"}
    with stub_hub.running() as hub:
        hub.repos["models/Qwen/Qwen2.5-7B-Instruct"] = stub_hub.Repo(files, branch="master")
        for name in ("openai/gsm8k", "CohereLabs/Global-MMLU-Lite", "Idavidrein/gpqa"):
            hub.repos[f"datasets/{name}"] = stub_hub.Repo(rows)
        done = subprocess.run(
            [sys.executable, "-c", WATCHED, str(log), "preflight", "qwen2.5-7b-instruct"],
            cwd=ROOT, env=environment(tmp_path, hub.url), capture_output=True, text=True,
            check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        reached = json.loads(log.read_text())
        assert reached, "the hub was reached"
        assert {tuple(address[:2]) for address in reached} == {("127.0.0.1", hub.port)}
        assert set(hub.served) == {"config.json"}
        assert len([one for one in hub.requests if one.startswith("HEAD")]) == 3
    assert not (tmp_path / "runs").exists()
    assert list(tmp_path.rglob("*.safetensors")) == list(tmp_path.rglob("*.parquet")) == []

    assert done.stderr == ""
    statuses = {line[9:].split("  ")[0]: line.split()[0] for line in done.stdout.splitlines()
                if line.startswith(("ok ", "note ", "problem "))}  # fmt: skip
    for name in ("model", "quantizable", "servable", "rows", "tasks", "metrics", "cache folder"):
        assert statuses[name] == "ok", done.stdout
    assert statuses["accelerator"] == statuses["calibration"] == "problem", done.stdout
    assert statuses["power"] == statuses["prompts"] == "note", done.stdout


@pytest.mark.usefixtures("no_prefect_server")
def test_the_sample_lacks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(tmp_path, "http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ROOT)
    assert main(["preflight", "sample"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "Nothing is missing" in said.out
    assert "problem" not in said.out
    for name in ("interpreter", "disk", "memory to quantize", "memory to serve", "marking", "BOS",
                 "fit", "power", "power by task"):  # fmt: skip
        assert f"ok       {name} " in said.out, said.out
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("no_prefect_server")
def test_of_several_candidates_each_is_looked_at_and_what_they_share_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(tmp_path, "http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ROOT)
    assert main(["preflight", "sample-candidates"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "Nothing is missing" in said.out
    names = [
        line[9:].split("  ")[0] for line in said.out.splitlines()
        if line.startswith(("ok ", "note "))
    ]  # fmt: skip
    for name in (
        "model", "model, awq-ready-made", "servable", "servable, float32", "quantizable",
        "calibration", "vllm environment", "awq environment", "power",
    ):  # fmt: skip
        assert names.count(name) == 1, said.out
    assert not (tmp_path / "runs").exists()


def test_without_hubs_and_gpu_every_problem_is_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(tmp_path, "http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HF_TOKEN")
    model = "model.id=Qwen/Qwen2.5-32B-Instruct-AWQ"
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert main(["preflight", "qwen2.5-7b-instruct", "--set", model]) == 2
    said = " ".join(capsys.readouterr().out.split())
    for part in (
        "No NVIDIA GPU",
        "127.0.0.1:9 does not answer",
        "quantized already, as its name says (AWQ)",
        "The calibration file calibration.jsonl cannot be read",
        "The rows of openai/gsm8k, CohereLabs/Global-MMLU-Lite cannot be had",
        "Ask for access on http://127.0.0.1:9/datasets/Idavidrein/gpqa",
        "The Prefect API at 127.0.0.1:9 does not answer",
    ):
        assert part in said, said


def test_what_a_task_lacks_is_said_though_its_rows_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(tmp_path, "http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(nltk.data, "path", [])
    assert main(["preflight", "qwen2.5-quality"]) == 2
    said = " ".join(capsys.readouterr().out.split())
    assert "The rows of cais/mmlu, ceval/ceval-exam, google/IFEval cannot be had" in said
    assert "The task ifeval needs data of NLTK that are not here." in said
    assert "nltk.downloader punkt_tab" in said
