"""The records of a made-up run that only those have who asked for them."""

from __future__ import annotations

from collections.abc import Mapping

from infra.contracts.records import (
    Alert,
    AnswerLengths,
    Bench,
    Fidelity,
    Judgement,
    MemoryAtLoad,
    NoiseFloor,
    NoiseTask,
    Overlap,
    Pair,
    Power,
    Report,
    SpeedPoint,
    TaskPower,
)
from tests.infra.made_runs import GROUP


def with_everything(report: Report, *, hostile: str = "") -> Report:
    """Return a run with every record that is optional, as a run has them that asked for all.

    Args:
        report: A made-up run.
        hostile: Text put into every text of the new records.
    """
    arms = {
        arm: result.model_copy(update={"bench": make_bench(arm != "baseline", hostile)})
        for arm, result in report.arms.items()
    }
    tasks = {name: scores.n for name, scores in report.baseline.tasks.items()}
    return report.model_copy(
        update={
            "arms": arms,
            "judged": {pair.name: _judgement(pair, tasks, hostile) for pair in report.pairs},
            "power": Power(
                tasks={
                    name: TaskPower(rows=n, flip_rate=0.1, smallest_drop_points=8.9 / (n / 100))
                    for name, n in tasks.items()
                },
                rows=sum(tasks.values()), flip_rate=0.1, learned_from=("sample-1", "sample-2"),
                smallest_drop_points=3.61, smallest_margin_points=3.21, rows_for_margin=6183,
                accelerator_minutes=14.5,
            ),
        }
    )  # fmt: skip


def _judgement(pair: Pair, tasks: Mapping[str, int], hostile: str) -> Judgement:
    comparison = pair.comparison.model_copy(
        update={
            "noise": NoiseFloor(tasks={
                name: NoiseTask(rows=n, changed=n // 12, lost=n // 50, gained=n // 60)
                for name, n in tasks.items()
            }),
            "fidelity": Fidelity(
                documents=64, tokens=29_711, agreement=0.96487, kl_mean=0.01834,
                kl_median=0.00271, kl_p99=0.2417, top_k=20, perplexity_baseline=7.318,
                perplexity_candidate=7.461, texts=f"questions of the tasks{hostile}",
            ),
            "lengths": {"gsm8k": {
                "baseline": AnswerLengths(
                    answers=tasks["gsm8k"], tokens_mean=118.4, tokens_median=109, endless=3
                ),
                "candidate": AnswerLengths(
                    answers=tasks["gsm8k"], tokens_mean=124.9, tokens_median=112.5, endless=9
                ),
            }},
        }
    )  # fmt: skip
    rows = sum(tasks.values())
    overlap = Overlap(
        ngram=13, rows=rows, found={"gsm8k": rows // 20, GROUP: 1, "gpqa_main_zeroshot": 0},
        examples=(f"ducks lay 16 eggs per day she eats three for breakfast{hostile}",),
    )  # fmt: skip
    alert = Alert(
        reasons=(f"gsm8k lost 5.0 points against the last good run{hostile}.",),
        good_run=f"sample-20261114-101500-0a1b2c3d{hostile}",
        changes=("engine: 0.31.0 → 0.32.0", f"driver: 550.54 → 560.28{hostile}"),
    )
    calibrated = pair.candidate.checkpoint.calibration is not None
    return pair.judgement.model_copy(
        update={
            "comparison": comparison,
            "overlap": overlap if calibrated else None,
            "alert": alert,
        }
    )


def make_bench(candidate: bool, hostile: str = "") -> Bench:
    """Return timings: the candidate is faster alone, and slower in a crowd."""
    points = tuple(
        SpeedPoint(
            input_tokens=length, output_tokens=128, concurrency=at_a_time, requests=32, failed=0,
            ttft_ms_median=(ttft := length * at_a_time * 0.02 * (1.3 if candidate else 1.0) + 18),
            ttft_ms_p99=2.2 * ttft,
            tpot_ms_median=(tpot := (14.0 + 0.2 * at_a_time)
                            * (0.55 if candidate and at_a_time == 1 else 1.0)),
            tpot_ms_p99=1.4 * tpot,
            output_tokens_per_second=(rate := 128_000 * at_a_time / (ttft + 127 * tpot)),
            total_tokens_per_second=rate * (1 + length / 128),
            requests_per_second=rate / 128, seconds=44.0,
        )
        for length in (128, 2048)
        for at_a_time in (1, 16)
    )  # fmt: skip
    return Bench(
        engine_version="0.32.0",
        device=f"AMD EPYC 7B13{hostile}",
        points=points,
        memory=MemoryAtLoad(
            weights_bytes=5_620_000_000 if candidate else 15_270_000_000,
            kv_cache_tokens=412_000 if candidate else 236_000,
            process_bytes=None,
        ),
        command=("vllm", "bench", "serve", "--random-input-len", f"128{hostile}"),
        seconds=176.0,
    )
