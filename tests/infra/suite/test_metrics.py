from __future__ import annotations

import pytest

from infra.contracts.records import MetricValue
from infra.suite.metrics import in_points, is_better_higher, is_corpus, unit_of_name


@pytest.mark.parametrize(("metric", "task", "unit"), [
    ("exact_match,strict-match", "gsm8k", "points"),
    ("acc_norm,none", "", "points"),
    ("pass@1,create_test", "humaneval", "points"),
    ("pass@k", "humaneval", "value"),
    ("score,none", "longbench_trec", "points"),
    ("score,none", "realtoxicityprompts", "value"),
    ("brier_score,none", "", "value"),
    ("word_perplexity,none", "wikitext", "value"),
    ("bits_per_byte,none", "wikitext", "bits"),
    ("nll", "", "nats"),
    ("my_own", "mine", "value"),
])  # fmt: skip
def test_what_a_name_says(metric: str, task: str, unit: str) -> None:
    assert unit_of_name(metric, task) == unit


def test_scores_of_earlier_versions_have_the_unit_of_the_name() -> None:
    old = MetricValue(value=0.5, stderr=None, n=4)
    new = old.model_copy(update={"unit": "value", "aggregation": "corpus"})
    assert in_points("acc,none", "t", old, old)
    assert not in_points("acc,none", "t", old, new)
    assert not in_points("brier_score,none", "t", old)
    assert (is_corpus(old), is_corpus(old, new)) == (False, True)


@pytest.mark.parametrize(("metric", "declared", "higher"), [
    ("ter,none", None, False), ("ter,none", True, True), ("acc", None, True), ("acc", False, False),
    ("mse", None, False), ("mine", None, True),
])  # fmt: skip
def test_direction(metric: str, declared: bool | None, higher: bool) -> None:
    assert is_better_higher(metric, declared) is higher
