from __future__ import annotations

import functools
import random
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from datasets import Dataset

from infra.contracts.errors import EvaluationError
from infra.suite.harness.loading.purity import prepare_purely, prepared_once

ROWS = Dataset.from_list([{"number": n, "options": [f"{n}{o}" for o in "abcd"]} for n in range(40)])
own = random.Random(42)
fresh = np.random.default_rng(7)


def by_map(draw: Callable[[list[str]], Any]) -> Callable[[Dataset], Dataset]:
    def prepare(rows: Dataset) -> Dataset:
        def shuffled(row: dict[str, Any]) -> dict[str, Any]:
            options = list(row["options"])
            draw(options)
            return {"options": options}

        return rows.map(shuffled)

    return prepare


def with_own_generator(rows: Dataset) -> Dataset:
    return rows.map(lambda row: {"options": own.sample(row["options"], 4)})


def with_numpy(rows: Dataset) -> Dataset:
    return rows.map(lambda row: {"options": list(np.random.permutation(row["options"]))})


def with_numpy_generator(rows: Dataset) -> Dataset:
    return rows.map(lambda row: {"options": list(fresh.permutation(row["options"]))})


def in_a_loop(rows: Dataset) -> Dataset:
    return Dataset.from_list(
        [{**row, "options": random.sample(row["options"], 4)} for row in rows], rows.features
    )


def by_index(rows: Dataset, size: int) -> Dataset:
    return Dataset.from_list(
        [{**rows[i], "options": random.sample(rows[i]["options"], size)} for i in range(len(rows))]
    )


DRAWING = [
    by_map(random.shuffle),
    with_own_generator,
    with_numpy,
    with_numpy_generator,
    in_a_loop,
    functools.partial(by_index, size=4),
]


@pytest.mark.parametrize("prepare", DRAWING)
def test_drawn_documents_depend_on_their_row_alone(prepare: Callable[..., Dataset]) -> None:
    whole = prepare_purely(prepare, ROWS, "t").to_list()
    random.seed(99)
    np.random.seed(99)
    own.seed(99)
    assert prepare_purely(prepare, ROWS, "t").to_list() == whole
    assert prepare_purely(prepare, ROWS.select(range(7, 19)), "t").to_list() == whole[7:19]
    orders = {tuple(option[-1] for option in row["options"]) for row in whole}
    assert len(orders) > 10  # they are drawn indeed
    assert [row["number"] for row in whole] == list(range(40))


@pytest.mark.parametrize("prepare", DRAWING)
def test_the_generators_are_left_as_they_were(prepare: Callable[..., Dataset]) -> None:
    before = random.getstate(), own.getstate(), fresh.bit_generator.state
    numbers = np.random.get_state()[1].tolist()
    prepare_purely(prepare, ROWS, "t")
    assert (random.getstate(), own.getstate(), fresh.bit_generator.state) == before
    assert np.random.get_state()[1].tolist() == numbers


def test_what_is_drawn_from_the_whole_depends_on_the_rows_alone() -> None:
    shuffled = prepare_purely(lambda rows: rows.shuffle(), ROWS, "t")["number"]
    assert list(shuffled) != list(range(40))
    np.random.seed(5)
    assert prepare_purely(lambda rows: rows.shuffle(), ROWS, "t")["number"] == shuffled


def test_a_task_that_draws_nothing_keeps_its_documents_and_is_run_once() -> None:
    calls = []

    def prepare(rows: Dataset) -> Dataset:
        calls.append(len(rows))
        return rows.shuffle(seed=3).filter(lambda row: row["number"] % 2)

    once = prepared_once(prepare, "t")
    documents = once(ROWS)
    assert once(ROWS) is documents
    assert calls == [40]
    assert documents.to_list() == prepare(ROWS).to_list()
    assert type(documents) is Dataset


def test_the_map_cache_of_an_earlier_process_is_not_read(tmp_path: Any) -> None:
    """It would hide that documents are drawn, and hand out another process's draw."""
    ROWS.to_json(tmp_path / "rows.jsonl")
    rows = Dataset.from_json(str(tmp_path / "rows.jsonl"), cache_dir=str(tmp_path / "cache"))
    stale = rows.map(count)
    seen.clear()
    assert rows.map(count).to_list() == stale.to_list()
    assert seen == []  # the cache is there and is read outside
    prepare_purely(lambda rows: rows.map(count), rows, "t")
    assert len(seen) == 40


seen: list[int] = []


def count(row: dict[str, Any]) -> dict[str, Any]:
    seen.append(row["number"])
    return {"again": row["number"]}


def test_what_cannot_be_made_pure_is_refused() -> None:
    def prepare(rows: Dataset) -> Dataset:
        random.random()
        return Dataset.from_list([{"id": uuid.uuid4().hex} for _ in rows])

    with pytest.raises(EvaluationError, match="differ each time"):
        prepare_purely(prepare, ROWS, "t")
