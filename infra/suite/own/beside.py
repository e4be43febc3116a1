"""Settings of the user's own beside a file of rows: `house.yaml` beside `house.jsonl`.

They are lm-eval's keys, and the kind's own options under its name; what they say counts before what
the kind says. Nothing in them names code.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from infra.contracts.errors import EvaluationError
from infra.suite.own.kind import Kind

_SETTINGS = (
    "description", "doc_to_choice", "doc_to_target", "doc_to_text", "fewshot_config",
    "fewshot_delimiter", "filter_list", "gen_prefix", "generation_kwargs", "metadata",
    "metric_list", "num_fewshot", "repeats", "target_delimiter",
)  # fmt: skip
"""What may be set beside a file. Other keys of lm-eval's definitions say which task it is and where
its rows are, or name code."""

_OF_CHOICES = ("acc_norm", "acc_mutual_info", "brier_score", "f1", "mcc")
"""What lm-eval scores choices by, besides."""


def beside_of(file: Path) -> Path:
    """Return where the settings of a file lie, if it has any."""
    return file.with_suffix(".yaml")


def read_beside(file: Path, kind: Kind) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Return what is set of the definition beside a file of rows, and all options of its kind.

    Raises:
        EvaluationError: The YAML is none, or says what the file itself or its kind decides.
    """
    settings = _settings(beside_of(file), kind)
    return settings, _options(kind, settings.pop(kind.name, {}), beside_of(file))


def named_beside(file: Path, kinds: Iterable[Kind]) -> list[Path]:
    """Return the files and folders that the settings of a file name, or the kinds' own options."""
    found = None
    with suppress(OSError, yaml.YAMLError, ValueError, RecursionError):
        # Whoever reads the settings says what is wrong with them.
        found = yaml.safe_load(beside_of(file).read_text(encoding="utf-8"))
    given = found if isinstance(found, dict) else {}
    return [
        file.parent / Path(value).expanduser()
        for kind in kinds
        if isinstance(options := given.get(kind.name, {}), dict)
        for name in kind.paths
        if isinstance(value := options.get(name, kind.options[name]), str) and value
    ]


def _options(kind: Kind, given: Any, beside: Path) -> dict[str, Any]:
    if not isinstance(given, dict) or not given.keys() <= kind.options.keys():
        raise EvaluationError(
            f"{beside.name} sets {kind.name} to {given!r:.120}.",
            cause=f"Rows of the kind {kind.name} have "
            + (f"the options {', '.join(kind.options)}." if kind.options else "no options."),
            remedy=f"Correct what stands under {kind.name}:, or take it out.",
        )
    for name, value in given.items():
        usual = kind.choices.get(name, ())
        if usual and not any(type(value) is type(one) and value == one for one in usual):
            raise EvaluationError(
                f"{beside.name} sets {kind.name}.{name} to {value!r:.120}.",
                remedy=f"Give one of {', '.join(map(json.dumps, usual))}.",
            )
        whole = type(value) is int and isinstance(kind.options[name], float)
        if not usual and not whole and type(value) is not type(kind.options[name]):
            raise EvaluationError(
                f"{beside.name} sets {kind.name}.{name} to {value!r:.120}.",
                remedy=f"Give one like {kind.options[name]!r:.60}.",
            )
    return {**kind.options, **given}


def _settings(beside: Path, kind: Kind) -> dict[str, Any]:
    if not beside.is_file():
        return {}
    try:
        found = yaml.safe_load(beside.read_text(encoding="utf-8"))
        json.dumps(found, default=str)  # whatever is in itself has no end
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise EvaluationError(
            f"{beside.name} is no YAML that can be read: {' '.join(str(error).split())}.",
            cause="Code with !function belongs into definitions of your own, in "
            "evaluation.include_path."
            if "!function" in str(error)
            else "",
            remedy=f"Mend the file, or remove it: {beside}.",
        ) from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise EvaluationError(
            f"{beside.name} holds a {type(found).__name__}, not keys with values.",
            remedy="Write lm-eval's keys: `num_fewshot: 0`, `generation_kwargs: {…}`, ….",
        )
    allowed = [key for key in _SETTINGS if key not in kind.decides]
    if others := [str(key) for key in found if key not in (*allowed, kind.name)]:
        raise EvaluationError(
            f"{beside.name} sets {', '.join(sorted(others))}.",
            cause=f"Beside a file may stand {', '.join(allowed)}"
            + (f", {kind.name}." if kind.options else "."),
            remedy="Take it out; for a definition that says all, use evaluation.include_path.",
        )
    _require_metrics(found.get("metric_list", [{"metric": kind.metrics[0]}]), kind, beside)
    if "metadata" in found:
        if not isinstance(found["metadata"], dict):
            raise EvaluationError(
                f"{beside.name} sets metadata to {found['metadata']!r:.120}.",
                remedy="Write keys with values: `metadata: {version: 1.0}`.",
            )
        found["metadata"] = {**kind.definition["metadata"], **found["metadata"]}
    return found


def _require_metrics(listed: Any, kind: Kind, beside: Path) -> None:
    """Refuse metrics that answers of a kind do not have; lm-eval would seek them as code, afar."""
    given = listed if isinstance(listed, list) else [listed]
    names = [one.get("metric") if isinstance(one, dict) else one for one in given]
    allowed = kind.metrics if kind.marks else (*kind.metrics, *_OF_CHOICES)
    wrong = [str(name) for name in names if name not in allowed]
    coded = any(isinstance(one, dict) and one.get("hf_evaluate") for one in given)
    if not given or wrong or coded or not all(isinstance(one, dict) for one in given):
        raise EvaluationError(
            f"{beside.name} sets metric_list to {listed!r:.120}.",
            cause=f"Rows of the kind {kind.name} are scored by {', '.join(allowed)}.",
            remedy="Write one or more of these, each as `metric: NAME` with `aggregation: mean`.",
        )
