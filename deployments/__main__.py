"""Runs recipes from the command line: `python -m deployments run sample`."""

from __future__ import annotations

if __name__ == "__main__":
    # Before all else: what is imported now takes most of a second.
    from infra.machine import interrupts

    interrupts.hear()
    interrupts.say_in_one_line()

import argparse
import errno
import json
import os
import select
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from deployments import (
    ahead,
    housekeeping,
    notifying,
    own_tasks,
    pipelines,
    prefect_here,
    shared_runs,
    trying,
)
from deployments.endpoints import ENDPOINTS
from deployments.endpoints import carry_out as carry_out_endpoint
from deployments.families import MATRICES
from deployments.looking_back import COMMANDS, add_commands, look_back
from deployments.matrix import carry_out as carry_out_matrix
from deployments.overrides import override, parse, parse_endpoint, parse_matrix
from deployments.recipes import RECIPES
from infra.contracts import exit_codes
from infra.contracts.commands import PYTHON
from infra.contracts.errors import AssayError, NotPassed, PreflightError, SpecError
from infra.contracts.progress import Progress, Silent
from infra.contracts.specs import EndpointRunSpec, MatrixSpec, RunSpec
from infra.store import store_format
from infra.store.settings import Settings
from tasks.prefect_api import surveyed_api

_FURTHER = (own_tasks, pipelines, notifying, trying, housekeeping, ahead, shared_runs)
"""Modules with commands of their own."""
_NAMES = (*RECIPES, *MATRICES, *ENDPOINTS)

_QUIET = ("WARNING", "ERROR", "CRITICAL")
"""Levels of Prefect's logging that leave news out."""


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says and return the exit code."""
    try:
        try:
            return _answer(arguments)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # at its end Python would say itself that nobody reads it
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        return exit_codes.FAILED


def _answer(arguments: list[str] | None) -> int:
    given = _parser().parse_args(arguments)
    # transformers is here for its tokenizers; that torch is missing is as it should be.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    try:
        for module in _FURTHER:
            if given.command in module.COMMANDS:
                return int(module.carry_out(given, _Terminal()))
        return look_back(given) if given.command in COMMANDS else _carry_out(given)
    except NotPassed as verdict:
        print(f"assay: {verdict}", file=sys.stderr)
        print(f"report: {verdict.report}")
        return exit_codes.OF_VERDICT[verdict.status]
    except AssayError as error:
        print(f"assay: {error}", file=sys.stderr)
        return exit_codes.BAD_INPUT
    except Exception as error:
        if (plain := _of_the_machine(error)) is None:
            raise
        print(f"assay: {plain}", file=sys.stderr)
        return exit_codes.FAILED


def _carry_out(given: argparse.Namespace) -> int:
    chosen = _spec(given)
    if isinstance(chosen, MatrixSpec):
        return carry_out_matrix(
            chosen,
            given.command,
            given.set,
            _Terminal(),
            again=given.command == "run" and given.again,
        )
    if isinstance(chosen, EndpointRunSpec):
        return carry_out_endpoint(chosen, given.command, given.set, _Terminal())
    spec = override(chosen, given.set)
    if given.command == "show":
        whole = spec.short_form or spec.model_dump(mode="json")
        print(json.dumps(whole, indent=2, ensure_ascii=False))
        return 0
    if given.command == "preflight":
        return _preflight(spec)
    return _run(spec, again=given.again)


def _nobody_reads() -> bool:
    """Return whether whoever read what is printed here has gone, as `head` does; be quiet then."""
    pipe = select.poll()
    pipe.register(sys.stdout, 0)
    if not any(event & select.POLLERR for _, event in pipe.poll(0)):
        return False
    # Python writes what is left once more when it ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _of_the_machine(error: Exception) -> AssayError | None:
    """Return what a run says that lost its disk or its Prefect API; none if it was neither."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return AssayError(
            "No space left on device" + (f": {error.filename}" if error.filename else "."),
            remedy="Make room and start the same run again: whatever was finished is reused.",
        )
    if type(error).__module__.partition(".")[0] in ("httpx", "httpcore"):
        return AssayError(
            f"The Prefect API does not answer any more: {type(error).__name__}.",
            cause="Its server ended or cannot be reached.",
            remedy="Start it and the same run again: whatever was finished is reused.",
        )
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deployments",
        description="What does a change cost a model, and what does it buy?",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    texts = {
        "run": "run a recipe here and now, recorded in Prefect",
        "preflight": "say what a recipe lacks on this machine; download and start nothing",
        "show": "print every field of a recipe, with the changes made by --set",
    }
    for name, text in texts.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "recipe",
            help=f"{', '.join(_NAMES)}, or a JSON file with a whole spec",
        )
        command.add_argument(
            "--set", action="append", default=[], metavar="FIELD=VALUE",
            help="""change one field: evaluation.tasks.gsm8k.limit=50,
            evaluation.tasks[+].name=arc_easy, 'evaluation.datasets["a.b/c"].path=rows',
            candidates[+].name=half, candidates.half.serving.dtype=bfloat16 (may be repeated)""",
        )  # fmt: skip
        if name == "run":
            command.epilog = (
                "Exit codes: 0 for a PASS, or any verdict with verdict.gate=none; 1 for a run "
                "that failed on its way; 2 for what cannot run, with nothing spent; 3 for a FAIL; "
                "4 for an INCONCLUSIVE verdict."
            )
            command.add_argument(
                "--again",
                action="store_true",
                help="run even if nothing changed since last time; it is a run and a report of its "
                "own, and takes what has not changed from earlier ones",
            )
    add_commands(commands)
    for module in _FURTHER:
        module.add_commands(commands)
    return parser


def _spec(given: argparse.Namespace) -> RunSpec | MatrixSpec | EndpointRunSpec:
    if given.recipe in RECIPES:
        return RECIPES[given.recipe]()
    if given.recipe in MATRICES:
        return MATRICES[given.recipe]()
    if given.recipe in ENDPOINTS:
        return ENDPOINTS[given.recipe]()
    path = Path(given.recipe)
    if path.suffix != ".json":
        raise SpecError(
            f"No recipe {given.recipe!r}.",
            cause=f"There are {', '.join(_NAMES)}.",
            remedy="Name one of them, or a .json file with a whole spec.",
        )
    try:
        given_spec = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(given_spec, dict):
            raise ValueError(f"It holds a {type(given_spec).__name__}, not an object.")
    except (OSError, ValueError) as error:
        raise SpecError(
            f"{path} is no JSON file with a spec.",
            cause=str(error),
            remedy=f"`{PYTHON} -m deployments show RECIPE > spec.json` writes one to start from.",
        ) from error
    if "endpoint" in given_spec:
        return parse_endpoint(given_spec)
    return parse_matrix(given_spec) if "models" in given_spec else parse(given_spec)


class _Terminal:
    """Shows news on stderr, so that stdout ends with the report's path.

    It is as quiet as Prefect was asked to be, by its own variable.
    """

    def say(self, text: str) -> None:
        if os.environ.get("PREFECT_LOGGING_LEVEL", "").upper() not in _QUIET:
            print(f"assay: {text}", file=sys.stderr)

    def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
        pass


def _preflight(spec: RunSpec) -> int:
    from infra.preflight import problems, survey, table

    findings = survey(spec, settings=Settings(), progress=Silent(), configured=surveyed_api)
    print(table(findings))
    return exit_codes.BAD_INPUT if problems(findings) else 0


def _run(spec: RunSpec, *, again: bool) -> int:
    from infra.report.trend.rows import record_missing
    from infra.stages.loading import loading_first
    from infra.stages.run_key import finished_run

    settings = Settings()
    store_format.begin(settings.cache)
    terminal: Progress = _Terminal()
    if not again and (finished := finished_run(spec, settings)):
        report, page = finished
        print(f"Nothing changed since run {report.run_id}; all of it is reused:")
        for stage, seconds in report.timings.items():
            print(f"  {stage:<22} {seconds:8.1f} s saved")
        print(f"  {report.verdict.headline}")
        print("Run it all the same with --again.")
        if not_added := record_missing(report, page.parent.parent):
            terminal.say(str(not_added))
        print(f"report: {page}")
        status = report.verdict.status if spec.candidates else None
        return exit_codes.of_verdict(status, spec.verdict.gate)
    if again:
        terminal.say(
            "--again makes a run and a report of its own. Checkpoints, answers, scores, readings "
            "and timings are not made anew as long as all that they depend on is the same; the "
            f"report names them. To ask everything anew, set ASSAY_CACHE to another folder than "
            f"{settings.cache}."
        )
    prefect_ready = prefect_here.begin(terminal)
    with loading_first(spec, settings):
        return _look_and_run(spec, settings, terminal, prefect_ready)


def _look_and_run(
    spec: RunSpec, settings: Settings, terminal: Progress, prefect_ready: Callable[[], None]
) -> int:
    from infra.preflight import handed_over, refuse, survey
    from infra.stages.run_key import run_key

    # Before Prefect is even waited for: bad input shall cost seconds.
    findings = survey(
        spec, settings=settings, progress=terminal, configured=surveyed_api, fetch_rows=True
    )
    refuse(findings)
    key = run_key(spec, settings)  # known now, also where it depends on what was loaded

    prefect_ready()
    from flows.evaluate_candidates import evaluate_candidates
    from tasks.outcomes import result_of

    flow = partial(
        evaluate_candidates,
        baseline=spec.baseline,
        candidates=list(spec.candidates),
        evaluation=spec.evaluation,
        conversations=spec.conversations,
        baseline_pack=spec.baseline_pack,
        fidelity=spec.fidelity,
        speed=spec.speed,
        verdict=spec.verdict,
        results=spec.results,
    )
    try:
        with handed_over(findings, (spec, settings, key)):
            page = result_of(flow)
    except NotPassed:
        raise
    except AssayError as error:
        if isinstance(error, PreflightError) and error.nothing_spent:
            raise
        print(f"assay: {error}", file=sys.stderr)
        return exit_codes.FAILED
    print(f"report: {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
