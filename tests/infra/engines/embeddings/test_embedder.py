from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from infra.contracts.errors import AssayError, EndpointError, EvaluationError
from infra.contracts.specs import EmbeddingSpec, EndpointSpec
from infra.engines import live
from infra.engines.embeddings import Embedder, embedder_of
from infra.engines.embeddings.sources import Source, served
from infra.engines.vllm.server import EMBEDDING
from infra.machine import ports
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tests import embedding_endpoint
from tests.conftest import PrintProgress
from tests.process_marks import Marked

NAMES = ["adds before it multiplies", "takes the mean for the median", "drops a minus sign"]
KEY_VARIABLE = "TEST_EMBEDDING_KEY"


class Heard(PrintProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def embedder(
    folder: Path, url: str, heard: Heard | None = None, run: str = "r", **endpoint: object
) -> Embedder:
    endpoint = {"version": "1", "patience_seconds": 1, **endpoint}
    return embedder_of(
        EmbeddingSpec(endpoint=EndpointSpec(url=url, model="embeds", **endpoint)),
        None, name="baseline", run=RunFolder(id=run, path=folder / run),
        settings=Settings(cache=folder / "cache"), progress=heard or Heard(),
    )  # fmt: skip


def test_texts_become_vectors_of_length_1_in_their_order(tmp_path: Path) -> None:
    with embedding_endpoint.embedding("long") as server, embedder(tmp_path, server.url) as embeds:
        found = embeds.embed([*NAMES, NAMES[0]])
    assert found.dtype == np.float32
    assert found.shape == (4, embedding_endpoint.DIMENSION)
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 1, 1, 1])
    raw = np.array([embedding_endpoint.vector(name) for name in [*NAMES, NAMES[0]]])
    assert found == pytest.approx(raw / np.linalg.norm(raw, axis=1, keepdims=True), abs=1e-6)
    assert server.texts == NAMES  # each once


def test_the_order_is_that_of_the_index(tmp_path: Path) -> None:
    with embedding_endpoint.embedding() as server, embedder(tmp_path, server.url) as embeds:
        straight = embeds.embed(NAMES)
    with (
        embedding_endpoint.embedding("other-order") as server,
        embedder(tmp_path / "2", server.url) as embeds,
    ):
        assert (embeds.embed(NAMES) == straight).all()


def test_a_vector_is_asked_for_once_whoever_wants_it(tmp_path: Path) -> None:
    with embedding_endpoint.embedding() as server:
        with embedder(tmp_path, server.url, run="one") as embeds:
            first = embeds.embed(NAMES[:2])
        with embedder(tmp_path, server.url, run="another") as embeds:
            second = embeds.embed(NAMES)
    assert server.asked == [NAMES[:2], NAMES[2:]]
    assert (second[:2] == first).all()


def test_without_a_version_vectors_are_of_one_run(tmp_path: Path) -> None:
    with embedding_endpoint.embedding() as server:
        for run in ("one", "one", "another"):
            with embedder(tmp_path, server.url, run=run, version=None) as embeds:
                embeds.embed(NAMES)
    assert server.asked == [NAMES, NAMES]


def test_where_no_vector_is_missing_none_is_asked_for(tmp_path: Path) -> None:
    with embedding_endpoint.embedding() as server:
        with embedder(tmp_path, server.url) as embeds:
            before = embeds.embed(NAMES)
        server.asked.clear()
        with embedder(tmp_path, server.url) as embeds:
            assert (embeds.embed(NAMES[::-1]) == before[::-1]).all()
        assert server.asked == []
        server.listed = {"root": "/models/next"}
        with embedder(tmp_path, server.url) as embeds:
            embeds.embed(NAMES)
        assert server.texts == NAMES, "it says that it is another model"
    with pytest.raises(EndpointError, match="does not answer"):  # nobody knows what it is now
        embedder(tmp_path, server.url)


def test_many_texts_go_in_several_requests(tmp_path: Path) -> None:
    texts = [f"text number {number}" for number in range(150)]
    with embedding_endpoint.embedding() as server, embedder(tmp_path, server.url) as embeds:
        assert len(embeds.embed(texts)) == 150
    assert [len(asked) for asked in server.asked] == [64, 64, 22]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("missing", "gave vectors of texts [0, 1] where 3 were sent"),
        ("twice", "gave vectors of texts [0, 1] where 3 were sent"),
        ("nan", "no JSON"),
        ("zero", "nothing but zeros"),
        ("ragged", "unequal dimension"),
    ],
)
def test_what_is_no_vector_is_refused_and_not_kept(tmp_path: Path, fault: str, says: str) -> None:
    with (
        embedding_endpoint.embedding(fault) as server,
        embedder(tmp_path, server.url) as embeds,
        pytest.raises(AssayError) as caught,
    ):
        embeds.embed(NAMES)
    assert says in caught.value.fact
    assert list((tmp_path / "cache").rglob("*.sqlite")) == []


def test_a_dimension_that_changes_is_refused(tmp_path: Path) -> None:
    with (
        embedding_endpoint.embedding("longer") as server,
        embedder(tmp_path, server.url) as embeds,
    ):
        embeds.embed(NAMES[:1])
        with pytest.raises(EvaluationError, match="65 numbers, and of 64 before"):
            embeds.embed(NAMES)


def test_what_is_no_server_of_vectors_is_named(tmp_path: Path) -> None:
    with (
        embedding_endpoint.embedding("no-json") as server,
        embedder(tmp_path, server.url) as embeds,
        pytest.raises(EndpointError, match="no JSON"),
    ):
        embeds.embed(NAMES)


def test_a_text_that_is_too_long_is_cut_and_said(tmp_path: Path) -> None:
    heard, long = Heard(), "one two three four five six seven eight nine ten"
    with (
        embedding_endpoint.embedding("short-window") as server,
        embedder(tmp_path, server.url, heard) as embeds,
    ):
        found = embeds.embed([NAMES[0], long, NAMES[1]])
    whole = embedding_endpoint.vector(long[: len(long) // 2])
    assert found[1] == pytest.approx(np.array(whole) / np.linalg.norm(whole), abs=1e-6)
    assert heard.said == ["1 texts were longer than the embedding model takes, and were cut"]


def test_a_server_that_takes_no_text_at_all_is_no_server_of_vectors(tmp_path: Path) -> None:
    with (
        embedding_endpoint.embedding("refuses") as server,
        embedder(tmp_path, server.url) as embeds,
        pytest.raises(EvaluationError, match="not even a text of 12 letters"),
    ):
        embeds.embed(NAMES)
    assert len(server.asked) < 10


def test_a_blank_text_has_no_vector(tmp_path: Path) -> None:
    with embedding_endpoint.embedding() as server, embedder(tmp_path, server.url) as embeds:
        assert embeds.embed([]).shape[0] == 0
        with pytest.raises(ValueError, match="no vector"):
            embeds.embed(["word", " \n"])


def test_the_key_travels_and_is_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "sesame-open")
    with embedding_endpoint.embedding(key="sesame-open") as server:
        with embedder(tmp_path, server.url, key_variable=KEY_VARIABLE) as embeds:
            embeds.embed(NAMES)
        monkeypatch.setenv(KEY_VARIABLE, "sesame-shut")
        for version in ("1", None):
            with (
                pytest.raises(EndpointError) as caught,
                embedder(
                    tmp_path / "2", server.url, key_variable=KEY_VARIABLE, version=version
                ) as embeds,
            ):
                embeds.embed(NAMES)
    assert "does not accept the key" in caught.value.fact
    assert "sesame" not in str(caught.value)


class Ours:
    """A server of ours, started as vLLM is, which ends when it is told to."""

    def __init__(self, folder: Path, *faults: str) -> None:
        self.folder, self.faults = folder, faults
        self.marked = Marked()
        self.starts = 0

    @contextmanager
    def opened(self, started_before: int) -> Iterator[Source]:
        self.starts += 1
        port = ports.find_free()
        script = Path(embedding_endpoint.__file__)
        with (
            live.serve_command(
                [sys.executable, "-I", "-u", str(script), str(port), "embedding-1", *self.faults],
                manner=EMBEDDING, env=self.marked.env | {"VLLM_API_KEY": "k"}, port=port,
                served_name="embedding-1", api_key="k", chat=False, concurrency=1,
                device_name="a processor", timeout_seconds=60,
                log=self.folder / f"{started_before}.log", progress=PrintProgress(),
            ) as server,
            served(server) as source,
        ):  # fmt: skip
            yield source

    def embedder(self, restarts: int) -> Embedder:
        file = self.folder / "vectors.sqlite"
        return Embedder("i", file, self.opened, restarts=restarts, progress=PrintProgress())


def test_a_server_of_ours_is_started_late_verified_and_ended(tmp_path: Path) -> None:
    ours = Ours(tmp_path)
    with ours.embedder(0) as embeds:
        assert ours.marked.living() == []
        embeds.embed(NAMES)
        assert len(ours.marked.living()) == 2  # supervisor and server
        embeds.embed(["something else"])
        assert ours.starts == 1
    assert ours.marked.living() == []


def test_a_server_that_ends_is_started_again_and_asked_for_what_is_missing(tmp_path: Path) -> None:
    ours = Ours(tmp_path, "dies")  # each embeds one batch
    texts = [f"text number {number}" for number in range(130)]
    with ours.embedder(2) as embeds:
        assert len(embeds.embed(texts)) == 130
    assert ours.starts == 3
    assert ours.marked.living() == []


def test_a_server_that_ends_too_often_ends_the_task(tmp_path: Path) -> None:
    ours = Ours(tmp_path, "dies")
    texts = [f"text number {number}" for number in range(130)]
    with (
        pytest.raises(EvaluationError, match=r"could not be embedded\. The server ended") as caught,
        ours.embedder(1) as embeds,
    ):
        embeds.embed(texts)
    assert isinstance(caught.value.__cause__, AssayError)
    assert ours.starts == 2
    assert ours.marked.living() == []
    ours.faults = ()
    with ours.embedder(0) as embeds:  # what was embedded is there
        embeds.embed(texts[:128])
        assert ours.starts == 2


def test_a_server_that_makes_no_vectors_is_refused(tmp_path: Path) -> None:
    ours = Ours(tmp_path, "nan")
    with (
        pytest.raises(EvaluationError, match="became no vector"),
        ours.embedder(2) as embeds,
    ):
        embeds.embed(NAMES)
    assert ours.starts == 1
    assert ours.marked.living() == []
