"""Failures that lie in the model, or in how it shall be run."""

from __future__ import annotations

from infra.engines.diagnosis.patterns import Failure
from infra.engines.vllm.diagnosis.changes import shorter_window

MODELS = (
    Failure(
        name="quantization-unsupported",
        patterns=(
            r"Value error, (?P<what>Unknown quantization method: [\w-]+)",
            r"(?P<what>\w+ quantization is currently not supported in \w+)",
            r"(?P<what>quantization method \w+ is not supported for the current GPU)",
            r"Value error, (?P<what>Unsupported num_bits = \d+)",
            r"Value error, (?P<what>GPTQ [^.]+ is no longer supported)",
        ),
        fact="The engine cannot run this quantization here: {what}.",
        cause="Its kernels are made for other devices or other packings.",
        remedy="Take a checkpoint in another format, or one that is not quantized (model.id).",
        field="model.id",
    ),
    Failure(
        name="dtype-unsupported",
        patterns=(
            r"torch\.(?P<dtype>\w+) is not supported for quantization method (?P<method>\w+)\. "
            r"Supported dtypes: \[(?P<supported>[^]]+)\]",
        ),
        fact="{dtype} does not go with {method} weights.",
        cause="The kernels for {method} compute in {supported}.",
        remedy="Set serving.dtype to auto or to one of these types.",
        field="serving.dtype",
    ),
    Failure(
        name="cache-needs-bfloat16",
        patterns=(r"RuntimeError: .*For FP8 input, output must have dtype BF16",),
        fact="With this type of activations a key-value cache in FP8 cannot be read.",
        cause="On this accelerator attention over a cache in FP8 answers in bfloat16 and nothing "
        "else (FlashAttention 3).",
        remedy="Set serving.dtype to bfloat16, or leave --kv-cache-dtype out of "
        "serving.extra_args.",
        field="serving.dtype",
    ),
    Failure(
        name="no-config",
        patterns=(r"Invalid repository ID or local directory specified: '(?P<path>[^']*)'",),
        fact="There is no config.json that the engine understands in {path}.",
        cause="The folder is no model in the Transformers layout, or it was emptied meanwhile.",
        remedy="Name a folder or repository that holds config.json, tokenizer and weights "
        "(model.id).",
        field="model.id",
    ),
    Failure(
        name="config-unreadable",
        patterns=(r"the config file at '(?P<path>[^']*)' is not a valid JSON file",),
        fact="{path} is no JSON.",
        cause="A download or a copy was cut off, or it was edited by hand.",
        remedy="Fetch the file again; model.revision names another state of the repository.",
        field="model.revision",
    ),
    Failure(
        name="no-weights",
        patterns=(r"Cannot find any model weights with `(?P<path>[^`]*)`",),
        fact="There are no weights in {path}.",
        cause="They were not downloaded, are in another format, or were deleted meanwhile.",
        remedy="Name a folder or repository with .safetensors files (model.id).",
        field="model.id",
    ),
    Failure(
        name="weights-unreadable",
        patterns=(r"SafetensorError: (?P<what>[^\n]+)",),
        fact="A file with weights cannot be read: {what}.",
        cause="A download or a copy was cut off, or the disk lost some of it.",
        remedy="Fetch the file again; model.revision names another state of the repository.",
        field="model.revision",
    ),
    Failure(
        name="weights-of-another-shape",
        patterns=(
            r"start \(\d+\) \+ length \(\d+\) exceeds dimension size \(\d+\)",
            r"There is no module or parameter named '(?P<tensor>[^']*)'",
        ),
        fact="The weights are not those that config.json describes.",
        cause="config.json belongs to another model, or was edited by hand.",
        remedy="Take config.json and weights from the same place and revision (model.revision).",
        field="model.revision",
    ),
    Failure(
        name="architecture-unknown",
        patterns=(
            r"Model architectures \['(?P<what>\w+)'[^]]*\] are not supported",
            r"has model type `(?P<what>[^`]*)` but Transformers does not recognize",
        ),
        fact="The engine does not know the architecture {what}.",
        cause="The model is newer than this engine, or of a kind that it does not serve.",
        remedy="Take another model (model.id), or let ASSAY_VLLM_PYTHON name an interpreter "
        "with a newer vLLM.",
        field="model.id",
    ),
    Failure(
        name="remote-code-needed",
        patterns=(r"contains custom code which must be executed to correctly load the model",),
        fact="The model needs Python code that comes with it.",
        cause="The engine itself does not know its architecture.",
        remedy="Read that code; if you trust it, set model.trust_remote_code.",
        field="model.trust_remote_code",
    ),
    Failure(
        name="window-too-long",
        patterns=(
            r"max_model_len \((?P<wanted>\d+)\) is greater than the derived max_model_len "
            r"\(\w+=(?P<fits>\d+)",
        ),
        fact="The model was made for {fits} tokens; serving.max_model_len asks for {wanted}.",
        cause="Beyond the positions it was trained on, a model answers nonsense.",
        remedy="Set serving.max_model_len to {fits}, or leave it empty.",
        field="serving.max_model_len",
        adjust=shorter_window,
    ),
    Failure(
        name="tokenizer-unreadable",
        patterns=(
            r"JSONDecodeError: (?P<what>[^\n]+)",
            r"(?P<what>data did not match any variant of untagged enum \w+)",
        ),
        needs=r"/tokeniz\w+\.py|/tokenizers/",
        fact="The engine cannot read the tokenizer: {what}.",
        cause="Its file is cut off, or was written by a newer version of the tokenizers library.",
        remedy="Fetch tokenizer.json again; model.revision names another state of the repository.",
        field="model.revision",
    ),
    Failure(
        name="chat-template-broken",
        patterns=(r"TemplateSyntaxError: (?P<what>[^\n]+)",),
        fact="The model's chat template is broken: {what}.",
        cause="It is no valid Jinja.",
        remedy="Mend chat_template in tokenizer_config.json, or take another state of the "
        "repository (model.revision).",
        field="model.revision",
    ),
    Failure(
        name="heads-not-divisible",
        patterns=(
            r"attention heads \((?P<heads>\d+)\) must be divisible by tensor parallel size "
            r"\((?P<wanted>\d+)\)",
        ),
        fact="The model's {heads} attention heads cannot be shared by {wanted} devices.",
        cause="Every device takes whole heads, and as many as the others.",
        remedy="Set serving.tensor_parallel_size to a divisor of {heads}.",
        field="serving.tensor_parallel_size",
    ),
)
