"""Worked examples are near, of other questions, and found without reading a whole file each."""

from __future__ import annotations

from infra.suite.own.worked_examples import Pool, Wrong, examples_for


def wrong(question: str, construct: str, subject: str, text: str = "") -> Wrong:
    return Wrong(
        question, "A", (subject, subject), (construct, construct),
        text or f"text {question}", "right", "wrong", "100",
    )  # fmt: skip


def test_examples_are_of_the_construct_then_of_the_subject_then_any() -> None:
    asked = wrong("0", "c", "s")
    pool = [
        wrong("1", "x", "y"), wrong("2", "x", "s"), wrong("3", "c", "s"), wrong("0", "c", "s"),
        wrong("4", "c", "s", text=asked.text),
    ]  # fmt: skip

    def found(shots: int, fallback: str = "any") -> list[tuple[str, str]]:
        return [(one.question, by) for one, by in examples_for(asked, Pool(pool), shots, fallback)]

    whole = [("3", "construct"), ("2", "subject"), ("1", "any")]
    assert [found(shots) for shots in range(5)] == [whole[:0], whole[:1], whole[:2], whole, whole]
    assert found(5, "none") == whole[:2]


def test_no_question_is_shown_twice_and_the_order_is_a_lot_of_its_own() -> None:
    pool = [wrong(str(n), "c", "s") for n in range(1, 40)] * 2
    shown = [
        [one.question for one, _ in examples_for(wrong(f"q{n}", "c", "s"), Pool(pool), 3, "any")]
        for n in range(8)
    ]
    assert all(len(set(one)) == 3 for one in shown)
    assert len({tuple(one) for one in shown}) > 1
    again = [
        one.question for one, _ in examples_for(wrong("q0", "c", "s"), Pool(pool[::-1]), 3, "any")
    ]
    assert again == shown[0]


def test_what_is_unknown_is_alike_to_nothing() -> None:
    asked, other = wrong("0", "", ""), wrong("1", "", "")
    assert [by for _, by in examples_for(asked, Pool([other]), 1, "any")] == ["any"]


def test_few_are_looked_at_of_many() -> None:
    class Seen(list[Wrong]):
        reads = 0

        def __getitem__(self, place):  # type: ignore[no-untyped-def]
            Seen.reads += 1
            return super().__getitem__(place)

    pool = Pool(wrong(str(number), f"c{number}", "") for number in range(500))
    pool._all = Seen(pool._all)
    for number in range(100):
        assert len([*examples_for(wrong(f"q{number}", "other", ""), pool, 2, "any")]) == 2
    assert Seen.reads == 200
