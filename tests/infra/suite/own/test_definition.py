"""A file of rows is a task of lm-eval like any other: loaded, marked, keyed by its content."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import DatasetError, EvaluationError
from infra.contracts.progress import Silent
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.store.settings import Settings
from infra.suite import kind_of
from infra.suite.harness import keys
from infra.suite.own import definition
from infra.suite.own.definition import load
from infra.suite.own.kinds import KINDS

NAME = "house"

# Of libraries that read likeness to a reference.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache=tmp_path / "cache", runs=tmp_path / "runs")


def spec_of(file: Path, **fields: Any) -> EvaluationSpec:
    return EvaluationSpec(tasks=(TaskSpec(name=NAME, file=str(file), **fields),))


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def prepare(spec: EvaluationSpec, settings: Settings) -> Any:
    return kind_of(spec).prepare(spec, settings=settings, progress=Silent())


def key(spec: EvaluationSpec, settings: Settings) -> str | None:
    return kind_of(spec).keys(spec, settings=settings)[NAME]


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_an_oracle_scores_one_on_every_kind(tmp_path: Path, settings: Settings, kind: Any) -> None:
    for name, content in kind.beside.items():
        (tmp_path / name).write_text(content)
    suite = prepare(spec_of(write(tmp_path / "r.jsonl", *kind.example)), settings)
    assert suite.names == (NAME,)
    assert [note for note in suite.notes if "marking" in note] == []  # it was checked
    assert suite.first_metrics[NAME][0] == kind.metrics[0]
    assert {name: one.unit for name, one in suite.metrics(NAME).items()} == kind.units
    (questions,) = suite.questions
    first = next(iter(load(tmp_path / "r.jsonl").rows))["prompt"]
    assert questions.prompts[0].context == first


def test_questions_are_asked_word_for_word(tmp_path: Path, settings: Settings) -> None:
    asked = "{{ braces }} [1, 2] \\n\n  Größe 東京 {% if %}"
    file = write(tmp_path / "r.jsonl", {"question": asked, "answer": "[2, 3]"})
    suite = prepare(spec_of(file), settings)
    (task,) = suite.parts[NAME].tasks.values()
    (doc,) = task.eval_docs
    assert task.doc_to_text(doc) == asked
    assert task.doc_to_target(doc) == "[2, 3]"


def test_the_key_is_made_of_the_rows_and_not_of_the_path(
    tmp_path: Path, settings: Settings
) -> None:
    row = {"question": "q", "answer": "a"}
    first = key(spec_of(write(tmp_path / "one.jsonl", row)), settings)
    assert first is not None
    assert key(spec_of(write(tmp_path / "two.jsonl", row)), settings) == first
    assert key(spec_of(write(tmp_path / "two.jsonl", row | {"answer": "b"})), settings) != first
    (tmp_path / "one.yaml").write_text("description: 'Answer briefly. '\n")
    assert key(spec_of(tmp_path / "one.jsonl"), settings) not in (first, None)


@pytest.mark.parametrize("column", ["answer", "must_call"])
def test_the_key_is_the_same_wherever_the_cache_lies(
    tmp_path: Path, settings: Settings, column: str
) -> None:
    spec = spec_of(write(tmp_path / "r.jsonl", {"question": "q", column: "a"}))
    elsewhere = settings.model_copy(update={"cache": tmp_path / "another" / "cache"})
    assert key(spec, elsewhere) == key(spec, settings) is not None


def test_the_settings_beside_it_count(tmp_path: Path, settings: Settings) -> None:
    file = write(tmp_path / "r.jsonl", *({"question": f"q{n}", "answer": "a"} for n in range(4)))
    file.with_suffix(".yaml").write_text(
        'doc_to_text: "Frage: {{question}}"\ngeneration_kwargs: {until: ["!"], max_gen_toks: 9}\n'
    )
    suite = prepare(spec_of(file, num_fewshot=2), settings)
    (task,) = suite.parts[NAME].tasks.values()
    assert task.doc_to_text(next(iter(task.eval_docs))) == "Frage: q0"
    assert task.get_config("generation_kwargs")["until"] == ["!"]
    assert task.get_config("num_fewshot") == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "is no YAML"),
        ("process_docs: !function utils.x", "is no YAML"),
        ("- a", "holds a list"),
        ("dataset_path: json\n", "sets dataset_path"),
        ("output_type: loglikelihood\n", "sets output_type"),
        ("process_results: utils.x\ngroup: g\n", "sets group, process_results"),
        ("metadata: 3\n", "sets metadata to 3"),
        ("metadata: &a {x: *a}\n", "is no YAML"),
        ("? 1\n: 2\n", "sets 1"),
        ("metric_list: []\n", "sets metric_list"),
        ("metric_list: [{metric: bleu}]\n", "sets metric_list"),
        ("metric_list: [exact_match]\n", "sets metric_list"),
        ("metric_list: [{metric: exact_match, hf_evaluate: true}]\n", "sets metric_list"),
        ("metric_list: [{metric: ./code}]\n", "sets metric_list"),
    ],
)
def test_settings_that_are_none_are_refused(
    tmp_path: Path, settings: Settings, text: str, says: str
) -> None:
    file = write(tmp_path / "r.jsonl", {"question": "q", "answer": "a"})
    file.with_suffix(".yaml").write_text(text)
    with pytest.raises(EvaluationError, match=says):
        prepare(spec_of(file), settings)


def test_no_template_of_the_settings_runs_a_command(tmp_path: Path, settings: Settings) -> None:
    file = write(tmp_path / "r.jsonl", {"question": "q", "answer": "a"})
    made = tmp_path / "made"
    command = f"cycler.__init__.__globals__.os.system('touch {made}')"
    file.with_suffix(".yaml").write_text(f'description: "{{{{ {command} }}}}"\n')
    with pytest.raises(EvaluationError, match="unsafe"):
        prepare(spec_of(file), settings)
    assert not made.exists()


def test_a_version_of_ones_own_leaves_the_units_as_they_are(
    tmp_path: Path, settings: Settings
) -> None:
    file = write(tmp_path / "r.jsonl", {"question": "q", "must_call": "f"})
    file.with_suffix(".yaml").write_text("metadata: {version: 2}\n")
    found = prepare(spec_of(file), settings).metrics(NAME)
    assert {one.unit for one in found.values()} == {"points"}


@pytest.mark.parametrize("answer", ["2026-01-31", "2026-01-31 10:00:00", "12.50"])
def test_an_answer_stays_the_text_that_it_is(
    tmp_path: Path, settings: Settings, answer: str
) -> None:
    file = write(tmp_path / "r.jsonl", {"question": "q", "answer": answer, "gold": 1, "letters": 2})
    suite = prepare(spec_of(file), settings)
    (task,) = suite.parts[NAME].tasks.values()
    (doc,) = task.eval_docs
    assert doc == {"answer": answer, "gold": "1", "letters": "2", "prompt": "q", "question": "q"}
    assert [note for note in suite.notes if "marking" in note] == []


def test_a_file_that_is_written_while_it_is_read_leaves_nothing(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "r.jsonl", {"question": "q", "answer": "a"})

    def load_and_write(path: Path) -> Any:
        own = load(path)
        write(path, {"question": "other", "answer": "a"})
        return own

    monkeypatch.setattr(definition, "load", load_and_write)
    with pytest.raises(DatasetError, match="was written while it was read"):
        definition.written(NAME, str(file), settings)
    assert not [*settings.cache.rglob("*.parquet")]


def test_the_key_has_the_packages_that_mark(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(write(tmp_path / "r.jsonl", {"question": "q", "schema": {"type": "integer"}}))
    monkeypatch.setattr(keys, "versions", keys.versions.__wrapped__)  # as another process each
    first, version = key(spec, settings), importlib.metadata.version

    for package in ("jsonschema-rs", "sacrebleu"):

        def another(name: str, package: str = package) -> str:
            return "0.0" if name.replace("_", "-") == package else version(name)

        monkeypatch.setattr(importlib.metadata, "version", another)
        assert key(spec, settings) not in (first, None)
        monkeypatch.setattr(importlib.metadata, "version", version)
    assert key(spec, settings) == first


@pytest.mark.parametrize(
    "name",
    ["..", "a/../b", "/a", "a//b", "a\0b", "a\nb", "x" * 201, "a[b]", "a*", " ", "-a", "a:b"],
)
def test_a_name_that_is_no_name_of_a_file_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no name for a task of your own"):
        TaskSpec(name=name, file="rows.jsonl")


@pytest.mark.parametrize(
    "name", ["triage", "größe 2", "house/v1.2", "a-b_c+d@e", "x" * 200, "東" * 22]
)
def test_names_may_hold_what_names_of_files_do(
    tmp_path: Path, settings: Settings, name: str
) -> None:
    file = write(tmp_path / "r.jsonl", {"question": "q", "answer": "a"})
    spec = EvaluationSpec(tasks=(TaskSpec(name=name, file=str(file)),))
    suite = prepare(spec, settings)
    assert suite.names == (name,)
    (found,) = suite.rows.values()
    assert name.replace("/", "-") in found.origin


def test_a_bad_file_keeps_only_its_own_task_from_running(
    tmp_path: Path, settings: Settings
) -> None:
    spec = EvaluationSpec(
        tasks=(TaskSpec(name=NAME, file=str(tmp_path / "no.jsonl")), TaskSpec(name="gsm8k"))
    )
    kind = kind_of(spec)
    with pytest.raises(DatasetError, match="not there"):
        kind.line(spec.tasks[0], spec, settings=settings, progress=Silent())
    assert kind.line(spec.tasks[1], spec, settings=settings, progress=Silent()).tasks == ("gsm8k",)


def test_the_name_of_another_task_is_refused(tmp_path: Path, settings: Settings) -> None:
    file = write(tmp_path / "r.jsonl", {"question": "q", "answer": "a"})
    spec = EvaluationSpec(tasks=(TaskSpec(name="gsm8k", file=str(file)),))
    with pytest.raises(EvaluationError, match="as another task is"):
        prepare(spec, settings)


@pytest.mark.parametrize("name", ["assay_asks", "by_chance", "nothing_to_ask", "to_submit"])
def test_a_column_that_says_how_rows_are_marked_is_nobody_elses(tmp_path: Path, name: str) -> None:
    """What a row scores by chance, for one, decides how much of a score is left."""
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps({"question": "q", "answer": "a", name: 0.9}) + "\n")
    with pytest.raises(DatasetError, match=f"has a column called {name}"):
        load(file)
