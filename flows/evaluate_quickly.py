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
        model: sample, the small model that comes with Assay; a repository on ModelScope, such as
            Qwen/Qwen2.5-7B-Instruct; one on Hugging Face, such as hf:Qwen/Qwen2.5-7B-Instruct; or
            a folder of the worker's machine, such as /models/mine or ./mine.
        candidates: What the model is held against. Choose how it is quantized, by your own
            conversations in calibration.jsonl. Or write methods and ready-made checkpoints, with
            commas between: awq, hf:Qwen/Qwen2.5-7B-Instruct-AWQ. None: the model is measured alone.
        tasks: What all are asked. Choose, or write names of lm-eval, with commas between.
        rows: How many questions of each task. quick: a first look, dozens. standard: hundreds, for
            a verdict on a few points. full: all there are.
        margin: Percentage points that may be lost over all rows; by a single task twice that. Where
            the rows are too few to show it, it is widened, and the verdict says so.
        label: Name under which runs of a kind are compared over time. Empty: the model's name and
            how many rows.
        notify: Whom to notify, by the name that your automations have. Empty: nobody.

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
