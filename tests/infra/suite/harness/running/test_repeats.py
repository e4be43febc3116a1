from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from infra.contracts.progress import Silent
from infra.store.settings import Settings
from infra.suite.harness.suite import prepare
from infra.suite.rows import read_rows
from tests.infra.suite.harness import own_tasks
from tests.infra.suite.harness.completions_server import Completions, serving

DRAWN = """\
task: house_task
dataset_path: json
dataset_kwargs:
  data_files:
    test: rows.jsonl
test_split: test
output_type: generate_until
doc_to_text: "{{q}}"
doc_to_target: "{{choices[gold]}}"
generation_kwargs:
  until: ["\\n\\n"]
  do_sample: true
  temperature: 0.8
  max_gen_toks: 16
repeats: 3
filter_list:
  - name: all
    filter:
      - function: take_first_k
        k: 3
process_results: !function marks.votes
metric_list:
  - metric: votes
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
  units: {votes: points}
"""
MARKS = """\
def votes(doc, results):
    assert len(results[0]) == 3
    return {"votes": sum(doc["choices"][0] in text for text in results[0]) / 3}
"""


class Drawing(Completions):
    """A server whose texts depend on the seed, as those of a model do."""

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        answer = super().complete(body)
        for choice in answer["choices"]:
            choice["text"] = f"{body['seed'] % 1000} {sum(body['prompt'][0]) % 50}"
        return answer


def test_repeats_of_a_definition_are_answers_of_their_own(
    tmp_path: Path, settings: Settings, tokenizer: Path
) -> None:
    folder = own_tasks.write(tmp_path / "own", DRAWN, marks_py=MARKS)
    suite = prepare(own_tasks.own(folder), settings=settings, progress=Silent())
    # The oracle is asked as often, so that the marking was checked.
    assert suite.notes == ()
    with serving(Drawing()) as server:
        scores = suite.ask("house_task", server, tokenizer, tmp_path / "r.jsonl", Silent())
    rows = [*read_rows(tmp_path / "r.jsonl", "house_task")]
    assert scores.n == len(rows) == 6
    for row in rows:
        assert len({*row.responses[0]}) == 3
        assert row.filtered["all"] == row.responses
    assert len({body["seed"] for body in server.requests}) == len(server.requests) == 18
    assert {json.dumps(body["stop"]) for body in server.requests} == {'["\\n\\n"]'}
