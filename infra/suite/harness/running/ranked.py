"""Tasks whose answers rank a list, by the nearness of an answer's vector to those of the list.

A definition names the list in its metadata (`ranks`), a file beside it with `ids` and `names`.
Where something embeds, its marking is replaced while it runs: all answers of a task are embedded at
once, when all of them are there; the names of the list once for all arms.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from infra.engines.embeddings import Embedder
from infra.scoring.sampling import document_of, is_sampled, seed_of, turn_of
from infra.suite.harness.part import Part
from infra.suite.own import ranking
from infra.suite.own.retrieval import DRAWN, RANKED, ROW

_CHANGED = ("apply_filters", "process_results")

Embed = Callable[[Sequence[str]], "ranking.Numbers"]


@contextmanager
def ranked(part: Part, embedder: Embedder | None, seed: int) -> Iterator[None]:
    """Have tasks that rank a list marked by vectors, while the block lasts.

    Args:
        part: Its tasks are changed, and changed back.
        embedder: Makes vectors; without one they are marked as their definition says.
        seed: Of the run, which tells that of each answer.
    """
    lists = {leaf.name: (leaf.definition, leaf.ranks) for leaf in part.entry.leaves if leaf.ranks}
    if embedder is None or not lists:
        yield
        return
    try:
        for name, (definition, file) in lists.items():
            assert definition is not None and file is not None  # noqa: S101 -- it names the list
            task = part.tasks[name]
            marking = Marking(Path(definition).with_name(file), embedder.embed, seed)
            task.apply_filters = marking.after(task)
            task.process_results = marking.mark
        yield
    finally:
        for name in lists:
            for method in _CHANGED:
                part.tasks[name].__dict__.pop(method, None)


class Marking:
    """Marks the answers to one task."""

    def __init__(self, file: Path, embed: Embed, seed: int) -> None:
        """Read the list.

        Args:
            file: JSON with `ids` and `names`.
            embed: Makes vectors of texts that are not blank.
            seed: Of the run.
        """
        self._seed = seed
        self._drawn: dict[str, deque[str]] = {}
        listed = json.loads(file.read_text(encoding="utf-8"))
        self._ids: list[str] = listed["ids"]
        self._names: list[str] = listed["names"]
        self._embed = embed
        self._places = {number: place for place, number in enumerate(self._ids)}
        self._vectors: dict[str, ranking.Numbers] = {}
        self._of_names: ranking.Numbers = np.zeros((0, 0))

    def after(self, task: Any) -> Callable[[], Any]:
        """Return the task's own filtering, after which all answers are embedded."""
        filtering = task.apply_filters

        def apply() -> Any:
            done = filtering()
            self._drawn = defaultdict(deque)
            for one in sorted(task.instances, key=turn_of):
                self._drawn[one.doc[ROW]].append(self._how(one))
            self.embed(
                text
                for request in task.instances
                for answers in request.filtered_resps.values()
                for text in said(answers)
            )
            return done

        return apply

    def _how(self, request: Any) -> str:
        """Return with what the answers to a document were drawn, as JSON."""
        _, given = request.args
        document, times = document_of(request), len(request.resps)
        first = turn_of(request) * times
        drawn = [
            seed_of(given.get("seed", self._seed), document, number)
            for number in range(first, first + times)
        ]
        return json.dumps({"settings": given, "seeds": drawn if is_sampled(given) else []})

    def embed(self, answers: Iterator[str]) -> None:
        """Embed the list, and answers."""
        texts = list(dict.fromkeys(answers))
        vectors = self._embed([*self._names, *texts])
        self._of_names = vectors[: len(self._names)]
        self._vectors = dict(zip(texts, vectors[len(self._names) :], strict=True))

    def mark(self, doc: dict[str, Any], answers: Sequence[Any]) -> Mapping[str, float]:
        """Rank the list by all answers to a document, write the ranking into it, and score it.

        An answer in which nothing stands ranks nothing. Where all are such, there is no ranking:
        the right one has the last place.
        """
        drawn = self._drawn.get(doc[ROW])  # each asking is marked in its turn
        doc[DRAWN] = drawn.popleft() if drawn else ""
        texts = said(answers[0])
        order = np.arange(len(self._ids))
        if texts:
            ballots = np.stack([self._vectors[text] for text in texts]) @ self._of_names.T
            order = ranking.ranking(ballots)
        doc[RANKED] = " ".join(self._ids[number] for number in order[: ranking.AT])
        if not doc["right_id"]:
            return {"answered": len(texts) / len(answers[0])}
        right = self._places[doc["right_id"]]
        place = int(np.flatnonzero(order == right)[0]) + 1 if texts else len(self._ids)
        precision = ranking.precision_of_place(place) if texts else 0.0
        return {
            "map_at_25": precision,
            "recall_at_25": float(precision > 0),
            "rank": float(place),
        }


def said(answers: Any) -> list[str]:
    """Return the answers to a document in which something stands, without thoughts and spaces.

    One that ends within a thought says nothing.
    """
    given = answers if isinstance(answers, list) else [answers]
    texts = (text.rpartition("</think>")[2].strip() for text in given)
    return [text for text in texts if text and "<think>" not in text]
