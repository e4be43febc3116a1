"""Add a LoRA adapter to a model's weights with peft.

`exchange` in the folder `program` says how it is asked and how it answers. Of the request:

    "quantization": {"folder": of the adapter, "dtype": of the result}, "calibration": null

The sum is taken on the processor and in float32, whatever the model's own type, and rounded once.
Only weights are written.
"""

import sys
from pathlib import Path

# Isolated, Python does not look beside the script.
sys.path.insert(0, str(Path(__file__).parents[1] / "program"))

import exchange
import memory
import saving

PACKAGES = ("torch", "transformers", "peft")
KINDS = {
    "does not recognize this architecture": "architecture",
    "trust_remote_code": "remote-code",
    "size mismatch": "other-model",
    "not found in the base model": "other-model",
}
"""Part of an error's name or text → kind of failure of its own."""


def merge(request, progress):
    """Load, add, save; return the response."""
    progress.tell("importing peft")
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    progress.tell("loading the model")
    model = AutoModelForCausalLM.from_pretrained(
        request["model"],
        torch_dtype=torch.float32,
        trust_remote_code=request["trust_remote_code"],
        use_safetensors=request["safetensors"],
        local_files_only=True,
    )
    progress.tell("adding the adapter")
    adapted = PeftModel.from_pretrained(
        model, request["quantization"]["folder"], torch_device="cpu", local_files_only=True
    )
    merged = adapted.merge_and_unload(progressbar=False, safe_merge=True)
    merged = merged.to(getattr(torch, request["quantization"]["dtype"]))
    saving.check_finite(merged, "its type")
    progress.tell("saving")
    output = Path(request["output"])
    merged.save_pretrained(output, max_shard_size=saving.SHARD)
    for file in output.iterdir():
        if file.name == ".request.json":
            continue
        if file.suffix == ".safetensors":
            saving.settle(file)
        elif not file.name.endswith(".safetensors.index.json"):
            file.unlink()
    (output / "config.json").write_text(
        (Path(request["model"]) / "config.json").read_text(encoding="utf-8"), encoding="utf-8"
    )
    return {
        "quantization_config": None,
        "calibration": None,
        "search_dtype": "float32",
        **memory.used(),
    }


if __name__ == "__main__":
    sys.exit(exchange.main(merge, packages=PACKAGES, kinds=KINDS))
