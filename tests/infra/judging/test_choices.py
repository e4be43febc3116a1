"""What a choice is worth to a metric is what lm-eval's own marking takes."""

from __future__ import annotations

from typing import Any

import pytest

from infra.judging.choices import choices_of, first_best, named_right, worths
from tests.infra.judging.gaps.made import row

TEXTS = [" yes", " not at all", " ü"]
WORTH = [-2.0, -9.0, -1.5]


@pytest.mark.parametrize(("metric", "expected"), [
    ("acc", [-2.0, -9.0, -1.5]),
    ("acc_norm", [-2 / 3, -9 / 10, -1.5]),  # characters, without the space before
    ("acc_bytes", [-2 / 3, -9 / 10, -0.75]),
])  # fmt: skip
def test_each_metric_has_its_own_worth(metric: str, expected: list[float]) -> None:
    assert worths(row(WORTH, 0, texts=TEXTS), f"{metric},none") == pytest.approx(expected)


def test_what_is_asked_twice_is_taken_apart() -> None:
    twice = row(
        [-2.0, -1.0, -5.0, -1.5], 0, texts=[" a", " b", " a", " b"], acc=0.0, acc_mutual_info=1.0
    )
    assert choices_of(twice, "none") == 2
    assert worths(twice, "acc,none") == [-2.0, -1.0]
    assert worths(twice, "acc_mutual_info,none") == [3.0, 0.5]


def test_it_is_what_lm_eval_marks() -> None:
    from lm_eval.api.task import ConfigurableTask

    class Marking(ConfigurableTask):
        """Of lm-eval the marking alone."""

        def __init__(self) -> None:
            self.OUTPUT_TYPE = "multiple_choice"
            self._metric_fn_list = dict.fromkeys(("acc", "acc_norm", "acc_bytes"))
            self.multiple_input = self.multiple_target = 0

            class Config:
                process_results = None

            self._config = Config()

        def doc_to_choice(self, doc: Any, doc_to_choice: Any = None) -> Any:
            return [text.strip() for text in TEXTS]

        def doc_to_target(self, doc: Any, doc_to_target: Any = None) -> Any:
            return doc

    for worth in ([-2.0, -9.0, -1.9], [-4.0, -9.0, -1.4], [-2.7, -8.0, -1.7], [-3.0, -3.0, -3.0]):
        for name in ("acc", "acc_norm", "acc_bytes"):
            best = first_best(worths(row(worth, 0, texts=TEXTS), f"{name},none"))
            marks = [
                Marking().process_results(key, [(one, False) for one in worth])[name]
                for key in range(3)
            ]
            assert marks.index(1.0) == best


def test_without_choices_or_their_texts_there_is_none() -> None:
    assert worths(row(WORTH, 0, texts=[" yes"]), "acc_norm,none") == []
    assert worths(row(WORTH, 0), "acc,other") == []


@pytest.mark.parametrize(("target", "expected"), [
    (2, {2}), (" ü", {2}), ("yes", {0}), ([0, 2], {0, 2}), (["yes", "ü"], {0, 2}),
    (7, set()), (-1, set()), ("perhaps", set()), (None, set()),
])  # fmt: skip
def test_the_target_names_what_is_right(target: Any, expected: set[int]) -> None:
    assert named_right(row(WORTH, target, texts=TEXTS), 3) == expected


def test_a_text_that_comes_twice_names_nothing() -> None:
    assert named_right(row([-1.0, -2.0], "end", texts=[" end", " end"]), 2) == set()
