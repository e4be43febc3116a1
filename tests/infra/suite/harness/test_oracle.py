from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from lm_eval.api.instance import Instance
from lm_eval.evaluator import evaluate, simple_evaluate
from lm_eval.tasks import TaskManager
from lm_eval.utils import hash_string

from infra.contracts.errors import DatasetError, EvaluationError, MarkingError
from infra.contracts.progress import Silent
from infra.contracts.specs import TaskSpec
from infra.store.settings import Settings
from infra.suite.harness import remembered
from infra.suite.harness.keys import suite_entries
from infra.suite.harness.libraries.quiet import quiet
from infra.suite.harness.oracle import Oracle
from infra.suite.harness.rows.redirecting import write_definitions
from infra.suite.harness.rows.sources import find_rows
from infra.suite.harness.suite import HarnessSuite, prepare
from infra.suite.rows import question_of
from tests.infra.suite.harness import own_tasks
from tests.infra.suite.harness.conftest import DATA, evaluation
from tests.infra.suite.harness.raw_oracle import RawOracle

SUITE = evaluation(
    TaskSpec(name="gsm8k", limit=60),
    "global_mmlu_en",
    "gpqa_main_zeroshot",
    TaskSpec(name="gpqa_main_n_shot", num_fewshot=3),
    "gpqa_main_cot_zeroshot",
)


def oracle_scores(suite: HarnessSuite) -> dict[str, float]:
    """Return what the oracle scores, in the first metric of each part."""
    scores = {}
    with quiet():
        for name, part in suite.parts.items():
            for task in part.tasks.values():
                task.set_fewshot_seed(suite.spec.seed)
            results = evaluate(
                RawOracle(DATA), part.loaded, limit=part.line.limit, bootstrap_iters=0
            )["results"][name]
            scores[name] = results.get("acc,none", results.get("exact_match,strict-match"))
    return scores


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(cache=tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("cache", ["fresh", "used"])
def test_an_oracle_scores_one(cache: str, used: Settings) -> None:
    assert (used.cache / "rows").exists() == (cache == "used")
    suite = prepare(SUITE, settings=used, progress=Silent())
    assert suite.notes == ()
    assert oracle_scores(suite) == dict.fromkeys(suite.names, 1.0)


def test_the_documents_do_not_depend_on_what_is_loaded_beside_it(used: Settings) -> None:
    alone = evaluation(TaskSpec(name="gpqa_main_n_shot", num_fewshot=3))
    left = prepare(SUITE, settings=used, progress=Silent()).parts["gpqa_main_n_shot"].tasks
    right = prepare(alone, settings=used, progress=Silent()).parts["gpqa_main_n_shot"].tasks
    (one,), (other,) = left.values(), right.values()
    assert one.eval_docs.to_list() == other.eval_docs.to_list()


def test_one_question_is_the_same_in_every_task_that_asks_it(used: Settings) -> None:
    """A verdict would count it as new evidence otherwise."""
    names = [f"gpqa_main_{how}" for how in ("zeroshot", "n_shot", "cot_zeroshot")]
    spec = evaluation(*names, "gpqa_main_generative_n_shot")
    parts = prepare(spec, settings=used, progress=Silent()).parts
    documents = [
        [(doc, hash_string(json.dumps(doc))) for doc in task.eval_docs.to_list()]
        for part in parts.values()
        for task in part.tasks.values()
    ]
    questions = [[question_of(*document) for document in task] for task in documents]
    assert len(questions) == 4
    assert questions[0] == questions[1] == questions[2] == questions[3]
    assert len(set(questions[0])) == len(questions[0]) > 100
    hashes = [{digest for _, digest in task} for task in documents]
    assert not hashes[0] & hashes[2]  # lm-eval's own tell them apart


def test_the_stock_harness_marks_against_another_key_in_a_fresh_cache(settings: Settings) -> None:
    """Why documents are prepared once: the same oracle, the same rows, lm-eval as it is."""
    spec = evaluation("gpqa_main_n_shot")
    entries = [entry for entry, _ in suite_entries(spec, Settings()).values()]
    rows = find_rows(entries, spec, settings=settings, progress=Silent())
    definitions = write_definitions(entries, rows, settings)
    with quiet():
        stock = simple_evaluate(
            RawOracle(DATA),
            tasks=["gpqa_main_n_shot"],
            task_manager=TaskManager(include_path=str(definitions), include_defaults=False),
            bootstrap_iters=0,
        )
    assert stock is not None
    assert stock["results"]["gpqa_main_n_shot"]["acc,none"] < 0.5


def test_an_answer_that_is_no_choice_is_found_before_scoring(
    settings: Settings, rows: Callable[..., Path]
) -> None:
    name = "CohereLabs/Global-MMLU-Lite/en/test.jsonl"
    lines = (DATA / name).read_text().splitlines()
    wrong = json.dumps({**json.loads(lines[0]), "answer": "E"})
    data = rows(**{name: "\n".join([wrong, *lines[1:]])})
    with pytest.raises(MarkingError, match="acc,none of global_mmlu_en_business") as refused:
        prepare(evaluation("global_mmlu_en", data=data), settings=settings, progress=Silent())
    assert "counted from 0: 0." in refused.value.cause


def test_worked_examples_that_the_marking_cannot_read_are_found(
    settings: Settings, rows: Callable[..., Path]
) -> None:
    name = "openai/gsm8k/main/test.jsonl"
    data = rows(**{name: (DATA / name).read_text().replace("#### ", "So it is ")})
    with pytest.raises(MarkingError, match="its own worked examples"):
        prepare(evaluation("gsm8k", data=data), settings=settings, progress=Silent())


def test_a_single_unreadable_answer_is_found(settings: Settings, rows: Callable[..., Path]) -> None:
    name = "openai/gsm8k/main/test.jsonl"
    lines = (DATA / name).read_text().splitlines()
    lines[3] = lines[3].replace("#### ", "#### about ")
    data = rows(**{name: "\n".join(lines)})
    line = TaskSpec(name="gsm8k", limit=10)
    with pytest.raises(MarkingError) as refused:
        prepare(evaluation(line, data=data), settings=settings, progress=Silent())
    assert "counted from 0: 3." in refused.value.cause


@pytest.mark.parametrize(
    ("task", "file", "field", "error"),
    [
        ("gsm8k", "openai/gsm8k/main/test.jsonl", "answer", MarkingError),
        (
            "global_mmlu_en",
            "CohereLabs/Global-MMLU-Lite/en/test.jsonl",
            "question",
            DatasetError,
        ),
    ],
)
def test_a_row_with_an_empty_field_is_found(
    task: str,
    file: str,
    field: str,
    error: type[EvaluationError],
    settings: Settings,
    rows: Callable[..., Path],
) -> None:
    lines = (DATA / file).read_text().splitlines()
    lines[2] = json.dumps({**json.loads(lines[2]), field: None})
    spec = evaluation(TaskSpec(name=task, limit=4), data=rows(**{file: "\n".join(lines)}))
    with pytest.raises(error, match=task):
        prepare(spec, settings=settings, progress=Silent())


def test_a_crammer_needs_the_right_files() -> None:
    """The oracle knows nothing else: it fails where a file names another answer."""
    with (DATA / "Idavidrein" / "gpqa" / "gpqa_main.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    prompt = (
        f"What is the correct answer to this question:{row['Question']}\nChoices:\n"
        f"(A) {row['Incorrect Answer 1']}\n(B) {row['Correct Answer']}\n(C) x\n(D) y\nAnswer:"
    )
    assert RawOracle(DATA).answer(prompt) == "(B)"


def test_rows_are_marked_once_as_long_as_nothing_that_decides_it_changes(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked: list[int] = []
    answer = Oracle.loglikelihood

    def count(self: Oracle, requests: list[Instance]) -> list[tuple[float, bool]]:
        marked.append(len({one.doc_id for one in requests}))
        return answer(self, requests)

    def load() -> HarnessSuite:
        return prepare(own_tasks.own(folder), settings=settings, progress=Silent())

    monkeypatch.setattr(Oracle, "loglikelihood", count)
    folder = own_tasks.write(tmp_path / "own")
    first, again = load(), load()
    assert marked == [6]
    assert (again.notes, again.questions) == (first.notes, first.questions)
    monkeypatch.setattr(remembered, "packages", lambda: "one more is installed")
    load()
    assert marked == [6, 6]
    wrong = [*own_tasks.rows(), {"q": "What?", "choices": ["1", "2"], "gold": 7}]
    own_tasks.write_rows(folder / "rows.jsonl", wrong)
    with pytest.raises(MarkingError, match="An oracle scores"):
        load()


def test_code_of_the_user_s_own_is_tried_each_time(tmp_path: Path, settings: Settings) -> None:
    """It may keep a state, which would be another one where it was not tried."""
    state = "import itertools\n\nWAYS = itertools.cycle('abcde')\n\ndef ask(doc):\n"
    state += "    return f\"{next(WAYS)} {doc['q']}\"\n"
    folder = own_tasks.write(tmp_path / "own", own_tasks.CODED, utils_py=state)
    first, again = (
        prepare(own_tasks.own(folder), settings=settings, progress=Silent()) for _ in range(2)
    )
    assert first.keys == again.keys
    one, other = (list(suite.texts(0)[0]) for suite in (first, again))
    assert one == other
