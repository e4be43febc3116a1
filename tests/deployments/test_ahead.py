"""Environments are built ahead of a run from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.__main__ import main
from infra.machine.environments import locate
from infra.store.settings import Settings


def test_what_is_there_is_named_and_nothing_is_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    environment, there = locate("vllm", "cuda", Settings())
    assert not there
    environment.python.parent.mkdir(parents=True)
    assert main(["build", "vllm-cuda"]) == 0
    assert capsys.readouterr().out == f"vllm-cuda: {environment.python}\n"


def test_an_environment_that_nobody_has_is_refused_before_any_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    assert main(["build", "vllm-cpu", "vllm-tpu"]) == 2
    said = capsys.readouterr().err
    assert "No environment 'vllm-tpu'" in said
    assert "vllm-cuda" in said
    assert list(tmp_path.iterdir()) == []
