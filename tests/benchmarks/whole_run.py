"""Where the time of a whole run goes, from weights on disk to the verdict, on one accelerator.

    python -m tests.benchmarks.whole_run MODEL [--layers N] [--out FOLDER] [--further]
                                         [--full] [--set FIELD=VALUE …]

MODEL is a folder; where there is none, a checkpoint of Qwen2.5-7B's shape is written there first,
with random weights. The run is that of the sample with all its 1,040 rows, AutoAWQ, fidelity and
timing at four points. Prints every stage, and how busy the accelerator was, looked at each second.
`--further` adds a second candidate, with groups of 64: after a run without it, the seconds are
those of one candidate more. `--full` asks as much as the published datasets do, with which a GPU
has work: 14,042 questions as long as MMLU's with five worked examples, and 1,319 problems of gsm8k,
answered in the 1,024 tokens that recipes allow: random weights never come to an end.
`--set` goes on to `python -m deployments run`, whose cache and runs folder count as always.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from deployments.recipes import sample
from infra.machine.device import detect, gpus
from infra.machine.environments import locate
from infra.store.settings import Settings

Row = dict[str, Any]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MMLU = "CohereLabs/Global-MMLU-Lite"
_GSM8K = "openai/gsm8k"
_CHARACTERS = 300
"""Of a question of MMLU, on average; the sample's have 43."""
_SHOTS = 5
_ROWS = {"gsm8k": 1319, "global_mmlu_en": 14042}
"""Of GSM8K's and MMLU's test parts."""
_ANSWER_TOKENS = 1024


class Busy(threading.Thread):
    """Looks at the accelerator each second: (when, percent of the time that it computed)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: list[tuple[float, float]] = []

    def run(self) -> None:
        if not (ours := gpus()) or shutil.which("nvidia-smi") is None:
            return
        query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        query += ["--id", ",".join(gpu.uuid for gpu in ours)]
        with subprocess.Popen([*query, "-l", "1"], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout
            for line in child.stdout:
                self.seen.append((time.time(), float(line)))

    def share(self, spans: Sequence[tuple[float, float]], *, outside: bool = False) -> float:
        """Return how busy it was within some spans, or outside of all, in percent."""
        within = [
            percent
            for at, percent in self.seen
            if any(begin <= at <= end for begin, end in spans) != outside
        ]
        return fmean(within) if within else float("nan")


def more_rows(folder: Path, rows: int) -> Path:
    """Write rows of global_mmlu_en that are as long as MMLU's: the sample's questions, joined.

    Args:
        folder: Receives the dataset; what is there goes.
        rows: How many, besides those of worked examples.
    """

    def question(there: list[Row], number: int) -> Row:
        text, at = f"{number + 1}.", number
        while len(text) < _CHARACTERS:
            text += f" {there[at % len(there)]['question']}"
            at += 1
        name = there[number % len(there)]["sample_id"]
        return {"sample_id": f"{name}/{number}", "question": text}

    _copy(MMLU, folder)
    _enlarge(folder / "en" / "test.jsonl", rows, question)
    _enlarge(folder / "en" / "dev.jsonl", None, question)
    return folder


def more_problems(folder: Path, rows: int) -> Path:
    """Write problems of gsm8k, none of them twice: the sample's, numbered.

    Args:
        folder: Receives the dataset; what is there goes.
        rows: How many, besides those of worked examples.
    """

    def problem(there: list[Row], number: int) -> Row:
        return {"question": f"{number + 1}. {there[number % len(there)]['question']}"}

    _copy(_GSM8K, folder)
    _enlarge(folder / "main" / "test.jsonl", rows, problem)
    return folder


def _copy(dataset: str, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "infra" / "sample" / "data" / dataset, folder)


def _enlarge(file: Path, rows: int | None, change: Callable[[list[Row], int], Row]) -> None:
    """Write so many rows, or as many as before: those there, again and again, each changed."""
    there = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    with file.open("w", encoding="utf-8") as stream:
        for number in range(rows or len(there)):
            row = there[number % len(there)] | change(there, number)
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def ask_in_full(spec: dict[str, Any], folder: Path) -> None:
    """Have a run ask as many rows as GSM8K and MMLU have, as long as theirs.

    Args:
        spec: Of the run; changed.
        folder: Receives the rows.
    """
    places = {
        _GSM8K: more_problems(folder / "gsm8k", _ROWS["gsm8k"]),
        MMLU: more_rows(folder / "mmlu", _ROWS["global_mmlu_en"]),
    }
    for dataset, place in places.items():
        spec["evaluation"]["datasets"][dataset]["path"] = str(place)
    tasks = {task["name"]: task for task in spec["evaluation"]["tasks"]}
    tasks["gsm8k"]["max_gen_toks"] = _ANSWER_TOKENS
    tasks["global_mmlu_en"]["num_fewshot"] = _SHOTS


def spec_of(model: Path, *, further: bool) -> dict[str, Any]:
    """Return the sample's run on another model, with every row and without early ends."""
    spec = sample().model_dump(mode="json", exclude_defaults=True)
    spec["baseline"]["model"] = {"source": "local", "id": str(model)}
    spec["baseline"]["serving"] = {"max_model_len": 4096}
    for task in spec["evaluation"]["tasks"]:
        task.pop("limit", None)
    calibration = spec["candidates"][0]["quantization"]["calibration"]
    calibration |= {"max_samples": 64, "max_sequence_length": 512}
    if further:
        other = copy.deepcopy(spec["candidates"][0])
        other["quantization"]["group_size"] = 64
        spec["candidates"].append(other | {"name": "groups-of-64"})
    spec["evaluation"]["triage"] = {"enabled": False}
    spec["fidelity"] = {}
    spec["speed"] = {}
    spec["verdict"] |= {"margin_points": 50, "task_margin_points": 90}
    spec["results"] = {"label": "whole-run"}
    return spec


def timing_spans(run: Path) -> list[tuple[float, float]]:
    """Return from when to when each arm was timed."""
    return [
        (request.stat().st_mtime, request.with_name("response.json").stat().st_mtime)
        for request in run.glob("bench/*/request.json")
        if request.with_name("response.json").is_file()
    ]


def table(report: dict[str, Any], seconds: float, ahead: float, publishing: float) -> str:
    """Return where the time went, as Markdown.

    Args:
        report: Of the run.
        seconds: What all of it took.
        ahead: What was spent before the flow began: digests of weights, tasks and their rows.
        publishing: What verdicts, plots, report, receipt and history took.
    """
    rows = [("**whole run**", seconds), ("before the flow", ahead), *report["timings"].items()]
    rows.append(("publish", publishing))
    for name, arm in report["arms"].items():
        rows += [
            (f"{name}: made", arm["checkpoint"].get("made_seconds")),
            (f"{name}: start", arm["speed"]["startup_seconds"]),
            (f"{name}: tasks", arm["speed"]["evaluation_seconds"]),
            (f"{name}: timing", (arm.get("bench") or {}).get("seconds")),
        ]
    besides = seconds - ahead - sum(report["timings"].values()) - publishing
    rows.append((f"between them, and at the end: {100 * besides / seconds:.1f} %", besides))
    lines = [f"| {stage} | {took:.1f} |" for stage, took in rows if took is not None]
    return "\n".join(["", "| stage | seconds |", "|---|--:|", *lines])


def main() -> int:
    """Run, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--further", action="store_true", help="a second candidate")
    parser.add_argument("--full", action="store_true", help="as many rows as GSM8K and MMLU have")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    given = parser.parse_args()
    if not (given.model / "config.json").is_file():
        environment, _ = locate("vllm", detect("auto").kind, Settings())
        python = environment.python
        script = HERE / "random_weights.py"
        tokenizer = ROOT / "infra" / "sample" / "model"
        words = [python, "-I", "-W", "ignore", script, given.model, tokenizer, given.layers]
        subprocess.run([str(word) for word in words], check=True)
    file = given.out / "whole-run.json"
    spec = spec_of(given.model.resolve(), further=given.further)
    if given.full:
        ask_in_full(spec, given.out / "whole-run-rows")
    file.write_text(json.dumps(spec, indent=2))
    busy = Busy()
    busy.start()
    began = time.time()
    command = [sys.executable, "-m", "deployments", "run", str(file), "--again"]
    changes = [word for one in given.set for word in ("--set", one)]
    page = None
    flow = compared = published = began
    with subprocess.Popen(
        [*command, *changes],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=os.environ,
    ) as child:
        assert child.stdout
        for line in child.stdout:
            print(f"{time.time() - began:6.1f} {line}", end="", flush=True)
            if "Beginning flow run" in line:
                flow = time.time()
            if "Task run 'compare-" in line and "Finished in" in line:
                compared = time.time()
            if "Task run 'publish'" in line and "Finished in" in line:
                published = time.time()
            if line.startswith("report: "):
                page = Path(line.removeprefix("report: ").strip())
    ended = time.time()
    if page is None:
        return child.returncode or 1
    report = json.loads(page.with_name("report.json").read_text())
    print(table(report, ended - began, flow - began, published - compared))
    spans = timing_spans(page.parent)
    print(
        f"\nThe accelerator was busy {busy.share([(began, ended)]):.0f} % of the time, "
        f"{busy.share([*spans, (0, began)], outside=True):.0f} % outside timing."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
