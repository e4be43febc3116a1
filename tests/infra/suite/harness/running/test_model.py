from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalCompletionsAPI

from infra.contracts.errors import EvaluationError
from infra.contracts.progress import Silent
from infra.scoring.tokens import pack_texts, unpack
from infra.suite.harness.running.model import ServedModel, build_model
from tests.infra.suite.harness.completions_server import Completions, serving
from tests.infra.suite.harness.conftest import evaluation
from tests.infra.suite.harness.hf_backend import HuggingFace
from tests.tokenizers_of_models import GEMMA, write

BOS, EOS = 0, 1
KINDS: dict[str, dict[str, Any]] = {
    "adds nothing": {},
    "adds a BOS": {"single": "<s> $A"},
    "adds a BOS, whatever the config says": {"single": "<s> $A", "clean_up": False},
    "said by the config": {"add_bos_token": True},
    "said not to": {"single": "<s> $A", "add_bos_token": False},
    "no BOS, EOS stands in": {"bos_token": None},
    "Gemma": {"single": "<s> $A", "template": GEMMA},
}
TEXTS = (
    "Question: what is 12 + 1?\nAnswer:",
    "Question: what?\nIt is\n",
    "<s>begins with one",
    "<s>",
    "later <s> one",
    "</s>ends first",
    "A",
    "x\n\ny\nwater",
)
CONTEXTS = (*TEXTS, "", "The answer is  \n ", "wa", "1")
CONTINUATIONS = (" A", "ter", "2 apples", "<s>x", "<s>", "\n\nOne", " ", "</s>")


@pytest.fixture
def served_model(tmp_path: Path) -> Callable[..., ServedModel]:
    def make(folder: Path, server: Completions | None = None, **fields: Any) -> ServedModel:
        server = server or Completions(base_url="http://127.0.0.1:9/v1")
        return build_model(
            server, folder, evaluation("gsm8k", **fields), answers=None, say=Silent().say
        )

    return make


def split(
    model: ServedModel, pairs: Sequence[tuple[str, str]]
) -> list[tuple[list[int], list[int]]]:
    """Return what would be scored for pairs."""
    scored: list[Any] = []

    def score(pairs: Any, *_: Any) -> Any:
        scored.extend(pairs)
        return [(0.0, True)] * len(pairs)

    model._score = score  # type: ignore[method-assign]
    model.loglikelihood([Instance("loglikelihood", {}, pair, 0) for pair in pairs])
    return [(unpack(context), unpack(continuation)) for context, continuation in scored]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", [None, False, True], ids=["by itself", "off", "on"])
def test_prompts_are_those_of_the_hugging_face_backend(
    kind: str, given: bool | None, served_model: Callable[..., ServedModel], tmp_path: Path
) -> None:
    folder = write(tmp_path / "model", **KINDS[kind])
    if given and "bos_token" in KINDS[kind]:
        pytest.skip("there is none to add")
    theirs = HuggingFace(folder, given)
    ours = served_model(folder, add_bos_token=given)
    pairs = [pair for pair in itertools.product(CONTEXTS, CONTINUATIONS) if pair[0].strip()]
    pairs += [("", continuation) for continuation in CONTINUATIONS]
    assert split(ours, pairs) == theirs.pairs(pairs)
    packed = pack_texts(TEXTS, ours._encode)
    assert [unpack(packed[text]) for text in TEXTS] == [theirs.prompt(text) for text in TEXTS]
    for text in TEXTS:
        assert ours._encode_whole([text]) == [theirs.tok_encode(text)]


def test_an_eos_of_the_tokenizer_stands_behind_whole_texts_alone(
    served_model: Callable[..., ServedModel], tmp_path: Path
) -> None:
    folder = write(tmp_path / "model", single="<s> $A </s>")
    ours, theirs = served_model(folder), HuggingFace(folder)
    ((context, continuation),) = split(ours, [("Is it 1", "2?")])
    assert (context[0], EOS in context, EOS in continuation) == (BOS, False, False)
    plain = ours._encode_alone(["Is it 1", "Is it 12?"])
    assert [BOS, *plain[0]] == context
    assert continuation == list(plain[1][len(plain[0]) :])
    assert EOS not in ours._encode(["Write:"])[0]
    assert ours._encode_whole(["A text."]) == [theirs.tok_encode("A text.")]
    assert ours._encode_whole(["A text."])[0][-1] == EOS


def test_two_tokens_that_a_tokenizer_adds_are_not_doubled_either(
    served_model: Callable[..., ServedModel], tmp_path: Path
) -> None:
    template = "[gMASK]<sop>{% for m in messages %}{{ m.content }}{% endfor %}"
    folder = write(tmp_path / "model", single="[gMASK] <sop> $A", bos_token=None, template=template)
    ours = served_model(folder, chat_template=True)
    plain, rendered = ours._encode(
        ["A", ours.apply_chat_template([{"role": "user", "content": "A"}])]
    )
    assert list(plain) == list(rendered)
    assert list(plain[:2]) == [2, 3]
    assert ours.prompting.beginning.startswith("each prompt begins with [gMASK]<sop>")


def test_a_bos_is_requested_where_there_is_none(
    served_model: Callable[..., ServedModel], tmp_path: Path
) -> None:
    folder = write(tmp_path / "model", bos_token=None)
    with pytest.raises(EvaluationError, match="no BOS token") as refused:
        served_model(folder, add_bos_token=True)
    assert "evaluation.add_bos_token" in refused.value.remedy


@pytest.mark.parametrize("template", [GEMMA, None], ids=["template writes it", "plain text"])
def test_the_server_is_sent_one_bos(
    template: str | None, served_model: Callable[..., ServedModel], tmp_path: Path
) -> None:
    more = {"template": template} if template else {}
    folder = write(tmp_path / "model", single="<s> $A", **more)
    with serving(Completions()) as server:
        model = served_model(folder, server, chat_template=template is not None)
        text = "Q: 1?\nA:"
        if template:
            text = model.apply_chat_template([{"role": "user", "content": text}])
        model.generate_until([Instance("generate_until", {}, (text, {"until": ["\n"]}), 0)])
        model.loglikelihood([Instance("loglikelihood", {}, (text, c), 0) for c in (" A", " B")])
        model.close()
    prompts = [
        prompt
        for body in server.requests
        for prompt in (body["prompt"] if isinstance(body["prompt"][0], list) else [body["prompt"]])
    ]
    assert len(prompts) > 2
    whole = [prompt for prompt in prompts if len(prompt) > 4]
    assert whole
    assert {(prompt[0], prompt.count(BOS)) for prompt in whole} == {(BOS, 1)}


def test_variables_and_the_moment_reach_the_template(
    served_model: Callable[..., ServedModel], tmp_path: Path
) -> None:
    template = (
        "{{ strftime_now('%d %b %Y') }}{% for m in messages %}{{ m.content }}{% endfor %}"
        "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
    )
    folder = write(tmp_path / "model", template=template)
    model = served_model(
        folder,
        chat_template=True,
        chat_template_kwargs={"enable_thinking": False},
        moment="2031-05-06T00:00:00",
    )
    chat = [{"role": "user", "content": "A?"}]
    assert model.apply_chat_template(chat) == "06 May 2031A?<think></think>"


def test_the_model_of_the_command_line_stays_as_the_stock_one(tmp_path: Path) -> None:
    from infra.scoring.model import AssayCompletions

    folder = write(tmp_path / "model", single="<s> $A")
    options = {
        "base_url": "http://127.0.0.1:9/v1/completions",
        "model": "tiny",
        "tokenizer": str(folder),
    }
    for more in ({}, {"add_bos_token": True}):
        ours, theirs = AssayCompletions(**options, **more), LocalCompletionsAPI(**options, **more)
        assert [list(ids) for ids in ours._encode(TEXTS)] == theirs.tok_encode(list(TEXTS))
