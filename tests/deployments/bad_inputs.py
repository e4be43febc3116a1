"""What a user gets wrong: each case spoils a copy of the sample's inputs in one way."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from tests import gguf_files, tiny_model, two_models
from tests.conftest import ROOT
from tests.deployments.document_inputs import DOCUMENTS

SAMPLE = ROOT / "infra" / "sample"


_ALL = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
_NO_SYSTEM = (
    "{% if messages[0].content == 'Be brief.' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}" + _ALL
)
_BRIEF = "evaluation.system_instruction=Be brief."


class Case:
    """A copy of the sample's inputs that a test can spoil."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.model = folder / "model"
        self.calibration = folder / "calibration.jsonl"
        self.rows = folder / "gsm8k"
        self.cache = cache
        self.runs = folder / "runs"
        self.recipe = "sample"
        self.short = True
        """Whether the recipe is of one model and one method."""

        self.tasks: list[dict[str, object]] = [{"name": "gsm8k", "limit": 4, "max_gen_toks": 160}]
        self.datasets = {"openai/gsm8k": {"path": str(self.rows)}}
        self.set: list[str] = []
        self.environment: dict[str, str] = {}
        shutil.copytree(SAMPLE / "model", self.model)
        shutil.copyfile(SAMPLE / "data" / "calibration.jsonl", self.calibration)
        shutil.copytree(SAMPLE / "data" / "openai" / "gsm8k", self.rows)

    def edit(self, name: str, change: Callable[[dict[str, object]], object]) -> None:
        path = self.model / name
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    def say(self, *lines: object) -> None:
        """Make these the conversations."""
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        self.calibration.write_text("\n".join(texts))

    def arguments(self, command: str = "run") -> list[str]:
        given = [
            *([f"model.id={self.model}"] if self.short else []),
            *([f"quantization.calibration.path={self.calibration}"] if self.short else []),
            f"evaluation.datasets={json.dumps(self.datasets)}",
            f"evaluation.tasks={json.dumps(self.tasks)}",
            *self.set,
        ]
        return [command, self.recipe, *(word for one in given for word in ("--set", one))]


def setting(*assignments: str) -> Callable[[Case], None]:
    def spoil(case: Case) -> None:
        case.set = list(assignments)

    spoil.__name__ = " ".join(assignments)
    return spoil


def environment(**variables: str) -> Callable[[Case], None]:
    def spoil(case: Case) -> None:
        places = {"folder": str(case.folder), "python": sys.executable}
        case.environment = {key: value.format(**places) for key, value in variables.items()}

    spoil.__name__ = " ".join(f"{key}={value}" for key, value in variables.items())
    return spoil


def task(**fields: object) -> Callable[[Case], None]:
    def spoil(case: Case) -> None:
        case.tasks = [case.tasks[0] | fields]

    spoil.__name__ = f"task {fields}"
    return spoil


HALF = {"dtype": "bfloat16"}


def candidate(**fields: object) -> Callable[[Case], None]:
    """Add a candidate to the one that the sample has."""

    def spoil(case: Case) -> None:
        case.set = [f"candidates[+]={json.dumps({'name': 'other'} | fields)}"]

    spoil.__name__ = f"candidate {fields}"
    return spoil


def a_recipe_on_a_checkpoint_that_is_quantized(case: Case) -> None:
    case.set = [
        f"candidates[0].model.id={SAMPLE / 'model-awq'}", "candidates[0].model.source=local"
    ]  # fmt: skip


def the_same_task_twice(case: Case) -> None:
    case.tasks *= 2


def unknown_recipe(case: Case) -> None:
    case.recipe = "sampel"


def spec_file(content: bytes | None, name: str) -> Callable[[Case], None]:
    def spoil(case: Case) -> None:
        path = case.folder / "spec.json"
        case.recipe = str(path)
        if content is not None:
            path.write_bytes(content)

    spoil.__name__ = f"spec file {name}"
    return spoil


def spec_file_is_a_folder(case: Case) -> None:
    case.recipe = str(case.folder / "spec.json")
    (case.folder / "spec.json").mkdir()


def group_size_divides_no_layer(case: Case) -> None:
    shutil.rmtree(case.model)
    tiny_model.write(case.model, intermediate=320)
    case.tasks[0] |= {"num_fewshot": 0, "max_gen_toks": 32}
    case.set = ["serving.max_model_len=512"]


def of_llama_cpp(*assignments: str) -> Callable[[Case], None]:
    """Have a GGUF file made and served by llama.cpp, and change something."""

    def spoil(case: Case) -> None:
        gguf = {"name": "gguf", "quantization": {"method": "gguf"}}
        case.recipe = str(case.folder / "gguf.json")
        spec = {
            "baseline": {
                "model": {"source": "local", "id": str(case.model)},
                "quantization": {"method": "gguf", "type": "f16"},
                "serving": {"engine": "llamacpp"},
            },
            "candidates": [gguf],
            "evaluation": {"tasks": case.tasks, "datasets": case.datasets},
            "verdict": {"if_unresolvable": "widen"},
        }
        Path(case.recipe).write_text(json.dumps(spec))
        case.short, case.set = False, list(assignments)

    spoil.__name__ = f"llama.cpp {' '.join(assignments)}"
    return spoil


def _gguf(case: Case, *, model: Path | None = None, **recipe: object) -> None:
    """Add a candidate that llama.cpp makes and serves."""
    fields: dict[str, object] = {"name": "other", "serving": {"engine": "llamacpp"}}
    if recipe:
        fields["quantization"] = {"method": "gguf"} | recipe
    if model:
        fields["model"] = {"source": "local", "id": str(model)}
    case.set = [f"candidates[+]={json.dumps(fields)}"]


def gguf_of_a_quantized_checkpoint(case: Case) -> None:
    _gguf(case, model=SAMPLE / "model-awq", type="q4_k_m")


def gguf_of_an_architecture_that_its_converter_does_not_know(case: Case) -> None:
    named = ["OfTomorrowForCausalLM"]
    case.edit("config.json", lambda config: config.update(architectures=named))
    _gguf(case, type="q4_k_m")


def gguf_of_rows_that_no_block_fits(case: Case) -> None:
    model = case.folder / "narrow"
    shutil.copytree(SAMPLE / "model", model)
    weights = load_file(model / "model.safetensors")
    for name, values in weights.items():
        if "down_proj" in name:
            weights[name] = np.ascontiguousarray(values[:, :272])
        elif "gate_proj" in name or "up_proj" in name:
            weights[name] = np.ascontiguousarray(values[:272])
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((model / "config.json").read_text()) | {"intermediate_size": 272}
    (model / "config.json").write_text(json.dumps(config))
    _gguf(case, model=model, type="q8_0")


def two_gguf_files(case: Case) -> None:
    model = gguf_files.folder(case.folder / "made", SAMPLE / "model")
    shutil.copyfile(model / "model.gguf", model / "other.gguf")
    _gguf(case, model=model)


def a_gguf_file_that_is_cut_off(case: Case) -> None:
    model = gguf_files.folder(case.folder / "made", SAMPLE / "model")
    path = model / "model.gguf"
    path.write_bytes(path.read_bytes()[:1_000_000])
    _gguf(case, model=model)


def no_such_model(case: Case) -> None:
    shutil.rmtree(case.model)


def the_model_is_a_file(case: Case) -> None:
    shutil.rmtree(case.model)
    case.model.write_text("{}")


def the_model_folder_is_empty(case: Case) -> None:
    shutil.rmtree(case.model)
    case.model.mkdir()


def no_weights(case: Case) -> None:
    (case.model / "model.safetensors").unlink()


def pickled_weights(case: Case) -> None:
    (case.model / "model.safetensors").rename(case.model / "pytorch_model.bin")


def truncated_weights(case: Case) -> None:
    weights = case.model / "model.safetensors"
    with weights.open("r+b") as stream:
        stream.truncate(weights.stat().st_size // 2)


def weights_that_are_a_page(case: Case) -> None:
    (case.model / "model.safetensors").write_text("<html>Please log in</html>" * 9)


def an_index_names_a_missing_shard(case: Case) -> None:
    index = {"weight_map": {"lm_head.weight": "model-00002-of-00002.safetensors"}}
    (case.model / "model.safetensors.index.json").write_text(json.dumps(index))


def an_older_model_beside_its_shards(case: Case) -> None:
    older = (case.model / "model.safetensors").read_bytes()
    two_models.split(case.model)
    (case.model / "model.safetensors").write_bytes(older[:-4] + b"old!")


def shards_without_an_index(case: Case) -> None:
    two_models.split(case.model)
    (case.model / "model.safetensors.index.json").unlink()


def a_copy_of_the_weights(case: Case) -> None:
    shutil.copyfile(case.model / "model.safetensors", case.model / "model_old.safetensors")


def an_index_that_leads_out_of_the_folder(case: Case) -> None:
    index = {"weight_map": {"lm_head.weight": "../model.safetensors"}}
    (case.model / "model.safetensors").rename(case.model / "model-1.safetensors")
    (case.model / "model.safetensors.index.json").write_text(json.dumps(index))


def an_adapter_alone(case: Case) -> None:
    (case.model / "config.json").unlink()
    (case.model / "model.safetensors").rename(case.model / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "base_model_name_or_path": "Qwen/Qwen2.5-0.5B-Instruct"}
    (case.model / "adapter_config.json").write_text(json.dumps(config))


def pointer(name: str) -> Callable[[Case], None]:
    def spoil(case: Case) -> None:
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 2916416\n"
        (case.model / name).write_text(text)

    spoil.__name__ = f"{name} is a pointer"
    return spoil


def no_config(case: Case) -> None:
    (case.model / "config.json").unlink()


def a_config_that_is_no_json(case: Case) -> None:
    (case.model / "config.json").write_text('{"architectures": [')


def a_config_that_is_a_list(case: Case) -> None:
    (case.model / "config.json").write_text("[]")


def a_config_without_architectures(case: Case) -> None:
    case.edit("config.json", lambda config: config.pop("architectures"))


def a_kind_that_autoawq_does_not_know(case: Case) -> None:
    case.edit("config.json", lambda config: config.update(model_type="mamba"))


def quantized_already(case: Case) -> None:
    present = {"quant_method": "gptq", "bits": 4}
    case.edit("config.json", lambda config: config.update(quantization_config=present))


def code_that_comes_with_the_model(case: Case) -> None:
    own = {"model_type": "ours", "auto_map": {"AutoModelForCausalLM": "modeling_ours.Ours"}}
    case.edit("config.json", lambda config: config.update(own))


def no_tokenizer(case: Case) -> None:
    for path in case.model.glob("tokenizer*"):
        path.unlink()


def a_tokenizer_that_is_no_json(case: Case) -> None:
    (case.model / "tokenizer.json").write_text("{")


def a_tokenizer_config_that_is_no_json(case: Case) -> None:
    (case.model / "tokenizer_config.json").write_text("{")


def no_chat_template(case: Case) -> None:
    case.edit("tokenizer_config.json", lambda config: config.pop("chat_template"))


def a_chat_template_with_a_mistake(case: Case) -> None:
    case.edit("tokenizer_config.json", lambda c: c.update(chat_template="{% for m in messages %}"))


def template(text: str, *assignments: str) -> Callable[[Case], None]:
    """Give the model another template, and ask in chats."""

    def spoil(case: Case) -> None:
        case.edit("tokenizer_config.json", lambda config: config.update(chat_template=text))
        case.set = ["evaluation.chat_template=true", *assignments]

    spoil.__name__ = f"template {text[:40]}"
    return spoil


def no_calibration_file(case: Case) -> None:
    case.calibration.unlink()


def calibration_is_a_folder(case: Case) -> None:
    case.calibration.unlink()
    case.calibration.mkdir()


def an_empty_calibration_file(case: Case) -> None:
    case.calibration.write_text("\n\n")


def calibration_in_latin_1(case: Case) -> None:
    line = json.dumps({"messages": [{"role": "user", "content": "Größe"}]}, ensure_ascii=False)
    case.calibration.write_bytes(line.encode("latin-1"))


def a_calibration_line_cut_off(case: Case) -> None:
    lines = case.calibration.read_text().splitlines()
    case.say(*lines[:6], lines[6][:-5], *lines[7:])


def a_message_without_a_role(case: Case) -> None:
    case.say({"messages": [{"content": "Hello"}]})


def a_message_that_is_text(case: Case) -> None:
    case.say({"messages": ["Hello"]})


def another_messages_field(case: Case) -> None:
    case.say({"dialog": [{"role": "user", "content": "Hello"}]})


def a_role_that_the_template_refuses(case: Case) -> None:
    shutil.rmtree(case.model)
    tiny_model.write(case.model)
    case.set = ["serving.max_model_len=512"]
    case.say(*[{"messages": [{"role": "tool", "content": "42"}]}] * 20)


def preference_data(case: Case) -> None:
    case.say(*[{"prompt": "1 + 1?", "chosen": "2", "rejected": "3"}] * 20)


def plain_texts(case: Case) -> None:
    case.say(*[{"text": f"Once upon a time, {number} times."} for number in range(20)])


def an_image_in_a_message(case: Case) -> None:
    part = {"type": "image_url", "image_url": {"url": "cat.png"}}
    case.say({"messages": [{"role": "user", "content": [part]}]})


def calibration_is_a_workbook(case: Case) -> None:
    with zipfile.ZipFile(case.calibration, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")


def calibration_in_utf_16_without_a_mark(case: Case) -> None:
    case.calibration.write_bytes(case.calibration.read_text().encode("utf-16-be"))


def calibration_is_a_page(case: Case) -> None:
    case.calibration.write_text("<!DOCTYPE html><title>Log in</title>")


def functions_without_names(case: Case) -> None:
    case.say({"messages": [{"role": "user", "content": "1 + 1?"}], "tools": [{"type": "x"}]})


def the_same_conversation_each_time(case: Case) -> None:
    case.say(*[{"messages": [{"role": "user", "content": "1 + 1?"}]}] * 40)


def _template_of_roles(case: Case, *roles: str) -> None:
    said = "{{- m.role + '\n' + m.content + '\n' -}}"
    text = f"{{%- for m in messages if m.role in {list(roles)} -%}}{said}{{%- endfor -%}}"
    case.edit("tokenizer_config.json", lambda config: config.update(chat_template=text))


def a_system_message_that_the_template_passes_over(case: Case) -> None:
    _template_of_roles(case, "user", "assistant")


def answers_that_the_template_passes_over(case: Case) -> None:
    _template_of_roles(case, "user", "system")


def templates_with_names_and_no_default(case: Case) -> None:
    named = [{"name": "tool_use", "template": "{{ messages }}"}]
    case.edit("tokenizer_config.json", lambda config: config.update(chat_template=named))


def a_template_that_names_what_does_not_exist(case: Case) -> None:
    text = "{% for m in messages %}{{ m.content + ending() }}{% endfor %}"
    case.edit("tokenizer_config.json", lambda config: config.update(chat_template=text))


def the_tokenizer_of_a_larger_model(case: Case) -> None:
    case.edit("config.json", lambda config: config.update(vocab_size=300))


def no_such_rows(case: Case) -> None:
    shutil.rmtree(case.rows)


def rows_that_are_one_file(case: Case) -> None:
    case.datasets["openai/gsm8k"]["path"] = str(case.rows / "main" / "test.jsonl")


def no_row(case: Case) -> None:
    (case.rows / "main" / "test.jsonl").write_text("")


def rows_that_are_no_json(case: Case) -> None:
    (case.rows / "main" / "test.jsonl").write_text("question: 1 + 1?\n" * 9)


def rows_without_a_column(case: Case) -> None:
    row = json.dumps({"question": "1 + 1?"})
    for path in (case.rows / "main").iterdir():
        path.write_text(f"{row}\n" * 9)


def rows_without_answers(case: Case) -> None:
    row = json.dumps({"question": "1 + 1?", "answer": None})
    (case.rows / "main" / "test.jsonl").write_text(f"{row}\n" * 9)


def a_csv_with_nothing_but_its_header(case: Case) -> None:
    rows = case.folder / "gpqa"
    shutil.copytree(SAMPLE / "data" / "Idavidrein" / "gpqa", rows)
    header = (rows / "gpqa_main.csv").read_text().splitlines()[0]
    (rows / "gpqa_main.csv").write_text(f"{header}\n")
    case.tasks = [{"name": "gpqa_main_zeroshot"}]
    case.datasets = {"Idavidrein/gpqa": {"path": str(rows)}}


def functions(case: Case) -> None:
    """Rows with functions, for a model whose template knows none."""
    rows = (SAMPLE / "data" / "own" / "tools.jsonl").read_text().splitlines()[:4]
    (case.folder / "calls.jsonl").write_text("\n".join(rows))
    case.tasks = [{"name": "calls", "file": str(case.folder / "calls.jsonl")}]
    case.datasets = {}


def functions_in_a_template_of_unknown_marks(case: Case) -> None:
    functions(case)
    template = "{% for tool in tools or [] %}{{ tool }}{% endfor %}" + _ALL
    (case.model / "chat_template.jinja").write_text(template)


def answers_as_long_as_the_window(case: Case) -> None:
    """A task that says nothing about its answers gets 1024 tokens for them."""
    del case.tasks[0]["max_gen_toks"]
    case.set = ["serving.max_model_len=1024"]


def more_shots_than_rows(case: Case) -> None:
    rows = (case.rows / "main" / "train.jsonl").read_text().splitlines()[:3]
    (case.rows / "main" / "train.jsonl").write_text("\n".join(rows))
    case.tasks[0]["num_fewshot"] = 5


def the_cache_is_a_file(case: Case) -> None:
    (case.folder / "taken").write_text("")
    case.environment = {"ASSAY_CACHE": str(case.folder / "taken")}


def the_runs_folder_is_a_file(case: Case) -> None:
    (case.folder / "taken").write_text("")
    case.environment = {"ASSAY_RUNS": str(case.folder / "taken")}


GSM8K = "evaluation.tasks.gsm8k"
_GPTQ = "quantization.method=gptq"
_GGUF = "quantization.method=gguf"
_LEFT = 'quantization.ignore=["lm_head"'
_COMPRESSED = "quantization.method=compressed-tensors"
CASES: list[tuple[Callable[[Case], None], tuple[str, ...]]] = [
    # the spec: fields, types, ranges, combinations
    (setting("serving.nosuchfield=1"), ("serving.nosuchfield",)),
    (setting("serving.dtype"), ("'serving.dtype'", "field=value")),
    (setting("serving.dtype.kind=1"), ("serving.dtype.kind",)),
    (setting(f"{GSM8K}k.limit=1"), ("evaluation.tasks.gsm8kk.limit",)),
    (setting(f"{GSM8K}.limit=-1"), ("limit", "-1")),
    (setting(f"{GSM8K}.limit=2.5"), ("limit", "2.5")),
    (setting(f"{GSM8K}.num_fewshot=100"), ("num_fewshot", "64")),
    (setting("evaluation.tasks=[]"), ("evaluation.tasks", "1 item")),
    (setting("evaluation.tasks=[gsm8k]"), ("evaluation.tasks", "[gsm8k]")),
    (the_same_task_twice, ("gsm8k twice",)),
    (setting("evaluation.fewshot_as_multiturn=true"), ("chat_template",)),
    (setting("evaluation.concurrency=0"), ("evaluation.concurrency",)),
    (setting("model.source=s3"), ("model.source", "huggingface", "s3")),
    (setting("model.revision=main"), ("model.revision", "local")),
    (setting("quantization.bits=8"), ("quantization.bits", "4")),
    (setting("quantization.group_size=100"), ("group_size", "128")),
    (setting(_GPTQ, "quantization.bits=5"), ("quantization.bits=5", "4 or 8")),
    (setting(_GPTQ, 'quantization.ignore=["re:("]'), ("no regular expression",)),
    (setting(_COMPRESSED, "quantization.scheme=int3"), ("quantization.scheme", "w4a16", "int3")),
    (setting(_COMPRESSED, "quantization.scheme=fp8-dynamic"), ("looks at no conversations",)),
    (setting(_GGUF), ("would change nothing", "quantization.importance")),
    (setting(_GGUF, "quantization.type=q2_k"), ("quantization.type", "q4_k_m", "q2_k")),
    (setting(_GGUF, "quantization.type=q8_0", "quantization.importance=true"),
     ("changes nothing in a GGUF file of type q8_0",)),
    (setting(_GGUF, "quantization.bits=4"), ("quantization.bits",)),
    (candidate(quantization={"method": "gguf", "importance": True}), ("calibration.path",)),
    (setting("quantization.calibration.min_samples=64"), ("min_samples", "max_samples")),
    (setting("serving.dtype=fp16"), ("serving.dtype", "float16", "fp16")),
    (setting("serving.max_model_len={"), ("serving.max_model_len", "{")),
    (setting("serving.port=70000"), ("serving.port", "65535")),
    (setting("serving.port=80"), ("serving.port", "1024")),
    (setting("serving.memory_fraction=1.5"), ("serving.memory_fraction", "1.5")),
    (setting('serving.extra_args=["--api-key", "secret"]'), ("--api-key",)),
    (setting('serving.extra_args=["-O3"]'), ("--optimization-level", "serving.enforce_eager")),
    (setting('serving.extra_args=["--max-num-seqs", "6", "7"]'), ("'7'", "no flag")),
    (setting("serving.extra_args=--max-num-seqs"), ("serving.extra_args",)),
    (setting("serving.device=cpu", "serving.tensor_parallel_size=2"), ("tensor_parallel_size",)),
    (setting("serving.max_model_len=128"), ("160 tokens", "serving.max_model_len")),
    (setting("results.label=my run"), ("results.label", "my run")),
    (setting("speed.input_tokens=[]"), ("speed.input_tokens", "1 item")),
    (setting("speed.concurrencies=[1, 0]"), ("speed.concurrencies", "0", "from 1 up")),
    (setting("speed.input_tokens=[128, 128]"), ("speed.input_tokens", "different")),
    (setting("fidelity.top_k=0"), ("fidelity.top_k", "1")),
    (setting("verdict.margin_points=0"), ("verdict.margin_points", "greater than 0")),
    (setting("verdict.margin_points=25"), ("task_margin_points=20", "margin_points=25")),
    (setting("verdict.margins.exact_mach=2"),
     ("gsm8k is judged by exact_match", "verdict.margins={\"exact_match\": 2.0}")),
    (setting("verdict.margins.acc=-2"), ("verdict.margins.acc", "greater than 0")),
    (setting("verdict.confidence=95"), ("verdict.confidence", "95")),
    (setting("verdict.flip_rate=1"), ("verdict.flip_rate", "1")),
    (setting("verdict.if_unresolvable=ask"), ("verdict.if_unresolvable", "widen")),
    # the recipe
    (unknown_recipe, ("sampel", "sample,")),
    (spec_file(None, "missing"), ("spec.json", "show RECIPE")),
    (spec_file(b"{'model': 1}", "no JSON"), ("spec.json", "show RECIPE")),
    (spec_file(b"[1, 2]", "a list"), ("spec.json",)),
    (spec_file(b'{"model": {"id": "\xff"}}', "not UTF-8"), ("spec.json",)),
    (spec_file_is_a_folder, ("spec.json", "directory")),
    # candidates
    (candidate(), ("Candidate other changes nothing", "noise_floor")),
    (candidate(name="baseline", serving=HALF), ("called 'baseline'",)),
    (candidate(name="awq-4bit-g128", serving=HALF), ("Two candidates are called awq-4bit-g128",)),
    (candidate(name="Other", serving=HALF), ("candidates[1].name", "Other")),
    (candidate(serving={"port": 80}), ("candidates[1].serving.port", "1024")),
    (candidate(serving={"extra_args": ["--api-key", "x"]}), ("serving.extra_args", "--api-key")),
    (candidate(serving={"max_model_len": 128}), ("160 tokens", "other.serving.max_model_len is")),
    (candidate(serving={"device": "cuda"}), ("No NVIDIA GPU", "serving.device")),
    (candidate(serving={"python": "/no/python"}), ("/no/python", "serving.python")),
    (candidate(serving={"max_model_len": 4096}), ("serving.max_model_len is 4096", "2048")),
    (candidate(model={"source": "local", "id": "no/folder"}), ("no folder no/folder", "model.id")),
    (setting("candidates[0].serving.dtype=float32"), ("serving.dtype=float32", "AWQ")),
    (a_recipe_on_a_checkpoint_that_is_quantized, ("quantized already", "awq")),
    (setting("conversations.path=no/talks.jsonl", "serving.dtype=auto"), ("no/talks.jsonl",)),
    # what llama.cpp cannot do
    (of_llama_cpp("baseline.serving.engine=vllm"), ("GGUF", "llamacpp")),
    (of_llama_cpp("baseline.serving.tensor_parallel_size=2"), ("It is a setting of vLLM",)),
    (of_llama_cpp("baseline.serving.enforce_eager=true"), ("It is a setting of vLLM",)),
    (of_llama_cpp("baseline.serving.memory_fraction=0.5"), ("It is a setting of vLLM",)),
    (of_llama_cpp('baseline.serving.extra_args=["-c","9"]'), ("-c", "serving.max_model_len")),
    (of_llama_cpp('baseline.serving.extra_args=["--jinja"]'), ("--jinja", "change nothing")),
    (of_llama_cpp('baseline.serving.variables={"LLAMA_ARG_PORT":"9"}'), ("LLAMA_ARG_PORT",)),
    (of_llama_cpp("baseline.serving.max_model_len=4096"), ("made for 2048 tokens",)),
    (of_llama_cpp("baseline.serving.python=/nowhere/llama-server"), ("does not run",)),
    (of_llama_cpp("baseline.serving.engine=ollama"), ("serving.engine", "llamacpp")),
    (
        of_llama_cpp("baseline.quantization=null", "candidates[0].serving.dtype=float32"),
        ("llama.cpp cannot read the weights of", "GGUF"),
    ),
    (of_llama_cpp('baseline.serving.extra_args=["--temp","1"]'), ("--temp", "leave it out")),


    (candidate(quantization={"method": "gguf"}), ("serving.engine=vllm", "llamacpp")),
    (gguf_of_a_quantized_checkpoint, ("quantized already", "awq")),
    (gguf_of_an_architecture_that_its_converter_does_not_know, ("OfTomorrowForCausalLM",)),
    (gguf_of_rows_that_no_block_fits, ("type=q8_0", "272 inputs", "type to f16")),
    (two_gguf_files, ("2 GGUF files", "a folder of its own")),
    (a_gguf_file_that_is_cut_off, ("model.gguf", "cut off")),
    # what this machine or the engine cannot do
    (setting("serving.tensor_parallel_size=2"), ("tensor_parallel_size", "no GPU")),
    (setting("serving.dtype=float32"), ("serving.dtype", "AWQ")),
    (setting(_GPTQ, "quantization.bits=8"), ("gptq-8bit-g128", "CPU", "w8a8-int8")),
    (setting(_COMPRESSED, "quantization.scheme=fp8-static"), ("fp8-static", "CPU", "fp8-dynamic")),
    (setting("serving.max_model_len=4096"), ("serving.max_model_len", "2048")),
    (setting(f"{GSM8K}.num_fewshot=5", "serving.max_model_len=192"), ("gsm8k", "192")),
    # the model
    (no_such_model, ("model.id",)),
    (the_model_is_a_file, ("no folder", "model.id")),
    (the_model_folder_is_empty, ("config.json",)),
    (setting("model.source=huggingface", "model.id=a/b/c"), ("a/b/c", "owner/name")),
    (no_weights, ("no weights",)),
    (pickled_weights, ("pytorch_model.bin", "model.allow_pickle")),
    (truncated_weights, ("model.safetensors", "bytes")),
    (weights_that_are_a_page, ("model.safetensors",)),
    (an_index_names_a_missing_shard, ("model-00002-of-00002.safetensors",)),
    (an_older_model_beside_its_shards, ("two models", "model.safetensors,", *two_models.SHARDS)),
    (shards_without_an_index, ("model.safetensors.index.json", *two_models.SHARDS)),
    (a_copy_of_the_weights, ("model.safetensors", "model_old.safetensors")),
    (an_index_that_leads_out_of_the_folder, ("../model.safetensors",)),
    (an_adapter_alone, ("adapter", "Qwen/Qwen2.5-0.5B-Instruct", "merge_and_unload")),
    (pointer("model.safetensors"), ("model.safetensors", "git lfs pull")),
    (pointer("tokenizer.json"), ("tokenizer.json", "git lfs pull")),
    (pointer("config.json"), ("config.json", "git lfs pull")),
    (no_config, ("config.json",)),
    (a_config_that_is_no_json, ("config.json", "JSON")),
    (a_config_that_is_a_list, ("config.json", "JSON")),
    (a_config_without_architectures, ("config.json", "architecture")),
    (a_kind_that_autoawq_does_not_know, ("mamba", "qwen2")),
    (quantized_already, ("quantized already", "gptq")),
    (code_that_comes_with_the_model, ("trust_remote_code",)),
    (group_size_divides_no_layer, ("group_size=128", "320", "64")),
    (setting(_GPTQ, f'{_LEFT}, "re:.*experts"]'), ("re:.*experts", "no layer")),
    (setting(_GPTQ, f'{_LEFT}, "re:.*k_proj"]'), ("q_proj", "k_proj", "joins")),
    (no_tokenizer, ("tokenizer",)),
    (a_tokenizer_that_is_no_json, ("tokenizer",)),
    (a_tokenizer_config_that_is_no_json, ("tokenizer_config.json",)),
    (no_chat_template, ("chat template",)),
    (a_chat_template_with_a_mistake, ("chat template",)),
    # the conversations
    (no_calibration_file, ("calibration.jsonl",)),
    (calibration_is_a_folder, ("calibration.jsonl", "directory")),
    (an_empty_calibration_file, ("calibration.jsonl", "no conversations")),
    (calibration_in_latin_1, ("calibration.jsonl", "Line 1", "utf-8")),
    (a_calibration_line_cut_off, ("calibration.jsonl", "Line 7")),
    (a_message_without_a_role, ("Line 1", "role")),
    (a_message_that_is_text, ("Line 1", "role")),
    (another_messages_field, ("it has dialog", "messages_field=dialog")),
    (a_role_that_the_template_refuses, ("Line 1", "no tools")),
    (preference_data, ("preference data", "infra.conversations.conversions", "--chosen")),
    (plain_texts, ("texts and no conversations", "infra.conversations.conversions", "--user text")),
    (an_image_in_a_message, ("image_url", "Line 1", "--text-only")),
    (calibration_is_a_workbook, ("calibration.jsonl", "Excel", "CSV")),
    (calibration_in_utf_16_without_a_mark, ("UTF-16BE", "iconv")),
    (calibration_is_a_page, ("calibration.jsonl", "HTML")),
    (functions_without_names, ("Line 1", "'tools'", "function without a name")),
    (the_same_conversation_each_time, ("1 different", "39 of 40 render to the same text")),
    (a_system_message_that_the_template_passes_over, ("'system'", "--merge-system")),
    (answers_that_the_template_passes_over, ("'assistant'", "passes over")),
    (templates_with_names_and_no_default, ("named tool_use", "`default`")),
    (a_template_that_names_what_does_not_exist, ("chat template", "'ending' is undefined")),
    (the_tokenizer_of_a_larger_model, ("vocab_size=300", "knows 300 tokens")),
    (
        setting(
            "quantization.calibration.max_sequence_length=16",
            "quantization.calibration.min_samples=1",
        ),
        ("max_sequence_length",),
    ),
    # the tasks
    (task(name="gsm8kk"), ("gsm8kk", "gsm8k,")),
    (task(name="humaneval"), ("humaneval", "sandbox")),
    (functions, ("does not show the functions of calls", "chat_template.jinja")),
    (functions_in_a_template_of_unknown_marks, ("Nobody knows what reads", "serving.tool_parser")),
    (no_such_rows, ("openai/gsm8k", "no such folder")),
    (rows_that_are_one_file, ("openai/gsm8k", "test.jsonl")),
    (no_row, ("openai/gsm8k", "test")),
    (rows_that_are_no_json, ("openai/gsm8k",)),
    (rows_without_a_column, ("openai/gsm8k", "columns are question")),
    (rows_without_answers, ("gsm8k", "answer of the first row is 'None'")),
    (a_csv_with_nothing_but_its_header, ("Idavidrein/gpqa",)),
    (answers_as_long_as_the_window, ("gsm8k", "1024 for the answer")),
    (more_shots_than_rows, ("gsm8k", "5 worked examples")),
    *DOCUMENTS,
    # how the model is evaluated
    (
        template(_NO_SYSTEM, _BRIEF),
        ("gsm8k", "system message", "System role not supported", "evaluation.system_instruction"),
    ),
    (template("{{ 'a' + 1 }}" + _ALL), ("chat template", "concatenate")),
    (setting("evaluation.add_bos_token=true"), ("evaluation.add_bos_token", "no BOS token")),
    (
        setting('serving.extra_args=["--reasoning-parser", "qwen3"]'),
        ("--reasoning-parser", "/v1/completions", "evaluation.chat_template_kwargs"),
    ),
    (
        setting('serving.extra_args=["--chat-template=x.jinja"]'),
        ("--chat-template", "chat_template.jinja"),
    ),
    # the texts for fidelity
    (setting("fidelity.texts=no/texts.txt"), ("no/texts.txt", "No such file", "fidelity.texts")),
    # the verdict
    (
        setting("verdict.if_unresolvable=refuse"),
        ("10 points cannot be resolved by 4 rows", "68.1 points", "186 rows", "widen"),
    ),
    # the settings
    (environment(ASSAY_SERVER_PYTHON="{folder}/no/python"), ("ASSAY_SERVER_PYTHON",)),
    (environment(ASSAY_SERVER_PYTHON="{python}"), ("ASSAY_SERVER_PYTHON", "vllm")),
    (environment(ASSAY_QUANTIZER_PYTHON="/bin/echo"), ("ASSAY_QUANTIZER_PYTHON",)),
    (environment(ASSAY_CACHE="/proc/assay"), ("/proc/assay", "ASSAY_CACHE")),
    (the_cache_is_a_file, ("taken", "ASSAY_CACHE")),
    (setting("results.folder=/proc/assay"), ("/proc/assay", "ASSAY_RUNS")),
    (the_runs_folder_is_a_file, ("taken", "ASSAY_RUNS")),
    (environment(PREFECT_API_URL="http://127.0.0.1:9/api"), ("127.0.0.1:9", "PREFECT_API_URL")),
    (environment(PREFECT_API_URL="localhost:4200"), ("PREFECT_API_URL",)),
    (environment(PREFECT_API_URL="http://[::1/api"), ("PREFECT_API_URL",)),
]  # fmt: skip
