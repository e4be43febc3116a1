"""The clients that LlamaIndex and LangChain bring for such servers work on one of ours."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import ServingSpec
from infra.engines.live import LiveServer
from infra.engines.port import Setup
from infra.engines.registry import engine_of
from infra.machine.device import detect
from tests.conftest import ROOT, PrintProgress
from tests.infra.suite.passages.clients import ASKED, QUESTION, TEXTS
from tests.shared_servers import Served

CLIENTS = Path(__file__).with_name("clients.py")
SAMPLE = ROOT / "infra" / "sample" / "model"


def asked(what: str, server: LiveServer, environment: PythonEnvironment) -> Any:
    """Return what both libraries were given; their key is no argument that others could read."""
    ran = subprocess.run(
        [environment.python, "-I", CLIENTS, what, server.base_url, server.model],
        input=server.api_key.get_secret_value(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout)


def plain(server: LiveServer, path: str, body: dict[str, Any]) -> Any:
    """Return what the server answers to a request that no library wrote."""
    with httpx.Client(base_url=server.base_url, headers=server.headers, timeout=120) as client:
        return client.post(path, json={"model": server.model, **body}).raise_for_status().json()


@pytest.mark.engine
def test_prompts_and_chats_are_answered_as_they_are_without_a_library(
    sample_server: Served, documents_environment: PythonEnvironment
) -> None:
    server = sample_server.server
    found = asked("llm", server, documents_environment)
    short = {"temperature": 0.0, "max_tokens": 8}
    completion = plain(server, "/completions", {"prompt": QUESTION, **short})
    turn = [{"role": "user", "content": QUESTION}]
    chat = plain(server, "/chat/completions", {"messages": turn, **short})
    said = chat["choices"][0]["message"]["content"]
    expected = {"completion": completion["choices"][0]["text"], "chat": said, "streamed": said}
    assert said and expected["completion"]
    assert found == {"llama-index": expected, "langchain": expected}


@pytest.mark.engine
def test_vectors_are_given_as_they_are_without_a_library(
    server_environment: PythonEnvironment,
    documents_environment: PythonEnvironment,
    tmp_path: Path,
) -> None:
    setup = Setup(
        SAMPLE, ServingSpec(device="cpu"), server_environment, detect("cpu"), pooling="mean"
    )
    with engine_of(setup.serving).serve(
        setup, name="embedding", concurrency=4, logprobs=0, log=tmp_path / "log",
        progress=PrintProgress(),
    ) as server:  # fmt: skip
        assert isinstance(server, LiveServer)
        found = asked("vectors", server, documents_environment)
        body = {"input": [*TEXTS, ASKED], "encoding_format": "float"}
        data = plain(server, "/embeddings", body)["data"]
    expected = np.array([one["embedding"] for one in data])
    assert expected.shape == (4, 256)
    for library, vectors in found.items():
        # Alone and beside others, a text is not computed in the same order.
        assert np.allclose(np.array(vectors), expected, atol=2e-3), library
    # What the question is about is nearer to it than what it is not about.
    near = expected[:3] @ expected[3]
    assert near.argmax() == 0
