"""Which of llama-server's flags are given, and which of them are not the user's to set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_LEFT_OUT = "leave it out"
_WINDOW = "use serving.max_model_len, and evaluation.concurrency for how many at a time"

_OWNED = {
    # from fields
    ("-m", "--model", "-mu", "--model-url", "-dr", "--docker-repo"): "use model.id",
    ("-hf", "-hfr", "--hf-repo", "-hff", "--hf-file"): "use model.id",
    ("-hft", "--hf-token"): "use the variable HF_TOKEN",
    ("-c", "--ctx-size", "-np", "--parallel", "-kvu", "--kv-unified"): _WINDOW,
    ("--kv-unified-per-slot", "-fit", "--fit", "-fitt", "--fit-target"): _WINDOW,
    ("-fitc", "--fit-ctx", "--context-shift", "--no-context-shift"): _WINDOW,
    ("--port",): "use serving.port",
    # how clients reach the server: its place, its key, what it answers and counts
    ("-a", "--alias", "--tags", "--host", "--path", "--api-prefix", "--reuse-port"): _LEFT_OUT,
    ("--api-key", "--api-key-file", "--ssl-key-file", "--ssl-cert-file"): _LEFT_OUT,
    ("-to", "--timeout", "--threads-http", "--metrics", "--props", "--slots", "--no-slots"): (
        _LEFT_OUT
    ),
    ("--ui", "--webui", "--no-ui", "--no-webui", "--offline"): _LEFT_OUT,
    ("--embedding", "--embeddings", "--rerank", "--reranking", "--pooling"): _LEFT_OUT,
    ("--models-dir", "--models-preset", "--models-max", "--tools", "-ag", "--agent"): _LEFT_OUT,
    ("--mcp-servers-config", "--mcp-servers-json"): _LEFT_OUT,
    ("--log-disable", "--log-file", "--log-jsonl", "-lv", "--verbosity", "--log-verbosity"): (
        _LEFT_OUT
    ),
    ("-h", "--help", "--usage", "--version", "--list-devices", "-cl", "--cache-list"): _LEFT_OUT,
    # how tokens are chosen: the tasks say that, the same for all arms
    ("-s", "--seed", "--temp", "--temperature", "--top-k", "--top-p", "--min-p"): _LEFT_OUT,
    ("--samplers", "--sampler-seq", "--sampling-seq", "--ignore-eos", "-l", "--logit-bias"): (
        _LEFT_OUT
    ),
    ("--typical", "--typical-p", "--top-nsigma", "--mirostat", "--dynatemp-range"): _LEFT_OUT,
    ("--repeat-penalty", "--presence-penalty", "--frequency-penalty"): _LEFT_OUT,
    ("--dry-multiplier", "--xtc-probability", "--adaptive-target"): _LEFT_OUT,
    ("--grammar", "--grammar-file", "-j", "--json-schema", "-jf", "--json-schema-file"): _LEFT_OUT,
    ("-n", "--predict", "--n-predict", "-r", "--reverse-prompt", "-sp", "--special"): _LEFT_OUT,
    ("-bs", "--backend-sampling"): _LEFT_OUT,
}

OWNED = {name: instead for names, instead in _OWNED.items() for name in names}
"""Flags that Assay sets itself, from fields of the spec or for safety → what to do instead."""

CHAT_ONLY = frozenset(
    ["--jinja", "--no-jinja", "--chat-template", "--chat-template-file", "--chat-template-kwargs",
     "--reasoning-format", "-rea", "--reasoning", "--reasoning-effort", "--reasoning-budget",
     "--reasoning-budget-message", "--reasoning-preserve", "--skip-chat-parsing",
     "--prefill-assistant", "--no-prefill-assistant"]
)  # fmt: skip
"""Flags that act on requests for a chat alone; the evaluation sends tokens."""

_CHAT_FIELDS = {"--chat-template-kwargs": "use evaluation.chat_template_kwargs"}


def flag_names(arguments: Sequence[str]) -> frozenset[str]:
    """Return the flags among these arguments, with `-` for `_` and without values."""
    return frozenset(
        text.partition("=")[0].replace("_", "-")
        for text in arguments
        if text.startswith("-") and not _is_number(text)
    )


def owned_among(arguments: Sequence[str]) -> dict[str, str]:
    """Return the flags among these arguments that Assay sets itself → what to do instead."""
    return {name: OWNED[name] for name in sorted(flag_names(arguments)) if name in OWNED}


def chat_only_among(arguments: Sequence[str]) -> dict[str, str]:
    """Return the flags among these arguments that act on chats alone → what to do instead."""
    return {
        name: _CHAT_FIELDS.get(name, _LEFT_OUT)
        for name in sorted(flag_names(arguments))
        if name in CHAT_ONLY
    }


def flags_as_variables(variables: Iterable[str]) -> list[str]:
    """Return the names of variables that llama-server takes for flags."""
    return sorted(name for name in variables if name.startswith("LLAMA_ARG_"))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
