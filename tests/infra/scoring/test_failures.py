from __future__ import annotations

import json

import pytest

from infra.scoring.failures import REMEDIES, Refused, Throttled, Transient, of_status


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Refused), (401, Refused), (403, Refused), (404, Refused), (413, Refused),
        (422, Refused), (302, Refused), (204, Refused),
        (408, Transient), (425, Transient), (429, Throttled),
        (500, Transient), (502, Transient), (503, Throttled), (504, Transient), (599, Transient),
    ],
)  # fmt: skip
def test_what_heals_and_what_does_not(status: int, kind: type[Exception]) -> None:
    failure = of_status(status, b"{}", None)
    assert type(failure) is kind
    assert failure.status == status


@pytest.mark.parametrize(
    ("status", "alike"), [(400, False), (401, True), (403, True), (404, True), (422, False)]
)
def test_what_is_about_the_server_and_not_the_question(status: int, alike: bool) -> None:
    failure = of_status(status, b"", None)
    assert isinstance(failure, Refused)
    assert failure.all_alike is alike


def test_an_answer_of_another_shape_is_about_the_question() -> None:
    assert Refused("not JSON").status is None
    assert not Refused("not JSON").all_alike


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0), ("", 0), ("0", 0), ("7", 7), ("0.5", 0.5), ("-3", 0), ("9000", 9000), ("inf", 0),
        ("nan", 0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0), ("soon", 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [429, 503, 500])
def test_how_long_the_server_asks_us_to_wait(
    status: int, header: str | None, seconds: float
) -> None:
    failure = of_status(status, b"", header)
    assert isinstance(failure, Transient)
    assert failure.wait == seconds


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"error": {"message": "too long", "type": "BadRequestError"}}, "too long"),
        ({"error": "too long"}, "too long"),
        ({"message": "too long"}, "too long"),
        ({"error": {"code": 7}}, "{'code': 7}"),
        ({"detail": "Not Found"}, "{'detail': 'Not Found'}"),
        (["too", "long"], '["too", "long"]'),
        (None, "null"),
    ],
)
def test_the_servers_own_words_are_quoted(answer: object, says: str) -> None:
    assert str(of_status(400, json.dumps(answer).encode(), None)) == f"400 Bad Request: {says}"


def test_words_that_are_no_json_are_quoted_and_cut() -> None:
    assert str(of_status(502, b"<html>\xff", None)) == "502 Bad Gateway: <html>\ufffd"
    assert str(of_status(599, b"x" * 9000, None)) == "599 : " + "x" * 500


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_what_a_user_can_mend_has_cause_and_remedy(status: int) -> None:
    assert all(text.endswith(".") for text in REMEDIES[status])  # type: ignore[index]
