"""Quantize one model with llm-compressor.

`exchange` in the folder `program` says how it is asked and how it answers. Of the request:

    "quantization": {
        "algorithm": "gptq" | "awq" | "nearest", "act_order": bool, "smoothing": number | null,
        "groups": [{"targets": [text, …], "weights": {…}, "inputs": {…} | null}, …],
        "ignore": [text, …], "kv_cache": "fp8" | null}

`weights` and `inputs` are `QuantizationArgs` of compressed-tensors; the first group whose target
matches a layer is its own. The calibration set of the response is what every pass really read.

On a CPU all is computed in float32, where 16 bits are many times slower; on a GPU in the type that
is saved. Saved is bfloat16 where the model's own files are, else float16; levels are made before
that, so that they are not rounded twice. Only weights and config.json are written.
"""

import json
import re
import sys
from pathlib import Path

# Isolated, Python does not look beside the script.
sys.path.insert(0, str(Path(__file__).parents[1] / "program"))

import exchange
import memory
import saving

PACKAGES = ("torch", "transformers", "llmcompressor", "compressed-tensors")
KINDS = {
    "out of memory": "out-of-memory",
    "does not recognize this architecture": "architecture",
    "Unrecognized configuration class": "architecture",
    "TraceError": "architecture",
    "not divisible by": "group-size",
    "trust_remote_code": "remote-code",
    "NotSolvedError": "not-solved",
    "NothingToQuantizeError": "no-layer",
}
"""Part of an error's name or text → kind of failure of its own."""

PHASES = {
    "SmoothQuantModifier": "smoothing",
    "AWQModifier": "searching scales",
    "GPTQModifier": "quantizing",
    "QuantizationModifier": "quantizing",
}
"""What runs through the model → what it does."""

KEPT = ("config.json", "model.safetensors.index.json")
WIDE = ("float32", "float16", "bfloat16")
"""Types that are cast before saving; FP8 is none of them."""


class NotSolvedError(Exception):
    """GPTQ found no solution for a layer and rounded it instead."""


class NothingToQuantizeError(Exception):
    """No layer is quantized, or a pattern means none."""


class Seen:
    """What each pass over the calibration set really read, and which layer it is at."""

    def __init__(self, progress):
        self.progress = progress
        self.passes = []

    def watch(self, pipeline, session):
        """Look at every batch that the sequential pipeline takes.

        Args:
            pipeline: The module of the sequential pipeline.
            session: Returns the session that is under way.
        """
        batches = pipeline._get_batches

        def watched(activations, count, names, desc, *rest):
            number, total = (int(one) for one in re.match(r"\((\d+)/(\d+)\)", desc).groups())
            modifiers = session().lifecycle.recipe.modifiers
            phase = PHASES.get(type(modifiers[0]).__name__, "quantizing")
            first = desc.endswith("Calibrating")
            # Each layer is read twice, before and after; the last part is what follows the layers.
            self.progress.tell(phase, min(number - first, total - 1), total - 1)
            counts = number == 1 and first
            if counts:
                self.passes.append({"blocks": 0, "tokens": 0})
            for index, inputs in batches(activations, count, names, desc, *rest):
                if counts:
                    self.passes[-1]["blocks"] += inputs["input_ids"].shape[0]
                    self.passes[-1]["tokens"] += inputs["input_ids"].numel()
                yield index, inputs

        pipeline._get_batches = watched

    def total(self, token_ids):
        """Return what was read; refuse that a pass read anything but all of it."""
        if not self.passes:
            return None
        wanted = {"blocks": len(token_ids), "tokens": sum(map(len, token_ids))}
        for seen in self.passes:
            if seen != wanted:
                raise ValueError(f"a pass read {seen} of the calibration set, not {wanted}")
        return wanted


def samples(token_ids):
    """Return one batch a conversation: nothing is cut, padded, joined or shuffled."""
    import torch
    from torch.utils.data import DataLoader

    rows = [torch.tensor([ids]) for ids in token_ids]
    rows = [{"input_ids": ids, "attention_mask": torch.ones_like(ids)} for ids in rows]
    return DataLoader(rows, batch_size=None)


def recipe_of(wanted, ignore):
    """Return llm-compressor's modifiers, in the order in which they run.

    Args:
        wanted: What the request says.
        ignore: Names of layers that are left as they are.
    """
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform import AWQModifier, SmoothQuantModifier

    groups = {
        f"group_{number}": QuantizationScheme(
            targets=group["targets"],
            weights=QuantizationArgs(**group["weights"]),
            input_activations=QuantizationArgs(**group["inputs"]) if group["inputs"] else None,
        )
        for number, group in enumerate(wanted["groups"])
    }
    cache = None
    if wanted["kv_cache"] == "fp8":
        cache = QuantizationArgs(
            num_bits=8, type="float", strategy="tensor", dynamic=False, symmetric=True
        )
    common = {"config_groups": groups, "ignore": ignore, "kv_cache_scheme": cache}
    modifiers = []
    if wanted["smoothing"] is not None:
        modifiers.append(SmoothQuantModifier(smoothing_strength=wanted["smoothing"]))
    if wanted["algorithm"] == "gptq":
        order = "static" if wanted["act_order"] else None
        return [*modifiers, GPTQModifier(actorder=order, **common)]
    if wanted["algorithm"] == "awq":
        modifiers.append(AWQModifier())
    return [*modifiers, QuantizationModifier(**common)]


def ignored(model, wanted):
    """Return the names of the linear layers that are left; refuse patterns that mean no layer.

    Names, since a pattern may mean an attention as well. Its cache would then get scales that
    nobody filled in: whatever stood in that memory.
    """
    import torch
    from compressed_tensors.utils import match_named_modules

    def meant(pattern):
        found = match_named_modules(model, [pattern])
        return [name for name, module in found if isinstance(module, torch.nn.Linear)]

    named = [target for group in wanted["groups"] for target in group["targets"]]
    for pattern in [*named, *wanted["ignore"]]:
        if not meant(pattern):
            raise NothingToQuantizeError(f"no layer of the model is meant by {pattern!r}")
    return list(dict.fromkeys(name for pattern in wanted["ignore"] for name in meant(pattern)))


def cast(model, dtype):
    """Give all tensors the type that is saved; refuse what is not finite in it."""
    import torch

    wide = {getattr(torch, name) for name in WIDE}
    for name, module in model.named_modules():
        scheme = getattr(module, "quantization_scheme", None)
        # The engine reads scales in 16 bits where activations stay as they are, else in 32.
        fine = bool(scheme and scheme.input_activations)
        for tensors in (module._parameters, module._buffers):
            for part, tensor in tensors.items():
                if tensor is None or not tensor.is_floating_point():
                    continue
                if tensor.dtype in wide and not (fine and part.endswith("_scale")):
                    tensor.data = tensor.data.to(dtype)
                whole = tensor if tensor.dtype in wide else tensor.float()
                if not torch.isfinite(whole).all():
                    what = str(dtype).removeprefix("torch.")
                    raise saving.NotFiniteError(
                        f"{name}.{part} holds values that {what} cannot hold"
                    )


def finish(model, dtype):
    """Make levels of the weights, then cast what is left."""
    from compressed_tensors import ModelCompressor
    from compressed_tensors.offload import disable_onloading

    ModelCompressor.from_pretrained_model(model).compress_model(model, skip_compressed=True)
    # As they wait in main memory: what an accelerator gets of them is a copy.
    with disable_onloading():
        cast(model, dtype)
    model.config.dtype = dtype


def quantize(request, progress):
    """Load, quantize, save; return the response."""
    progress.tell("importing llm-compressor")
    import torch
    from compressed_tensors.quantization.utils import is_module_quantized
    from llmcompressor import oneshot
    from llmcompressor.core import active_session
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.pipelines.cache import IntermediatesCache
    from llmcompressor.pipelines.sequential import pipeline
    from transformers import AutoModelForCausalLM, GenerationConfig

    wanted, output = request["quantization"], Path(request["output"])
    token_ids = (request["calibration"] or {}).get("token_ids")
    cuda = torch.cuda.is_available()
    if not cuda:
        memory.keep()
        # Memory is pinned for an accelerator; without one torch refuses to.
        IntermediatesCache.pin_memory = lambda *_, **__: None
    config = json.loads((Path(request["model"]) / "config.json").read_text(encoding="utf-8"))
    stored = config.get("dtype") or config.get("torch_dtype")
    dtype = torch.bfloat16 if stored == "bfloat16" else torch.float16
    search_dtype = dtype if cuda else torch.float32
    progress.tell("loading the model")
    model = AutoModelForCausalLM.from_pretrained(
        request["model"],
        dtype=search_dtype,
        trust_remote_code=request["trust_remote_code"],
        use_safetensors=request["safetensors"],
        local_files_only=True,
    )
    recipe = recipe_of(wanted, ignored(model, wanted))
    rounded = []
    summary = GPTQModifier._log_rtn_fallback_summary
    GPTQModifier._log_rtn_fallback_summary = lambda self: (
        rounded.extend(self._rtn_fallback_module_names),
        summary(self),
    )
    seen = Seen(progress)
    seen.watch(pipeline, active_session)
    progress.tell("quantizing")
    oneshot(
        model=model,
        # Token ids, not texts: a second tokenizer might read them differently.
        dataset=samples(token_ids) if token_ids else None,
        processor=object(),
        recipe=recipe,
        trust_remote_code_model=request["trust_remote_code"],
    )
    if rounded:
        raise NotSolvedError(
            f"{len(rounded)} layers have no solution and would be rounded only: {rounded[0]}, …"
        )
    read = seen.total(token_ids)
    if not any(is_module_quantized(module) for module in model.modules()):
        raise NothingToQuantizeError("no layer is quantized")
    progress.tell("saving")
    finish(model, dtype)
    # The model's own may hold what transformers reads but does not write; it is copied as it is.
    model.generation_config = GenerationConfig()
    model.save_pretrained(output, max_shard_size=saving.SHARD)
    for file in output.iterdir():
        if file.suffix == ".safetensors":
            saving.settle(file)
        elif file.name not in KEPT and not file.name.startswith("."):
            file.unlink()
    written = json.loads((output / "config.json").read_text(encoding="utf-8"))
    return {
        "quantization_config": written["quantization_config"],
        "calibration": read,
        "search_dtype": str(search_dtype).removeprefix("torch."),
        **memory.used(torch),
    }


if __name__ == "__main__":
    sys.exit(exchange.main(quantize, packages=PACKAGES, kinds=KINDS))
