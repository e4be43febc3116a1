from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from infra.contracts.errors import EvaluationError
from infra.contracts.progress import Silent
from infra.contracts.records import TaskScores
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.machine.energy import Meter
from infra.store.settings import Settings
from infra.suite.harness.suite import HarnessSuite, prepare
from infra.suite.port import AnswerFile
from infra.suite.rows import Documents, questions_digest, row_of
from tests.infra.suite.harness import own_tasks
from tests.infra.suite.harness.completions_server import Completions, serving
from tests.infra.suite.harness.conftest import Heard, evaluation
from tests.infra.suite.harness.stock import assert_the_same, stock
from tests.stand_in_driver import present

KEY = "the-key-of-this-run"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def suite(cache: Settings) -> HarnessSuite:
    spec = evaluation(
        TaskSpec(name="gsm8k", limit=12, max_gen_toks=64),
        TaskSpec(name="global_mmlu_en", limit=4, num_fewshot=2),
        TaskSpec(name="gpqa_main_zeroshot", limit=6),
    )
    return prepare(spec, settings=cache, progress=Silent())


@pytest.fixture
def ask(tokenizer: Path, tmp_path: Path) -> Callable[..., TaskScores]:
    def run(
        suite: HarnessSuite, name: str, server: Completions, heard: Heard | None = None
    ) -> TaskScores:
        return suite.ask(name, server, tokenizer, tmp_path / f"{name}.jsonl", heard or Silent())

    return run


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def right_now_and_then(prompt: list[int]) -> str:
    """Answer every third question like a worked example of the prompt, the others wrongly."""
    return f"I think it is {len(prompt)}.\n#### {len(prompt) % 300}"


@pytest.mark.parametrize("name", ["gsm8k", "global_mmlu_en"])
@pytest.mark.parametrize("chat", [False, True], ids=["plain", "chat"])
def test_scores_are_those_of_the_stock_harness(
    name: str,
    chat: bool,
    suite: HarnessSuite,
    cache: Settings,
    tokenizer: Path,
    tmp_path: Path,
    ask: Callable[..., TaskScores],
) -> None:
    conditions: dict[str, Any] = {}
    if chat:
        conditions = {"system_instruction": "Be brief.", "fewshot_as_multiturn": True}
        tasks = tuple(part.line for part in suite.parts.values())
        spec = evaluation(*tasks, chat_template=True, **conditions)
        suite = prepare(spec, settings=cache, progress=Silent())
    with serving(Completions(reply=right_now_and_then, window=9000)) as server:
        theirs = stock(suite, name, server, tokenizer, **conditions, apply_chat_template=chat)
        sent = sorted(json.dumps(r, sort_keys=True) for r in server.requests)
        server.requests.clear()
        ours = ask(suite, name, server)
        if name == "gsm8k":
            assert sorted(json.dumps(r, sort_keys=True) for r in server.requests) == sent
        else:
            assert len(server.requests) < len(sent) / 10
    assert_the_same(ours, theirs)
    rows = lines(tmp_path / f"{name}.jsonl")
    hashes = ("doc_hash", "prompt_hash", "target_hash")
    assert {(row["task"], *(row[h] for h in hashes)) for row in rows} == {
        (task, *(sample[h] for h in hashes))
        for task, samples in theirs["samples"].items()
        for sample in samples
    }


def test_the_record_of_a_task(
    suite: HarnessSuite, ask: Callable[..., TaskScores], tmp_path: Path
) -> None:
    with serving(Completions(reply=lambda prompt: "#### 5", finish_reason="length")) as server:
        scores = ask(suite, "gsm8k", server)
        assert server.keys == {f"Bearer {KEY}"}
        assert {r["max_tokens"] for r in server.requests} == {64}
    assert scores.primary_metric == "exact_match,strict-match"
    assert set(scores.metrics) == {"exact_match,strict-match", "exact_match,flexible-extract"}
    assert (scores.n, scores.num_fewshot, scores.version, scores.subtasks) == (12, 5, "3.0", {})
    assert scores.conditions == {
        "definition": suite.parts["gsm8k"].definition[:16],
        "limit": 12, "max_gen_toks": 64, "chat_template": False, "fewshot_as_multiturn": False,
        "system_instruction": None, "seed": 1234, "chat_template_kwargs": {},
        "moment": "2026-01-01 00:00:00", "add_bos_token": None, "prompts_begin_with": "",
    }  # fmt: skip
    assert scores.dataset.startswith("openai/gsm8k from /")
    assert (scores.samples, scores.truncated) == ("gsm8k.jsonl", 12)
    rows = lines(tmp_path / "gsm8k.jsonl")
    assert scores.questions == questions_digest(map(row_of, rows))
    assert [row["doc_id"] for row in rows] == list(range(12))
    first = rows[0]
    assert first["prompt"].endswith(f"Question: {first['doc']['question']}\nAnswer:")
    assert first["prompt"].count("Question:") == 6
    assert first["target"] == first["doc"]["answer"]
    assert first["responses"] == [["#### 5"]]
    assert first["filtered"] == {"strict-match": ["5"], "flexible-extract": ["5"]}
    assert first["metrics"].keys() == scores.metrics.keys()
    assert first["truncated"] is True
    assert KEY not in scores.model_dump_json() + (tmp_path / "gsm8k.jsonl").read_text()


@pytest.fixture
def metered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Completions]:
    """A server that takes 90 joules for each prompt, before it answers."""
    gpu = {"uuid": "GPU-1", "energy": 1_000}
    with present(tmp_path, [gpu], monkeypatch) as driver:
        one = Lock()

        def compute(number: int, body: dict[str, Any]) -> None:
            with one:
                driver.state["gpus"][0]["energy"] += 90_000 * len(body["prompt"])
                driver.write()

        meter = Meter(("GPU-1",), list)
        with serving(Completions(window=9000, trouble=compute, meter=meter)) as server:
            yield server


def test_the_energy_of_a_task_is_that_of_asking_its_rows(
    suite: HarnessSuite, ask: Callable[..., TaskScores], metered: Completions
) -> None:
    written = ask(suite, "gsm8k", metered)
    assert written.joules == 90 * len(metered.prompts) == 90 * written.n
    metered.requests.clear()
    group = ask(suite, "global_mmlu_en", metered)
    asked = [prompt for prompt in metered.prompts if len(prompt) > 1]  # one is a trial
    assert group.joules == 90 * len(asked) > 0
    assert {part.joules for part in group.subtasks.values()} == {None}, "asked together"
    metered.meter = None
    assert ask(suite, "gsm8k", metered).joules is None


def test_a_task_with_answers_from_before_has_no_energy_of_its_own(
    suite: HarnessSuite, tokenizer: Path, tmp_path: Path, metered: Completions
) -> None:
    answers = AnswerFile(tmp_path / "answers.sqlite", "one server")

    def told(only: Documents | None = None) -> tuple[float | None, int]:
        samples = tmp_path / "rows.jsonl"
        scores = suite.ask(
            "gsm8k", metered, tokenizer, samples, Silent(), answers, only=only
        )  # fmt: skip
        return scores.joules, scores.kept

    assert told({"gsm8k": [3]}) == (None, 0), "a part of the rows"
    assert told() == (None, 1), "the others"
    assert told() == (None, 12), "all are kept"
    assert len(metered.prompts) == 12
    answers.path.unlink()
    assert told() == (90 * 12, 0)


def test_the_record_of_a_group(
    suite: HarnessSuite, ask: Callable[..., TaskScores], tmp_path: Path
) -> None:
    with serving(Completions()) as server:
        scores = ask(suite, "global_mmlu_en", server)
        assert (
            sum(len(r["prompt"]) for r in server.requests) == 24 * 2 + 1
        )  # " A" are two bytes; the probe
    assert scores.n == scores.metrics["acc,none"].n == 24
    assert len(scores.subtasks) == 6
    assert {task.n for task in scores.subtasks.values()} == {4}
    assert all(task.conditions == scores.conditions for task in scores.subtasks.values())
    assert scores.conditions["limit"] == 4
    mean = sum(task.metrics["acc,none"].value for task in scores.subtasks.values()) / 6
    assert scores.metrics["acc,none"].value == pytest.approx(mean)
    assert len({task.questions for task in scores.subtasks.values()}) == 6
    row = lines(tmp_path / "global_mmlu_en.jsonl")[0]
    assert row["task"] == "global_mmlu_en_business"
    assert row["continuations"] == [" A", " B", " C", " D"]
    assert row["filtered"]["none"] == [response[0] for response in row["responses"]]


def test_the_answers_decide_the_scores_and_nothing_of_the_questions(
    suite: HarnessSuite, ask: Callable[..., TaskScores]
) -> None:
    with serving(Completions(reply=lambda prompt: "#### 5")) as server:
        one = ask(suite, "gsm8k", server)
    solutions = [doc["answer"] for doc in suite.parts["gsm8k"].tasks["gsm8k"].eval_docs][:12]
    with serving(Completions(reply=lambda prompt: solutions[0])) as server:
        other = ask(suite, "gsm8k", server)
    assert other.metrics["exact_match,strict-match"].value > 0
    assert one.metrics != other.metrics
    assert one.questions == other.questions


def test_progress_is_reported_and_the_terminal_left_alone(
    suite: HarnessSuite,
    ask: Callable[..., TaskScores],
    heard: Heard,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with serving(Completions()) as server:
        ask(suite, "global_mmlu_en", server, heard)
    assert heard.updates[-1] == ("global_mmlu_en", 24, 24, "documents")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("concurrency", "death"),
    [(1, {"die_after": 10}), (8, {"die_after": 10}), (8, {"hang_after": 10})],
    ids=["alone", "closed", "silent"],
)
def test_a_server_that_dies_is_noticed(
    concurrency: int,
    death: dict[str, int],
    cache: Settings,
    ask: Callable[..., TaskScores],
    tmp_path: Path,
) -> None:
    line = TaskSpec(name="gsm8k", limit=40, max_gen_toks=64)
    suite = prepare(evaluation(line, concurrency=concurrency), settings=cache, progress=Silent())
    with serving(Completions(**death)) as server, pytest.raises(EvaluationError) as failed:
        ask(suite, "gsm8k", server)
    assert failed.value.fact == (
        "The server died while it was asked gsm8k. The engine ended with exit code -9."
    )
    assert failed.value.cause == "Out of memory."
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_refuses_is_quoted_after_few_attempts(
    suite: HarnessSuite,
    ask: Callable[..., TaskScores],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving(Completions(fail_after=3)) as server, pytest.raises(EvaluationError) as failed:
        ask(suite, "gsm8k", server)
    assert "no room in the cache" in failed.value.fact
    assert "500" in failed.value.fact
    assert len(server.requests) < 50
    assert KEY not in f"{failed.value} {vars(failed.value)} {failed.value.__cause__!r}"
    assert failed.value.__suppress_context__
    gc.collect()  # what asyncio says of requests under way, it says here
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


@pytest.mark.parametrize(
    ("name", "remedy"), [("gsm8k", "max_gen_toks"), ("global_mmlu_en", "num_fewshot")]
)
def test_a_prompt_that_would_be_cut_is_refused_before_any_is_sent(
    name: str, remedy: str, suite: HarnessSuite, ask: Callable[..., TaskScores]
) -> None:
    window = Completions(window=300)
    with serving(window) as server, pytest.raises(EvaluationError, match="window") as refused:
        ask(suite, name, server)
    assert server.requests == []
    assert remedy in refused.value.remedy
    assert name in refused.value.fact


def test_a_tokenizer_without_a_chat_template_is_refused(
    cache: Settings, tokenizer: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    bare = AutoTokenizer.from_pretrained(tokenizer)
    bare.chat_template = None
    bare.save_pretrained(tmp_path / "bare")
    spec = evaluation(TaskSpec(name="gpqa_main_zeroshot", limit=2), chat_template=True)
    suite = prepare(spec, settings=cache, progress=Silent())
    with serving(Completions()) as server, pytest.raises(EvaluationError, match="no chat template"):
        suite.ask("gpqa_main_zeroshot", server, tmp_path / "bare", tmp_path / "s.jsonl", Silent())


def test_a_task_that_says_nothing_of_its_answers_may_use_1024_tokens(
    cache: Settings, ask: Callable[..., TaskScores]
) -> None:
    spec: EvaluationSpec = evaluation(TaskSpec(name="gpqa_main_cot_zeroshot", limit=2))
    suite = prepare(spec, settings=cache, progress=Silent())
    with serving(Completions()) as server:
        ask(suite, "gpqa_main_cot_zeroshot", server)
        assert {request["max_tokens"] for request in server.requests} == {1024}


def test_what_fails_here_is_not_blamed_on_the_server(
    cache: Settings, tokenizer: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    picky = AutoTokenizer.from_pretrained(tokenizer)
    picky.chat_template = "{{ raise_exception('Only one turn, please') }}"
    picky.save_pretrained(tmp_path / "picky")
    spec = evaluation(
        TaskSpec(name="global_mmlu_en", limit=2), chat_template=True, system_instruction="Be brief."
    )
    suite = prepare(spec, settings=cache, progress=Silent())
    with serving(Completions()) as server, pytest.raises(EvaluationError) as failed:
        suite.ask("global_mmlu_en", server, tmp_path / "picky", tmp_path / "s", Silent())
    assert server.requests == []
    assert failed.value.fact.startswith("global_mmlu_en_")
    assert "TemplateError: Only one turn, please" in failed.value.fact
    assert "not in the server" in failed.value.cause
    assert "log" not in failed.value.remedy


def test_a_mark_that_fails_is_not_blamed_on_the_server(
    cache: Settings, ask: Callable[..., TaskScores], tmp_path: Path
) -> None:
    definition = own_tasks.DEFINITION.replace("multiple_choice", "generate_until").replace(
        "metric_list:", "process_results: !function marks.mark\nmetric_list:"
    )
    marks = """
def mark(doc, results):
    points = {"A": 1, "B": 0}
    return {"acc": points[results[0]]}
"""
    spec = own_tasks.own(own_tasks.write(tmp_path / "own", definition, marks_py=marks))
    suite = prepare(spec, settings=cache, progress=Silent())
    server = Completions(reply=lambda prompt: "neither")
    with serving(server), pytest.raises(EvaluationError) as failed:
        ask(suite, own_tasks.NAME, server)
    assert "house_task could not be put or marked: KeyError: 'neither'" in failed.value.fact
    assert "in mark, and not in the server" in failed.value.cause
    assert "log" not in failed.value.remedy


def test_arms_under_other_conditions_are_not_compared(
    cache: Settings, tokenizer: Path, tmp_path: Path
) -> None:
    from infra.contracts.errors import ComparisonError
    from infra.judging.pairing import paired_rows

    line = TaskSpec(name="gpqa_main_zeroshot", limit=2)
    (tmp_path / "samples").mkdir()

    def evaluated(name: str, **fields: Any) -> TaskScores:
        suite = prepare(evaluation(line, **fields), settings=cache, progress=Silent())
        samples = tmp_path / "samples" / name
        with serving(Completions()) as server:
            scores = suite.ask(line.name, server, tokenizer, samples, Silent())
        return scores.model_copy(update={"samples": f"samples/{name}"})

    one = evaluated("one", chat_template=True)
    for number, fields in enumerate(
        ({"chat_template_kwargs": {"x": 1}}, {"moment": "2027-01-01T00:00:00"},
         {"add_bos_token": False})
    ):  # fmt: skip
        other = evaluated(str(number), chat_template=True, **fields)
        with pytest.raises(ComparisonError, match=f"differs in {next(iter(fields))}"):
            paired_rows(one, other, tmp_path)
    new = ("chat_template_kwargs", "moment", "add_bos_token", "prompts_begin_with")
    before = {name: value for name, value in one.conditions.items() if name not in new}
    old = one.model_copy(update={"conditions": before})
    assert len(paired_rows(old, one, tmp_path)) == len(paired_rows(one, old, tmp_path)) == 2


def test_a_picture_beside_a_question_is_kept_as_its_digest(tokenizer: Path, tmp_path: Path) -> None:
    from datasets import Dataset, Features, Image, Value
    from PIL import Image as Pictures

    definition = own_tasks.DEFINITION.replace("rows.jsonl", "rows.parquet").replace(
        "dataset_path: json", "dataset_path: parquet"
    )
    definition = definition.replace("{{choices}}", "{{[q, q ~ '!']}}").replace("{{gold}}", "0")
    folder = own_tasks.write(tmp_path / "own", definition)
    picture = Pictures.new("RGB", (4, 4), "red")
    features = Features({"q": Value("string"), "picture": Image()})
    rows = {"q": ["What is red?"], "picture": [picture]}
    Dataset.from_dict(rows, features).to_parquet(folder / "rows.parquet")
    suite = prepare(own_tasks.own(folder), settings=Settings(cache=tmp_path / "c"),
                    progress=Silent())  # fmt: skip
    with serving(Completions()) as server:
        suite.ask(own_tasks.NAME, server, tokenizer, tmp_path / "rows.jsonl", Silent())
    [row] = lines(tmp_path / "rows.jsonl")
    assert len(row["doc"]["picture"]) == 64
