"""Makes a task's documents a pure function of its rows.

A task may draw random numbers while it prepares its documents, and lm-eval prepares them several
times: for the questions, for the marking, for the worked examples. If the draws differ, questions
are marked against the key of another shuffle; only a cache that happens to be warm hides it. Draws
from the interpreter's own generator also depend on what ran before, so two arms in two processes
are asked different questions.

Here documents are prepared once for each split. A task that moves no generator keeps exactly the
documents it has in lm-eval. One that does is run again with every generator it can reach set anew
from the content of each row it is handed, whatever came before.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import inspect
import json
import pickle
import random
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from datasets import Dataset, disable_caching, enable_caching, is_caching_enabled

from infra.contracts.errors import EvaluationError

Prepare = Callable[[Dataset], Dataset]
Generator = random.Random | np.random.RandomState | np.random.Generator
_ATTEMPTS = 3


def prepared_once(prepare: Prepare, task: str) -> Prepare:
    """Return a function that prepares each dataset once, purely, and remembers the result.

    Args:
        prepare: `process_docs` of a task.
        task: Its name, for the error.
    """
    done: dict[int, tuple[Dataset, Dataset]] = {}  # the dataset is kept, so its id stays its own

    @functools.wraps(prepare)
    def once(dataset: Dataset) -> Dataset:
        if id(dataset) not in done:
            done[id(dataset)] = dataset, prepare_purely(prepare, dataset, task)
        return done[id(dataset)][1]

    return once


def prepare_purely(prepare: Prepare, dataset: Dataset, task: str) -> Dataset:
    """Return the documents that a task makes of a dataset, as a function of its rows alone.

    Raises:
        EvaluationError: The documents differ from one call to the next all the same.
    """
    generators = _reachable(prepare)
    with _without_cache(), _restored(generators):
        before = _states(generators)
        documents = prepare(dataset)
        if _states(generators) == before:
            return documents
        # Another thread may draw from the interpreter's generator at the same time, so a result
        # counts when it has come out twice.
        last = _seeded(prepare, dataset, generators)
        for _ in range(_ATTEMPTS):
            documents, last = last, _seeded(prepare, dataset, generators)
            if _same(documents, last):
                return documents
    raise EvaluationError(
        f"The documents of {task} differ each time they are prepared.",
        cause="The task draws random numbers from a source that cannot be set.",
        remedy="Leave the task out: its scores could not be compared.",
    )


def _seeded(prepare: Prepare, dataset: Dataset, generators: list[Generator]) -> Dataset:
    def seed(content: Any) -> None:
        text = json.dumps(content, sort_keys=True, default=repr)
        _set(generators, int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]))

    view = _SeedingDataset.over(dataset, seed)
    seed([len(dataset), dataset.column_names])
    documents = prepare(view)
    if isinstance(documents, _SeedingDataset):
        documents = documents.plain()
    return documents


class _SeedingDataset(Dataset):  # type: ignore[misc]
    """A dataset that calls `seed` with each row before it hands the row out."""

    _seed: Callable[[Any], None]

    @classmethod
    def over(cls, dataset: Dataset, seed: Callable[[Any], None]) -> Self:
        view = copy.copy(dataset)
        view.__class__ = cls
        view._seed = seed
        return view  # type: ignore[no-any-return]

    def plain(self) -> Dataset:
        plain = copy.copy(self)
        plain.__class__ = Dataset
        del plain._seed
        return plain

    def __iter__(self) -> Iterator[Any]:
        for row in self.plain():
            self._seed(row)
            yield row

    def __getitem__(self, key: Any) -> Any:
        row = self.plain()[key]
        if isinstance(key, int):
            self._seed(row)
        return row

    def map(self, function: Callable[..., Any], *args: Any, **options: Any) -> Dataset:
        return self._apply("map", function, args, options)

    def filter(self, function: Callable[..., Any], *args: Any, **options: Any) -> Dataset:
        return self._apply("filter", function, args, options)

    def _apply(
        self, method: str, function: Callable[..., Any], args: Any, options: dict[str, Any]
    ) -> Dataset:
        def seeded(row: Any, *rest: Any) -> Any:
            self._seed(dict(row))
            return function(row, *rest)

        # In processes of its own the function would draw from copies of the generators.
        options |= {"num_proc": None, "new_fingerprint": uuid.uuid4().hex}
        result = getattr(self.plain(), method)(seeded, *args, **options)
        return self.over(result, self._seed)


def _reachable(prepare: Prepare) -> list[Generator]:
    """Return the interpreter's generators and those in the modules that the function is from."""
    found: dict[int, Generator] = {
        id(generator): generator for generator in (random._inst, np.random.mtrand._rand)
    }
    function: Any = inspect.unwrap(prepare)
    while isinstance(function, functools.partial):
        function = inspect.unwrap(function.func)
    function = getattr(function, "__func__", function)
    reach = [
        *getattr(function, "__globals__", {}).values(),
        *(cell.cell_contents for cell in getattr(function, "__closure__", None) or ()),
        *(getattr(function, "__defaults__", None) or ()),
    ]
    for value in reach:
        if isinstance(value, Generator) and not isinstance(value, random.SystemRandom):
            found[id(value)] = value
    return list(found.values())


def _states(generators: list[Generator]) -> list[bytes]:
    return [pickle.dumps(_state(generator)) for generator in generators]


def _state(generator: Generator) -> Any:
    if isinstance(generator, random.Random):
        return generator.getstate()
    if isinstance(generator, np.random.RandomState):
        return generator.get_state()
    return generator.bit_generator.state


def _set(generators: list[Generator], seed: int) -> None:
    for generator in generators:
        if isinstance(generator, np.random.Generator):
            generator.bit_generator.state = type(generator.bit_generator)(seed).state
        else:
            generator.seed(seed)


@contextmanager
def _restored(generators: list[Generator]) -> Iterator[None]:
    before = [copy.deepcopy(_state(generator)) for generator in generators]
    try:
        yield
    finally:
        for generator, state in zip(generators, before, strict=True):
            if isinstance(generator, random.Random):
                generator.setstate(state)
            elif isinstance(generator, np.random.RandomState):
                generator.set_state(state)
            else:
                generator.bit_generator.state = state


@contextmanager
def _without_cache() -> Iterator[None]:
    """Let `map` and `filter` run, instead of handing out what an earlier process got."""
    enabled = is_caching_enabled()
    disable_caching()
    try:
        yield
    finally:
        if enabled:
            enable_caching()


def _same(one: Dataset, other: Dataset) -> bool:
    return bool(one.features == other.features and one.to_list() == other.to_list())
