"""A made-up but complete run: its arms, three tasks, their sample rows on disk, one report.

Questions and answers are generated; everything else is made as a run makes it.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.contracts.records import (
    ArmResult,
    ArmSpeed,
    CalibrationCard,
    CheckpointSummary,
    Judgement,
    MetricValue,
    Report,
    ServerRecord,
    TaskScores,
    Verdict,
)
from infra.contracts.specs import (
    ArmSpec,
    AwqSpec,
    CalibrationSpec,
    CandidateSpec,
    EvaluationSpec,
    ModelSpec,
    ResultsSpec,
    RunSpec,
    ServingChanges,
    TaskSpec,
)
from infra.judging import gaps, gate, repeats
from infra.judging.comparison import change_name, compare, compare_against
from infra.judging.family import together
from infra.judging.pairing import RunRows
from infra.judging.verdict import decide
from infra.store.content import digest_of
from infra.suite.rows import questions_digest, row_of

GROUP = "global_mmlu_en"
SUBJECTS = ("business", "humanities", "medical", "other", "social_sciences", "stem")
NAMES = ("Mara", "Tom", "Ines", "Jon", "Priya", "Luo")
THINGS = ("apples", "tickets", "books", "stamps", "marbles")

Row = dict[str, Any]


def make_run(
    folder: Path,
    *,
    run_id: str = "sample-20261121-101500-1f2e3d4c",
    rows: int = 200,
    kept: float = 0.86,
    found: float = 0.05,
    hostile: str = "",
    candidates: int = 1,
    failed: Mapping[str, str] | None = None,
    against: str | None = None,
    with_gaps: bool = False,
    times: int = 1,
) -> Report:
    """Write the sample rows of a made-up run below a folder and return its report.

    Args:
        folder: The run's folder.
        run_id: Its name.
        rows: Rows of each task.
        kept: Share of the baseline's right gsm8k rows that stay right.
        found: Share of its wrong gsm8k rows that become right.
        hostile: Text put into every prompt, target and answer.
        candidates: How many: `quantized`, then `candidate-2` and so on, which lose less.
        failed: Candidate → why there is no result of it.
        against: What the last candidate is held against as well.
        with_gaps: Whether gaps between choices are compared, which takes a while.
        times: How often each question of gsm8k is asked.
    """
    chance = random.Random(rows)
    answered: dict[str, tuple[list[Row], list[Row]]] = {
        "gsm8k": _again(_gsm8k(chance, rows * times, kept, found, hostile), times),
        GROUP: _choices(chance, [f"{GROUP}_{name}" for name in SUBJECTS], rows, 0.62, hostile),
        "gpqa_main_zeroshot": _choices(chance, ["gpqa_main_zeroshot"], rows, 0.41, hostile),
    }
    spec, failed = make_spec(candidates), dict(failed or {})
    if against:
        *first, last = spec.candidates
        last = last.model_copy(update={"against": against})
        spec = spec.model_copy(update={"candidates": (*first, last)})
    answers = {
        "baseline": {task: both[0] for task, both in answered.items()},
        "quantized": {task: both[1] for task, both in answered.items()},
    }
    for name in [*spec.arms][2:]:
        chance = random.Random(f"{rows} {name}")
        answers[name] = {task: _otherwise(chance, both[0]) for task, both in answered.items()}
    arms = {
        name: _arm(name, answers[name], folder, quantized=arm.quantization is not None)
        for name, arm in spec.arms.items()
        if name not in failed
    }
    confidence = spec.judged_verdict.confidence
    compared = together(
        {
            name: compare(arms["baseline"], arm, RunRows(folder), confidence).model_copy(
                update={
                    **(
                        {"gaps": gaps.compare(arms["baseline"], arm, RunRows(folder), confidence)}
                        if with_gaps
                        else {}
                    ),
                    "repeats": repeats.compare(arms["baseline"], arm, RunRows(folder), confidence),
                }
            )
            for name, arm in arms.items()
            if name != "baseline"
        }
    )
    judged = {
        name: Judgement(
            comparison=comparison,
            verdict=decide(
                comparison, spec.verdict, candidates=candidates, what=change_name(spec, name)
            ),
            against=compare_against(name, arms, spec, RunRows(folder)),
        )
        for name, comparison in compared.items()
    }
    return Report(
        run_id=run_id,
        created=datetime(2026, 11, 21, 10, 15, tzinfo=UTC),
        spec=spec,
        arms=arms,
        judged=judged,
        failed=failed,
        verdict=overall_verdict(spec, judged, failed),
        timings={
            "environment-vllm": 0.4, "environment-awq": 0.3, "weights-baseline": 0.61,
            "quantize-quantized": 111.7, "evaluate-baseline": 148.2,
            **{f"evaluate-{name}": 163.9 for name in judged},
            **{f"compare-{name}": 1.9 for name in judged},
        },
        reused=("environment-vllm", "environment-awq", "evaluate-baseline: gsm8k"),
        provenance={
            "version of prefect": "3.8.8", "version of lm-eval": "0.4.13",
            "version of transformers": "5.2.0", "python": "3.11.7", "host": "bench-02",
            "system": "Linux-6.1.0-x86_64-with-glibc2.36",
            "device": "1 × AMD EPYC 7B13", "assay commit": "83b41cf" + "0" * 33,
            "prefect_url": "http://127.0.0.1:4200/runs/flow-run/0192f0aa-1111-7000-8000-000000000001",
            "run_key": digest_of("key"),
        },
    )  # fmt: skip


def overall_verdict(
    spec: RunSpec,
    judged: Mapping[str, Judgement],
    failed: Mapping[str, str],
    margin: tuple[float, float | None] | None = None,
) -> Verdict:
    """Return the verdict of the whole run, as a run makes it of those of its candidates."""
    verdicts = {name: one.verdict for name, one in judged.items()}
    return gate.overall(
        verdicts, failed, spec.verdict.gate, *(margin or (spec.verdict.margin_points, None))
    )


def make_card() -> CalibrationCard:
    """Return what the made-up candidate was calibrated on."""
    return CalibrationCard(
        spec=CalibrationSpec(path="conversations.jsonl"),
        fingerprint=digest_of("conversations"),
        read=240, used=128, dropped_too_long=37, dropped_beyond_max=75,
        tokens_min=41, tokens_median=236, tokens_max=511, tokens_total=31_904,
    )  # fmt: skip


def of_pair(report: Report, **fields: Any) -> Report:
    """Return a report with fields of its one candidate's judgement replaced."""
    [(name, judged)] = report.judged.items()
    changed = {name: judged.model_copy(update=fields)}
    whole = {"verdict": fields["verdict"]} if "verdict" in fields else {}
    return report.model_copy(update={"judged": changed, **whole})


def make_spec(candidates: int = 1) -> RunSpec:
    """Return a spec with the three tasks of the made-up run.

    Args:
        candidates: How many. The first is made of the baseline; those after it are in turn served
            in another way, and made by another recipe.
    """
    recipe = AwqSpec(calibration=CalibrationSpec(path="conversations.jsonl"))
    finer = recipe.model_copy(update={"group_size": 64})
    cache = ServingChanges(extra_args=("--kv-cache-dtype", "fp8"))
    others = (
        CandidateSpec(name=name, serving=cache)
        if place % 2 == 0
        else CandidateSpec(name=name, quantization=finer)
        for place in range(2, candidates + 1)
        if (name := f"candidate-{place}")
    )
    return RunSpec(
        baseline=ArmSpec(
            model=ModelSpec(id="Qwen/Qwen2.5-7B-Instruct", revision="a09a3545" * 5)
        ),
        candidates=(CandidateSpec(name="quantized", quantization=recipe), *others),
        evaluation=EvaluationSpec(
            tasks=(
                TaskSpec(name="gsm8k", num_fewshot=5, limit=200),
                TaskSpec(name=GROUP),
                TaskSpec(name="gpqa_main_zeroshot"),
            )
        ),
        results=ResultsSpec(label="sample"),
    )  # fmt: skip


def write_rows(path: Path, rows: list[Row]) -> None:
    """Write sample rows as JSONL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def score(name: str, rows: list[Row], samples: str, *, task: str | None = None) -> TaskScores:
    """Return the scores that follow from sample rows, pooled over the subtasks of a group."""
    members = sorted({row["task"] for row in rows} - {task or name})
    metrics = {
        metric: MetricValue(
            value=(mean := sum(row["metrics"][metric] for row in rows) / len(rows)),
            stderr=(abs(mean * (1 - mean)) / max(1, len(rows) - 1)) ** 0.5,
            n=len(rows),
        )
        for metric in rows[0]["metrics"]
    }
    return TaskScores(
        name=name,
        metrics=metrics,
        primary_metric=list(metrics)[-1],
        n=len(rows),
        num_fewshot=5 if name == "gsm8k" else 0,
        version="3.0",
        dataset="openai/gsm8k" if name == "gsm8k" else "made up",
        questions=questions_digest(map(row_of, rows)),
        subtasks={
            member: score(member, [row for row in rows if row["task"] == member], samples)
            for member in members
        },
        samples=samples,
        seconds=61.5,
        truncated=sum(row["truncated"] for row in rows),
        reused=name == "gsm8k" and "baseline" in samples,
        conditions=_conditions(rows),
    )


def _conditions(rows: list[Row]) -> dict[str, Any]:
    times = 1 + max(row.get("repeat", 0) for row in rows)
    return {"sampling": {"repeats": times, "temperature": 0.7}} if times > 1 else {}


def make_row(
    task: str,
    doc_id: int,
    prompt: str,
    target: Any,
    answer: Any,
    metrics: dict[str, float],
    doc: Row,
) -> Row:
    """Return one sample row as the evaluation writes it."""
    filters = {metric.partition(",")[2] for metric in metrics}
    return {
        "task": task,
        "doc_id": doc_id,
        "doc_hash": _hash(json.dumps(doc)),
        "prompt_hash": _hash(prompt),
        "target_hash": _hash(str(target)),
        "prompt": prompt,
        "continuations": [f" {letter}" for letter in "ABCD"] if "acc,none" in metrics else [],
        "target": target,
        "responses": [answer],
        "truncated": False,
        "filtered": dict.fromkeys(filters, answer),
        "metrics": metrics,
        "doc": doc,
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _arm(arm: str, answers: dict[str, list[Row]], folder: Path, *, quantized: bool) -> ArmResult:
    tasks = {}
    for name, rows in answers.items():
        samples = f"samples/{arm}/{name}.jsonl"
        write_rows(folder / samples, rows)
        tasks[name] = score(name, rows, samples)
    log = folder / "logs" / f"server-{arm}.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text("INFO: ready\n")
    return ArmResult(
        checkpoint=CheckpointSummary(
            path=Path(
                "/cache/checkpoints/5b1c" if quantized else "/cache/weights/Qwen2.5-7B-Instruct"
            ),
            digest=digest_of(arm if quantized else "baseline"),
            size_bytes=5_570_801_664 if quantized else 15_231_233_024,
            quantization=(
                {"quant_method": "awq", "bits": 4, "group_size": 128} if quantized else None
            ),
            calibration=make_card() if quantized else None,
        ),
        server=ServerRecord(
            version="0.32.0",
            command=(
                "/envs/server-cpu/bin/python", "-m", "vllm.entrypoints.openai.api_server",
                "--model", f"/cache/{arm}", "--served-model-name", f"assay-{arm}",
                "--port", "40123", "--generation-config", "vllm", "--max-model-len", "2048",
            ),
            device="AMD EPYC 7B13",
            kernel="CPUWNA16LinearKernel" if quantized else None,
            dtype="torch.bfloat16",
            max_model_len=2048,
            concurrency=32,
            startup_seconds=27.1 if quantized else 24.8,
            log=f"logs/server-{arm}.log",
        ),
        tasks=tasks,
        speed=ArmSpeed(
            startup_seconds=27.1 if quantized else 24.8,
            evaluation_seconds=136.8 if quantized else 123.4,
            documents_per_second=4.38 if quantized else 4.86,
        ),
    )  # fmt: skip


def _gsm8k(
    chance: random.Random, count: int, kept: float, found: float, hostile: str
) -> tuple[list[Row], list[Row]]:
    baseline, candidate = [], []
    for doc_id in range(count):
        shots = "".join(
            f"{question}{answer}\n\n" for question, answer in (_sum(chance) for _ in range(5))
        )
        question, solution = _sum(chance)
        doc = {
            "question": question.removeprefix("Question: ").removesuffix("\nAnswer:"),
            "answer": solution,
        }
        prompt = f"{shots}{hostile}{question}"
        target = solution.rpartition("#### ")[2] + hostile
        right = chance.random() < 0.71
        still = chance.random() < (kept if right else found)
        for rows, correct in ((baseline, right), (candidate, still)):
            text = solution if correct else _sum(chance)[1]
            final = text.rpartition("#### ")[2]
            text += hostile
            row = make_row("gsm8k", doc_id, prompt, target, [text], {
                "exact_match,flexible-extract": float(correct),
                "exact_match,strict-match": float(correct),
            }, doc)  # fmt: skip
            row["truncated"] = doc_id < 3
            row["filtered"] = {"flexible-extract": final + hostile, "strict-match": final + hostile}
            rows.append(row)
    return baseline, candidate


def _again(arms: tuple[list[Row], list[Row]], times: int) -> tuple[list[Row], list[Row]]:
    """Return rows of which so many ask the same, as repeats."""
    if times == 1:
        return arms
    asked = ("doc_id", "doc_hash", "prompt_hash", "target_hash", "prompt", "target", "doc")
    one, other = (
        [
            {**row, **{name: rows[number - number % times][name] for name in asked},
             "doc_id": number // times, "repeat": number % times}
            for number, row in enumerate(rows)
        ]
        for rows in arms
    )  # fmt: skip
    return one, other


def _otherwise(
    chance: random.Random, rows: list[Row], kept: float = 0.97, found: float = 0.02
) -> list[Row]:
    """Return the rows of another arm: some of the right ones wrong, and the other way round."""
    answered = []
    for row in rows:
        right = all(row["metrics"].values())
        if (still := chance.random() < (kept if right else found)) == right:
            answered.append(row)
            continue
        changed = {**row, "metrics": dict.fromkeys(row["metrics"], float(still))}
        if row["continuations"]:
            key = "ABCD".index(row["target"])
            pick = key if still else (key + 1) % 4
            picked = [[-1.0 if place == pick else -3.0, place == pick] for place in range(4)]
            changed |= {"responses": [picked], "filtered": {"none": picked}}
        else:
            text = row["doc"]["answer"] if still else _sum(chance)[1]
            final = text.rpartition("#### ")[2]
            changed |= {"responses": [[text]], "filtered": dict.fromkeys(row["filtered"], final)}
        answered.append(changed)
    return answered


def _sum(chance: random.Random) -> tuple[str, str]:
    name, thing = chance.choice(NAMES), chance.choice(THINGS)
    start, more, lost = chance.randint(12, 90), chance.randint(3, 40), chance.randint(2, 11)
    question = (
        f"Question: {name} has {start} {thing}. On Monday a friend brings {more} more, and on the "
        f"way home {lost} of them get lost. How many {thing} does {name} have now?\nAnswer:"
    )
    rest = start + more - lost
    answer = (
        f" {name} starts with {start} {thing} and gets {more} more, so there are "
        f"{start} + {more} = <<{start}+{more}={start + more}>>{start + more} {thing}.\n"
        f"After losing {lost}, {start + more} - {lost} = {rest} are left.\n#### {rest}"
    )
    return question, answer


def _choices(
    chance: random.Random, tasks: list[str], count: int, share: float, hostile: str
) -> tuple[list[Row], list[Row]]:
    baseline, candidate = [], []
    for doc_id in range(count):
        options = [f"{chance.randint(2, 99)} {thing}" for thing in chance.sample(THINGS, 4)]
        letters = "ABCD"
        key = chance.randrange(4)
        task = tasks[doc_id % len(tasks)]
        question = f"Which of these weighs most ({task} {doc_id})?{hostile}"
        doc = {"question": question, "choices": options}
        lines = "\n".join(
            f"{letter}. {text}" for letter, text in zip(letters, options, strict=True)
        )
        prompt = f"{question}\n{lines}\nAnswer:"
        right = chance.random() < share
        still = right if chance.random() < 0.9 else chance.random() < share
        likelihoods = [-2.0 - chance.random() for _ in range(4)]
        for rows, correct in ((baseline, right), (candidate, still)):
            pick = key if correct else (key + 1 + chance.randrange(3)) % 4
            found = [[round(value + (2 if place == pick else 0), 6), place == pick]
                     for place, value in enumerate(likelihoods)]  # fmt: skip
            rows.append(
                make_row(
                    task, doc_id, prompt, letters[key], found, {"acc,none": float(correct)}, doc
                )
            )
    return baseline, candidate
