"""What does a change cost this model? In seven fields."""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from infra.contracts.specs import quick
from tasks.evaluation import evaluate


@flow(name="evaluate-quickly")
def evaluate_quickly(
    model: quick.Model = "sample",
    candidates: quick.Candidates = ["awq"],  # noqa: B006 -- read alone
    tasks: quick.Tasks = ["gsm8k", "global_mmlu_en"],  # noqa: B006 -- read alone
    rows: quick.Rows = "quick",
    margin: quick.Margin = 2.0,
    label: quick.Name = "",
    notify: quick.Name = "",
) -> Path:
    """Quantize a model in the usual ways, ask it and what came of it the same, and compare them.

    Everything that is not asked for here is as in the recipes. As it stands, it starts the sample.

    Args:
        model: `sample`; a repository on ModelScope (`Qwen/Qwen2.5-7B-Instruct`) or Hugging Face
            (`hf:Qwen/Qwen2.5-7B-Instruct`, with `@revision` if you like); or a folder of the
            worker's machine (`/models/mine`, `./mine`, `~/mine`).
        candidates: What is held against it. Choose how it is quantized, on the conversations in
            `calibration.jsonl`; or write, with commas between, methods and ready-made checkpoints:
            `awq, hf:Qwen/Qwen2.5-7B-Instruct-AWQ, ./mine`. None: the model is measured alone.
        tasks: What all are asked. Choose, or write names of lm-eval with commas between.
        rows: How many rows: `quick` for a first look, `standard` for a verdict on a few points,
            `full` for all there are.
        margin: Loss over all rows that is still acceptable, in percentage points; a single task may
            lose twice that. Where the rows are too few to show it, it is widened, and the verdict
            says so.
        label: Name under which runs of a kind are compared over time. Empty: the model's, and how
            many rows.
        notify: Name of whom to notify, as your automations know it. Empty: nobody.

    Returns:
        Path of the report, in the state that the verdict is: `Passed`, `Regressed` or
        `Inconclusive`. No verdict fails the run: what gates needs the whole form.
    """
    spec = quick.run_of(
        model=model,
        candidates=candidates,
        tasks=tasks,
        rows=rows,
        margin=margin,
        label=label,
        notify=notify,
    )
    return evaluate(spec.starting(flow_run.scheduled_start_time))
