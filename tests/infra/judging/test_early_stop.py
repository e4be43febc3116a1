"""Evaluations that end as soon as the verdict is certain, and what a report says of them."""

from __future__ import annotations

import ast
import itertools
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from infra import report
from infra.contracts.errors import ComparisonError, EvaluationError
from infra.contracts.progress import Silent
from infra.contracts.records import ArmResult, Judgement, Pair, Report, TaskScores
from infra.contracts.specs import TaskSpec, VerdictSpec
from infra.judging import answered_rows, comparison, early_stop, evidence
from infra.judging.pairing import RunRows
from infra.judging.sequential import lower_limits
from infra.judging.verdict import decide
from infra.report import receipt
from infra.store.content import digest_of
from infra.store.settings import Settings
from infra.suite.harness.suite import HarnessSuite, prepare
from infra.suite.port import AnswerFile
from infra.suite.rows import questions_digest, row_of
from tests.infra.made_runs import GROUP, make_row, make_run, score, write_rows
from tests.infra.suite.harness.completions_server import Completions, serving
from tests.infra.suite.harness.conftest import DATA, Heard, evaluation, tokenizer  # noqa: F401

WIDE = VerdictSpec(margin_points=8, task_margin_points=30, early_stop=True)
TIGHT = VerdictSpec(margin_points=1, task_margin_points=30, early_stop=True)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def ids(rows: list[dict[str, Any]]) -> set[tuple[str, int]]:
    return {(row["task"], row["doc_id"]) for row in rows}


def from_rows(made: Report, folder: Path, requests: list[Any] | None = None) -> early_stop.Ask:
    """Answer with the quantized rows of a run that was made whole."""

    def ask(task: str, documents: early_stop.Documents, samples: Path) -> TaskScores:
        if requests is not None:
            requests.append((task, {part: set(numbers) for part, numbers in documents.items()}))
        rows = lines(folder / made.arms["quantized"].tasks[task].samples)
        chosen = [row for row in rows if row["doc_id"] in documents[row["task"]]]
        write_rows(samples, chosen)
        return score(task, chosen, str(samples))

    return ask


def stopped(made: Report, folder: Path, verdict: VerdictSpec, **more: Any) -> ArmResult:
    """Return the candidate as it is after the rounds, its rows in the run's folder."""
    rounds = early_stop.rounds(made.baseline, verdict, verdict.margin_points, folder)
    found = rounds.ask(
        from_rows(made, folder, more.get("requests")), {},
        lambda task: folder / "partly" / f"{task}.jsonl", more.get("heard", Silent()),
    )  # fmt: skip
    here = {name: scores.model_copy(update={"samples": f"partly/{name}.jsonl"})
            for name, scores in found.items()}  # fmt: skip
    return made.arms["quantized"].model_copy(update={"tasks": here})


def beside(baseline: ArmResult, candidate: ArmResult, folder: Path) -> ArmResult:
    into = answered_rows.SAMPLES.format("quantized")
    return answered_rows.answered_of(baseline, candidate, folder, into)


def judged(made: Report, candidate: ArmResult, folder: Path, verdict: VerdictSpec) -> Pair:
    """Return the report as compare and publish make it."""
    spec = made.spec.model_copy(update={"verdict": verdict})
    baseline = beside(made.baseline, candidate, folder)
    found = comparison.compare(baseline, candidate, RunRows(folder), verdict.confidence)
    pooled = answered_rows.pooled(baseline, candidate, found, RunRows(folder))
    assert pooled is not None
    found = found.model_copy(update={"pooled": pooled})
    decided = decide(found, verdict, what="Quantization", stopped_after=pooled.rows,
                  of=sum(task.n for task in made.baseline.tasks.values()))  # fmt: skip
    one = Judgement(comparison=found, verdict=decided, answered=baseline.tasks)
    arms = {"baseline": made.baseline, "quantized": candidate}
    report = made.model_copy(
        update={"spec": spec, "arms": arms, "judged": {"quantized": one}, "verdict": decided}
    )
    return report.pairs[0]


@pytest.mark.parametrize(("kept", "margin", "status"), [(0.3, 5.0, "FAIL"), (0.97, 15.0, "PASS")])
def test_a_certain_verdict_ends_the_evaluation(
    tmp_path: Path, kept: float, margin: float, status: str
) -> None:
    made, heard = make_run(tmp_path, rows=600, kept=kept), Heard()
    verdict = WIDE.model_copy(update={"margin_points": margin, "task_margin_points": 80.0})
    candidate = stopped(made, tmp_path, verdict, heard=heard)
    pair = judged(made, candidate, tmp_path, verdict)
    rows = sum(task.n for task in candidate.tasks.values())
    assert pair.verdict.status == status
    assert 0 < rows < 1800
    assert pair.verdict.stopped_after == rows
    assert pair.comparison.pooled is not None
    assert pair.comparison.pooled.rows == rows
    assert f"stopped after {rows:,} of 1,800 rows" in " ".join(pair.verdict.reasons)
    assert heard.said[-1] == f"{status} is certain after {rows:,} of 1,800 rows; no more are asked"
    for name, task in pair.baseline.tasks.items():
        assert ids(lines(tmp_path / task.samples)) == ids(lines(tmp_path / f"partly/{name}.jsonl"))
        assert 0 < task.n < made.baseline.tasks[name].n


def test_what_all_rows_took_is_not_told_of_a_part_of_them(tmp_path: Path) -> None:
    made = make_run(tmp_path, rows=600, kept=0.97)
    verdict = WIDE.model_copy(update={"margin_points": 15.0, "task_margin_points": 80.0})
    candidate = stopped(made, tmp_path, verdict)
    tasks = {
        name: task.model_copy(update={"joules": 600.0})
        for name, task in made.baseline.tasks.items()
    }
    part = beside(made.baseline.model_copy(update={"tasks": tasks}), candidate, tmp_path)
    assert {task.joules for task in part.tasks.values()} == {None}
    assert {task.joules for task in tasks.values()} == {600.0}


def test_an_uncertain_verdict_takes_all_rows_and_the_limits_of_a_test_that_may_stop(
    tmp_path: Path,
) -> None:
    made = make_run(tmp_path, rows=120)
    candidate = stopped(made, tmp_path, TIGHT)
    pair = judged(made, candidate, tmp_path, TIGHT)
    assert pair.baseline == pair.report.baseline == made.baseline
    assert pair.verdict.stopped_after == 360
    assert "all 360 rows were asked" in " ".join(pair.verdict.reasons)
    pooled, fixed = pair.comparison.pooled, made.pairs[0].comparison.pooled
    assert pooled is not None
    assert fixed is not None
    assert "anytime-valid" in pooled.method
    assert pooled.bound < fixed.bound
    assert pooled.low < fixed.low < fixed.high < pooled.high


def test_rounds_are_samples_in_proportion_and_each_holds_the_one_before(tmp_path: Path) -> None:
    made = make_run(tmp_path, rows=120)
    requests: list[tuple[str, dict[str, set[int]]]] = []
    stopped(made, tmp_path, TIGHT, requests=requests)
    again: list[tuple[str, dict[str, set[int]]]] = []
    stopped(made, tmp_path, TIGHT, requests=again)
    assert requests == again  # the order is fixed
    for name, scores in made.baseline.tasks.items():
        rounds = [documents for task, documents in requests if task == name]
        assert len(rounds) == len(early_stop.SHARES)
        for share, documents in zip(early_stop.SHARES, rounds, strict=True):
            for part, numbers in documents.items():
                of = scores.subtasks.get(part, scores).n
                assert abs(len(numbers) - share * of) <= 1
        for before, after in itertools.pairwise(rounds):
            assert all(before[part] <= after[part] for part in before)
        assert sum(map(len, rounds[-1].values())) == scores.n


@pytest.mark.parametrize("before", [0, 7])
def test_what_an_earlier_round_asked_was_not_kept_before(tmp_path: Path, before: int) -> None:
    made = make_run(tmp_path, rows=600)
    rounds = early_stop.rounds(made.baseline, TIGHT, TIGHT.margin_points, tmp_path)
    asked = dict.fromkeys(made.baseline.tasks, before)
    answer = from_rows(made, tmp_path)

    def ask(task: str, documents: early_stop.Documents, samples: Path) -> TaskScores:
        scores = answer(task, documents, samples).model_copy(update={"kept": asked[task]})
        asked[task] = scores.n
        return scores

    found = rounds.ask(ask, {}, lambda task: tmp_path / f"{task}.jsonl", Silent())
    assert all(asked[task] == made.baseline.tasks[task].n for task in found)  # in several rounds
    assert {scores.kept for scores in found.values()} == {before}


def test_every_row_comes_early_equally_often() -> None:
    places = [early_stop._places(f"part {number}", 7) for number in range(4000)]
    for document in range(7):
        early = sum(place[document] < 0.25 for place in places) / 4000
        assert abs(early - 0.25) < 0.035  # five standard errors


def test_no_round_is_judged_before_each_part_has_a_row(tmp_path: Path) -> None:
    made = make_run(tmp_path, rows=18)  # 3 rows in each part of the group
    requests: list[tuple[str, dict[str, set[int]]]] = []
    stopped(made, tmp_path, WIDE, requests=requests)
    assert all(numbers for _, documents in requests for numbers in documents.values())
    assert len(requests) < 3 * len(early_stop.SHARES)


def test_a_task_beyond_its_own_margin_keeps_the_evaluation_going(tmp_path: Path) -> None:
    made = make_run(tmp_path, rows=300, kept=0.8)
    loose = VerdictSpec(margin_points=30, task_margin_points=60, early_stop=True)
    strict = VerdictSpec(margin_points=30, task_margin_points=30, early_stop=True)
    assert sum(task.n for task in stopped(made, tmp_path, loose).tasks.values()) < 900
    worse = make_run(tmp_path, rows=300, kept=0.3)  # gsm8k alone lost about 50 points
    pair = judged(worse, stopped(worse, tmp_path, strict), tmp_path, strict)
    assert pair.verdict.status != "PASS"
    assert pair.verdict.stopped_after == 900


def test_a_pass_waits_until_each_task_has_rows_enough(tmp_path: Path) -> None:
    made = make_run(tmp_path, rows=300, kept=0.75, found=0.0)  # gsm8k lost about 18 points
    verdict = VerdictSpec(margin_points=24, task_margin_points=24, early_stop=True)
    candidate = stopped(made, tmp_path, verdict)
    pair = judged(made, candidate, tmp_path, verdict)
    assert pair.verdict.status == "PASS"
    assert sum(task.n for task in candidate.tasks.values()) < 900
    for name, task in pair.baseline.tasks.items():
        steps = [*answered_rows.steps(task, candidate.tasks[name], RunRows(tmp_path))]
        assert lower_limits(steps, 0.5)[-1] > -0.24


def test_a_margin_of_one_metric_is_kept_to_before_a_pass_ends_it(tmp_path: Path) -> None:
    made = make_run(tmp_path, rows=300, kept=0.75, found=0.0)  # gsm8k lost about 18 points
    loose = VerdictSpec(margin_points=24, task_margin_points=90, early_stop=True)
    own = loose.model_copy(update={"margins": {"gsm8k/exact_match": 21.0}})
    limits, rows = [], []
    for verdict in (loose, own):
        candidate = stopped(made, tmp_path, verdict)
        pair = judged(made, candidate, tmp_path, verdict)
        assert pair.verdict.status == "PASS"
        baseline = pair.baseline.tasks["gsm8k"]
        steps = [*answered_rows.steps(baseline, candidate.tasks["gsm8k"], RunRows(tmp_path))]
        limits.append(lower_limits(steps, 0.5)[-1])
        rows.append(sum(task.n for task in candidate.tasks.values()))
    # So few rows did not show that gsm8k keeps it.
    assert rows[0] < rows[1]
    assert limits[0] <= -0.21
    strict = loose.model_copy(update={"margins": {"exact_match": 10.0}})
    pair = judged(made, stopped(made, tmp_path, strict), tmp_path, strict)
    assert (pair.verdict.status, pair.verdict.stopped_after) == ("INCONCLUSIVE", 900)


def test_a_limit_for_a_fixed_number_of_rows_that_is_wider_counts(tmp_path: Path) -> None:
    made = make_run(tmp_path, rows=60)
    baseline, candidate = made.baseline, made.arms["quantized"]
    fixed = made.pairs[0].comparison.pooled
    assert fixed is not None
    wide = fixed.model_copy(update={"low": -0.9, "high": 0.8, "bound": -0.7})
    found = made.pairs[0].comparison.model_copy(update={"pooled": wide})
    pooled = answered_rows.pooled(baseline, candidate, found, RunRows(tmp_path))
    assert pooled is not None
    assert (pooled.low, pooled.high, pooled.bound) == (-0.9, 0.8, -0.7)


def test_scores_over_a_part_of_the_rows_are_those_of_these_rows(tmp_path: Path) -> None:
    made = make_run(tmp_path, rows=90)
    baseline = made.baseline
    candidate = stopped(made, tmp_path, WIDE.model_copy(update={"margin_points": 30.0}))
    part = beside(baseline, candidate, tmp_path)
    for name, scores in part.tasks.items():
        rows = lines(tmp_path / scores.samples)
        assert len(rows) == scores.n < baseline.tasks[name].n
        questions = questions_digest(map(row_of, rows))
        assert scores.questions == questions == candidate.tasks[name].questions
        wanted = score(name, rows, scores.samples)
        for metric, value in scores.metrics.items():
            assert value.value == pytest.approx(wanted.metrics[metric].value, abs=1e-12)
            assert value.n == len(rows)
        assert scores.truncated == sum(row["truncated"] for row in rows)
    assert {sub.n for sub in part.tasks[GROUP].subtasks.values()} != {15}
    # All of its rows are still there.
    assert len(lines(tmp_path / baseline.tasks["gsm8k"].samples)) == 90


def test_a_group_that_weighs_its_parts_alike_is_made_again_that_way(tmp_path: Path) -> None:
    rows = [
        row
        for part, count, right in (("x_a", 10, 9), ("x_b", 40, 4))
        for row in rows_of_marks(part, count, right)
    ]
    write_rows(tmp_path / "x.jsonl", rows)
    whole = score("x", rows, "x.jsonl")
    metric = whole.primary_metric
    alike = whole.metrics[metric].model_copy(update={"value": (0.9 + 0.1) / 2})
    whole = whole.model_copy(update={"metrics": {metric: alike}})
    found = answered_rows.means(whole, [*map(row_of, rows)])
    assert found is not None
    assert found[metric].value == 0.5
    odd = whole.metrics[metric].model_copy(update={"value": 0.77})
    otherwise = whole.model_copy(update={"metrics": {metric: odd}})
    assert answered_rows.means(otherwise, [*map(row_of, rows)]) is None


def rows_of_marks(task: str, count: int, right: int) -> list[dict[str, Any]]:
    return [
        make_row(task, number, "?", "2", "2", {"acc,none": float(number < right)}, {"n": number})
        for number in range(count)
    ]


def change_rows(
    made: Report, folder: Path, name: str, change: Callable[[dict[str, Any]], None]
) -> Report:
    """Change every row of a task in both arms, and its scores."""
    arms: dict[str, ArmResult] = {}
    for arm, result in made.arms.items():
        path = folder / result.tasks[name].samples
        rows = lines(path)
        for row in rows:
            change(row)
        write_rows(path, rows)
        tasks = {**result.tasks, name: score(name, rows, result.tasks[name].samples)}
        arms[arm] = result.model_copy(update={"tasks": tasks})
    return made.model_copy(update={"arms": arms})


def test_shares_are_refused_since_the_verdict_would_be_about_fewer_tasks(tmp_path: Path) -> None:
    def halve(row: dict[str, Any]) -> None:
        row["metrics"] = {name: value / 2 for name, value in row["metrics"].items()}

    made = change_rows(make_run(tmp_path, rows=30), tmp_path, "gsm8k", halve)
    with pytest.raises(EvaluationError, match="rows of gsm8k are not simply right or wrong") as one:
        early_stop.rounds(made.baseline, WIDE, 8, tmp_path)
    assert "early_stop to False" in one.value.remedy


@pytest.mark.parametrize("marks", [(0.0, 7.0), (0.0, 1.0)])
def test_tasks_outside_of_the_pooled_effect_run_whole(
    tmp_path: Path, marks: tuple[float, float]
) -> None:
    """Whatever their rows happen to score: it is their metric that has no points."""

    def stretch(row: dict[str, Any]) -> None:
        (mark,) = set(row["metrics"].values())
        row["metrics"] = {"rating,none": marks[int(mark)]}
        row["filtered"] = {"none": next(iter(row["filtered"].values()))}

    made = change_rows(make_run(tmp_path, rows=30), tmp_path, "gsm8k", stretch)
    rounds = early_stop.rounds(made.baseline, WIDE, 8, tmp_path)
    assert rounds.tasks == (GROUP, "gpqa_main_zeroshot")
    for name in (GROUP, "gpqa_main_zeroshot"):
        made = change_rows(made, tmp_path, name, stretch)
    with pytest.raises(EvaluationError, match="no task has rows that are right or wrong"):
        early_stop.rounds(made.baseline, WIDE, 8, tmp_path)


def test_rows_that_break_what_is_declared_are_refused(tmp_path: Path) -> None:
    """They do not run whole, as if their metric had no points."""

    def one_more(row: dict[str, Any]) -> None:
        row["metrics"] = {
            name: 1.01 if row["doc_id"] == 4 else value for name, value in row["metrics"].items()
        }

    made = change_rows(make_run(tmp_path, rows=30), tmp_path, "gsm8k", one_more)
    with pytest.raises(EvaluationError, match="rows of gsm8k are not simply right or wrong"):
        early_stop.rounds(made.baseline, WIDE, 8, tmp_path)


def test_the_same_questions_twice_are_refused(tmp_path: Path) -> None:
    def same(row: dict[str, Any]) -> None:
        # Prepared in another way, as gpqa's tasks do: the hash differs, the question does not.
        row["doc"] = {"Question": f"What is {row['doc_id']}?", "of": row["task"]}

    made = change_rows(make_run(tmp_path, rows=30), tmp_path, "gsm8k", same)
    early_stop.rounds(made.baseline, WIDE, 8, tmp_path)
    made = change_rows(made, tmp_path, "gpqa_main_zeroshot", same)
    with pytest.raises(EvaluationError, match="ask the same questions"):
        early_stop.rounds(made.baseline, WIDE, 8, tmp_path)


def test_a_share_in_the_candidate_is_no_row_of_the_test(tmp_path: Path) -> None:
    made = make_run(tmp_path, rows=30)
    path = tmp_path / made.arms["quantized"].tasks["gsm8k"].samples
    rows = lines(path)
    rows[4]["metrics"] = dict.fromkeys(rows[4]["metrics"], 0.5)
    write_rows(path, rows)
    with pytest.raises(ComparisonError, match="neither right nor wrong"):
        answered_rows.pooled(
            made.baseline, made.arms["quantized"], made.pairs[0].comparison, RunRows(tmp_path)
        )


def test_whatever_decides_where_it_stops_is_in_its_key(tmp_path: Path) -> None:
    made = make_run(tmp_path, rows=30)

    def identity(margin: float = 8, **fields: Any) -> str:
        verdict = WIDE.model_copy(update=fields)
        rounds = early_stop.rounds(made.baseline, verdict, margin, tmp_path)
        return digest_of(rounds.identity())

    found = [identity(), identity(9), identity(confidence=0.9), identity(task_margin_points=31.0),
             identity(margins={"acc": 2.0})]  # fmt: skip
    assert len(set(found)) == 5
    assert identity(power=0.9) == found[0]  # that plans, and decides nothing
    path = tmp_path / made.baseline.tasks["gsm8k"].samples
    path.write_text(path.read_text().replace("apples", "pears"))
    assert identity() not in found


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that was stopped early, and sealed."""
    folder = tmp_path_factory.mktemp("stopped")
    made = make_run(folder, rows=300, kept=0.3)
    verdict = VerdictSpec(margin_points=5, task_margin_points=80, early_stop=True)
    pair = judged(made, stopped(made, folder, verdict), folder, verdict)
    assert pair.verdict.stopped_after is not None
    assert pair.verdict.stopped_after < 900
    report.write(pair.report, folder=folder)
    return folder


@pytest.fixture
def verified(sealed: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may change."""
    return Path(shutil.copytree(sealed, tmp_path / "copy"))


def one(document: dict[str, Any]) -> dict[str, Any]:
    """What a report says of its one candidate."""
    found: dict[str, Any] = document["judged"]["quantized"]
    return found


def wrong(run: Path) -> dict[str, str]:
    return {check.name: " ".join(check.wrong) for check in receipt.verify(run) if check.wrong}


def test_the_receipt_of_a_stopped_run_holds(verified: Path) -> None:
    assert wrong(verified) == {}
    notes = [note for check in receipt.verify(verified) for note in check.notes]
    assert not any("stopped early" in note for note in notes)
    written = json.loads((verified / "report.json").read_text())
    reasons = written["judged"]["quantized"]["verdict"]["reasons"]
    assert "rows, as was asked" in " ".join(reasons)
    assert reasons == written["verdict"]["reasons"]  # of a run with one candidate
    assert "of 900 rows" in (verified / "report.md").read_text()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda d: one(d)["comparison"]["pooled"].update(bound=-0.001), "comparison.pooled.bound"),
        (lambda d: one(d)["verdict"].update(stopped_after=None), "judged.quantized.verdict."),
        (lambda d: one(d)["verdict"].update(stopped_after=900), "judged.quantized.verdict."),
        (lambda d: d["verdict"].update(stopped_after=900), "verdict.stopped_after"),
        (lambda d: d["spec"]["verdict"].update(early_stop=False), "comparison.pooled.low"),
        (lambda d: one(d)["answered"]["gsm8k"].update(n=5), "judged.quantized.answered.gsm8k.n"),
        (lambda d: one(d).update(answered=None), "judged.quantized"),
    ],
)
def test_a_changed_stopped_run_is_named_even_if_sealed_again(
    verified: Path, change: Callable[[Any], None], named: str
) -> None:
    document = json.loads((verified / "report.json").read_text())
    change(document)
    changed = Report.model_validate(document)
    (verified / "report.json").write_text(receipt.sealed(changed, verified).model_dump_json())
    assert named in " ".join(wrong(verified).values())


ANSWERS = {
    row["question"]: row["answer"].rpartition("#### ")[2]
    for row in lines(DATA / "openai" / "gsm8k" / "main" / "test.jsonl")
}


def answering(share: float) -> Callable[[list[int]], str]:
    """Return what answers a share of the questions. Tokens are bytes, in the tokenizer's order."""

    def reply(prompt: list[int]) -> str:
        question = re.split(r"Question: ", text_of(prompt))[-1].removesuffix("\nAnswer:")
        right = int(digest_of(question)[:8], 16) / 16**8 < share
        return f"#### {ANSWERS[question] if right else '-1'}"

    return reply


def text_of(prompt: list[int]) -> str:
    from tokenizers import decoders, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    return str(decoders.ByteLevel().decode([letters[token] for token in prompt]))


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> HarnessSuite:
    spec = evaluation(
        TaskSpec(name="gsm8k", limit=80, num_fewshot=2, max_gen_toks=64),
        TaskSpec(name="global_mmlu_en", limit=10, num_fewshot=2),
    )
    return prepare(
        spec, settings=Settings(cache=tmp_path_factory.mktemp("cache")), progress=Silent()
    )


@pytest.mark.parametrize("name", ["gsm8k", "global_mmlu_en"])
def test_some_documents_are_sent_as_among_all(
    name: str,
    suite: HarnessSuite,
    tokenizer: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    wanted = {part: [1, 4, 5, 9] for part in suite.parts[name].tasks}
    wanted[next(iter(wanted))] = [7]
    with serving(Completions(reply=answering(0.5), window=9000)) as server:

        def evaluate(file: str, only: Mapping[str, list[int]] | None = None) -> TaskScores:
            return suite.ask(name, server, tokenizer, tmp_path / file, Silent(), only=only)

        whole = evaluate("whole.jsonl")
        part = evaluate("part.jsonl", wanted)
        again = evaluate("again.jsonl")
    rows = lines(tmp_path / "part.jsonl")
    assert rows == [
        row for row in lines(tmp_path / "whole.jsonl") if row["doc_id"] in wanted[row["task"]]
    ]
    assert part.n == len(rows) == sum(map(len, wanted.values()))
    for metric, value in part.metrics.items():
        assert value.value == pytest.approx(sum(r["metrics"][metric] for r in rows) / len(rows))
    # All of the task is asked again afterwards.
    assert lines(tmp_path / "again.jsonl") == lines(tmp_path / "whole.jsonl")
    assert (again.metrics, again.questions) == (whole.metrics, whole.questions)


def test_a_much_worse_model_is_not_evaluated_to_the_end(
    suite: HarnessSuite,
    tokenizer: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    made = make_run(tmp_path / "made", rows=6)
    verdict = VerdictSpec(margin_points=5, task_margin_points=90, early_stop=True)

    def evaluate_whole(server: Completions) -> dict[str, TaskScores]:
        return {
            name: suite.ask(
                name, server, tokenizer, tmp_path / f"samples/baseline/{name}.jsonl", Silent()
            ).model_copy(update={"samples": f"samples/baseline/{name}.jsonl"})
            for name in suite.names
        }

    with serving(Completions(reply=answering(0.95), window=9000)) as server:
        baseline = made.baseline.model_copy(update={"tasks": evaluate_whole(server)})
        everything = len(server.prompts)
    rounds = early_stop.rounds(baseline, verdict, 5, tmp_path)
    kept = AnswerFile(tmp_path / "answers.sqlite", "worse")
    with serving(Completions(reply=answering(0.0), window=9000)) as server:

        def ask(task: str, only: early_stop.Documents, samples: Path) -> TaskScores:
            return suite.ask(task, server, tokenizer, samples, Silent(), kept, only=only)

        found = rounds.ask(
            ask, {}, lambda name: tmp_path / f"samples/quantized/{name}.jsonl", Silent()
        )
        prompts = [tuple(prompt) for prompt in server.prompts]
    rows = sum(scores.n for scores in found.values())
    assert rows < 0.75 * (80 + 60)
    assert len(prompts) < 0.8 * everything
    written = [prompt for prompt in prompts if text_of(list(prompt)).endswith("\nAnswer:")]
    assert len(written) == len(set(written))  # no question of an earlier round is asked again
    candidate = made.arms["quantized"].model_copy(
        update={
            "tasks": {
                name: scores.model_copy(update={"samples": f"samples/quantized/{name}.jsonl"})
                for name, scores in found.items()
            }
        }
    )
    weights = baseline.checkpoint.model_copy(update={"path": tokenizer})
    baseline = baseline.model_copy(update={"checkpoint": weights})
    spec = made.spec.model_copy(update={"verdict": verdict})
    compared = evidence.compare(baseline, candidate, "quantized", None, spec, tmp_path, Silent())
    decided = decide(compared, verdict, what="Quantization", stopped_after=rows)
    assert decided.status == "FAIL"
    assert compared.pooled is not None
    assert compared.pooled.rows == rows
    assert "anytime-valid" in compared.pooled.method


def _imports(module: Path, root: Path) -> set[Path]:
    """Return the files of this project that a file imports, anywhere in it."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            stem = root.joinpath(*name.split("."))
            found |= {
                path for path in (stem.with_suffix(".py"), stem / "__init__.py")
                if path.is_file() and name.startswith("infra.")
            }  # fmt: skip
    return found


def test_all_code_that_may_move_the_end_is_in_the_key() -> None:
    """Whatever it imports, directly or through others, decides where an evaluation ends."""
    here = Path(early_stop.__file__).parents[1]
    seen, waiting = set(), [Path(early_stop.__file__)]
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += _imports(module, here.parent)
    listed = {
        path for part in early_stop._DECIDING
        for path in ([here / part] if part.endswith(".py") else (here / part).rglob("*.py"))
    }  # fmt: skip
    empty = {path for path in seen if not path.read_text(encoding="utf-8").strip()}
    assert {path.relative_to(here).as_posix() for path in seen - listed - empty} == set()
    for name in ("comparison.py", "pairing.py", "chance.py", "answered_rows.py", "sequential.py",
                 "verdict/findings.py", "statistics/paired.py"):  # fmt: skip
        assert here / "judging" / name in seen
    assert here / "suite" / "rows.py" in seen
