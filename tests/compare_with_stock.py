"""Show that the scores are those of the stock `lm_eval` command line, on a real server.

    python -m tests.compare_with_stock [--model FOLDER …] [--tasks NAME …] [--limit N]

For each model folder, one vLLM server is started and asked twice: by `lm_eval --model
local-completions` as a process of its own, and by Assay. Every metric has to be equal to the last
digit. `mmlu`, `ceval-valid` and `ifeval` may be among the tasks: their rows are written here, a few
of each subject. Then an oracle that learnt the answers from the raw rows answers gpqa, in a fresh
cache, and is marked once by lm-eval as it is and once by Assay. Exits with 1 if anything is not as
it should be.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.contracts.specs import ServingSpec, TaskSpec
from infra.engines.live import LiveServer
from infra.engines.vllm.server import serve
from infra.machine.device import detect
from infra.machine.environments import ensure
from infra.store.settings import Settings
from infra.suite.harness.keys import suite_entries
from infra.suite.harness.libraries.quiet import quiet
from infra.suite.harness.questions.question import DEFAULT_ANSWER_TOKENS
from infra.suite.harness.rows.redirecting import write_definitions
from infra.suite.harness.rows.sources import find_rows
from infra.suite.harness.suite import HarnessSuite, prepare
from tests.infra.suite.harness.conftest import DATA, evaluation
from tests.infra.suite.harness.stock import every, stderr_of
from tests.published_rows import write, write_punkt

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "infra" / "sample" / "model"
HASHES = ("doc_hash", "prompt_hash", "target_hash")
GPQA = ("gpqa_main_zeroshot", "gpqa_main_n_shot", "gpqa_main_cot_zeroshot")


class Printed:
    """Prints what is said; counts are left out."""

    def say(self, text: str) -> None:
        print(f"  {text}", flush=True)

    def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
        pass


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, nargs="+", default=[SAMPLE], help="checkpoints")
    parser.add_argument("--tasks", nargs="+", default=["gsm8k", "global_mmlu_en"])
    parser.add_argument("--num-fewshot", type=int, default=None, help="the tasks' own if not given")
    parser.add_argument("--punkt", action="store_true", help="NLTK has its punkt_tab here")
    parser.add_argument("--limit", type=int, default=None, help="documents of each (sub)task")
    parser.add_argument("--max-gen-toks", type=int, default=256)
    parser.add_argument("--concurrency", type=int, default=16)
    given = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="assay-compare-") as name:
        work = Path(name)
        settings = Settings(cache=work / "cache", runs=work)
        spec = evaluation(
            *(
                TaskSpec(
                    name=task,
                    num_fewshot=given.num_fewshot,
                    limit=given.limit,
                    max_gen_toks=given.max_gen_toks,
                )
                for task in given.tasks
            ),
            concurrency=given.concurrency,
        )
        spec = spec.model_copy(update={"datasets": spec.datasets | write(work / "rows")})
        if "ifeval" in given.tasks and not given.punkt:
            os.environ["NLTK_DATA"] = str(write_punkt(work / "nltk"))
        suite = prepare(spec, settings=settings, progress=Printed())
        for model in given.model:
            wrong += compare(model.resolve(), suite, work)
        wrong += oracle(work)
    print("\nequal" if not wrong else f"\n{wrong} differences")
    return int(wrong > 0)


def compare(model: Path, suite: HarnessSuite, work: Path) -> int:
    """Ask one server both ways; print and count what differs."""
    device = detect("auto")
    log = work / f"{model.name}-server.log"
    environment = ensure(
        "vllm", device.kind, settings=Settings(), progress=Printed(), log=work / "build.log"
    )
    print(f"\n{model}")
    with serve(
        model, arm="baseline", spec=ServingSpec(enforce_eager=device.kind == "cpu"),
        concurrency=suite.spec.concurrency, environment=environment, device=device,
        trust_remote_code=False, log=log, progress=Printed(),
    ) as server:  # fmt: skip
        theirs, their_rows = stock(model, suite, server, work / "stock" / model.name)
        ours = {
            name: suite.ask(name, server, model, work / f"{name}.jsonl", Printed())
            for name in suite.names
        }
    wrong = 0
    print(f"  {'task':32} {'metric':30} {'stock':>22} {'Assay':>22}")
    for scores in (each for top in ours.values() for each in every(top)):
        result = theirs[scores.name]
        for metric, value in scores.metrics.items():
            equal = (result[metric], stderr_of(result, metric)) == (value.value, value.stderr)
            wrong += not equal
            print(
                f"  {scores.name:32} {metric:30} {result[metric]!r:>22} {value.value!r:>22} "
                f"{'equal' if equal else 'DIFFERENT'}"
            )
    for name in suite.names:
        wrong += rows(name, (work / f"{name}.jsonl").read_text(), their_rows)
    return wrong


def rows(name: str, text: str, theirs: Mapping[tuple[str, ...], Any]) -> int:
    """Compare the rows of one part: the same questions, the same answers?"""
    mine = [json.loads(line) for line in text.splitlines()]
    strangers = [row for row in mine if key(row["task"], row) not in theirs]
    answers = [row["responses"] != theirs.get(key(row["task"], row)) for row in mine]
    print(
        f"  {name}: {len(mine)} rows, {len(strangers)} asked otherwise, "
        f"{sum(answers)} answered otherwise"
    )
    return len(strangers)


def key(task: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    return (task, *(str(row[name]) for name in HASHES))


def stock(
    model: Path, suite: HarnessSuite, server: LiveServer, output: Path
) -> tuple[dict[str, Any], dict[tuple[str, ...], Any]]:
    """Run the command line; return its results and the answer of each row."""
    line = suite.spec.tasks[0]
    arguments = {
        "base_url": f"{server.base_url}/completions",
        "model": server.model,
        "tokenizer": model,
        "tokenizer_backend": "huggingface",
        "num_concurrent": suite.spec.concurrency,
        "max_length": server.window,
        "max_gen_toks": line.max_gen_toks or DEFAULT_ANSWER_TOKENS,
    }
    command = [
        sys.executable, "-m", "lm_eval", "run",
        "--model", "local-completions",
        "--model_args", ",".join(f"{name}={value}" for name, value in arguments.items()),
        "--tasks", ",".join(suite.names),
        "--include_path", str(suite.definitions),
        "--log_samples", "--output_path", str(output),
        *(["--num_fewshot", str(line.num_fewshot)] if line.num_fewshot is not None else []),
        *(["--limit", str(line.limit)] if line.limit else []),
    ]  # fmt: skip
    secret = server.api_key.get_secret_value()
    print("  " + " ".join(command[1:]), flush=True)
    with (output.parent.parent / f"{output.name}-stock.log").open("w") as log:
        ended = subprocess.run(
            command, env={**os.environ, "OPENAI_API_KEY": secret},
            stdout=log, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    if ended.returncode:
        print(Path(log.name).read_text()[-3000:])
        raise SystemExit(f"lm_eval ended with exit code {ended.returncode}")
    (results,) = output.rglob("results_*.json")
    answers = {}
    for file in output.rglob("samples_*.jsonl"):
        task = file.stem.removeprefix("samples_").rpartition("_")[0]
        for row in map(json.loads, file.read_text().splitlines()):
            answers[key(task, row)] = numbers(row["resps"])
    return json.loads(results.read_text())["results"], answers


def numbers(value: Any) -> Any:
    """lm-eval writes likelihoods as texts; make them what they were."""
    if isinstance(value, list):
        if len(value) == 2 and value[1] in ("True", "False"):
            return [float(value[0]), value[1] == "True"]
        return [numbers(item) for item in value]
    return value


def oracle(work: Path) -> int:
    """Run an oracle over gpqa, marked by lm-eval as it is and by Assay."""
    from lm_eval.evaluator import evaluate, simple_evaluate
    from lm_eval.tasks import TaskManager

    from tests.infra.suite.harness.raw_oracle import RawOracle

    wrong = 0
    print("\nAn oracle, in a fresh cache")
    for name in GPQA:
        settings = Settings(cache=work / f"oracle-{name}", runs=work)
        spec = evaluation(name)
        entries = [entry for entry, _ in suite_entries(spec, Settings()).values()]
        place = find_rows(entries, spec, settings=settings, progress=Printed())
        definitions = write_definitions(entries, place, settings)
        with quiet():
            theirs = simple_evaluate(
                RawOracle(DATA), tasks=[name], bootstrap_iters=0,
                task_manager=TaskManager(include_path=str(definitions), include_defaults=False),
            )  # fmt: skip
            suite = prepare(
                spec, settings=Settings(cache=work / "ours", runs=work), progress=Printed()
            )
            part = suite.parts[name]
            for task in part.tasks.values():
                task.set_fewshot_seed(spec.seed)
            ours = evaluate(RawOracle(DATA), part.loaded, bootstrap_iters=0)
        metric = next(
            k for k in ours["results"][name] if k in ("acc,none", "exact_match,strict-match")
        )
        left, right = theirs["results"][name][metric], ours["results"][name][metric]
        wrong += right != 1.0
        print(f"  {name:32} {metric:30} stock {left:.3f}   Assay {right:.3f}")
    return wrong


if __name__ == "__main__":
    raise SystemExit(main())
