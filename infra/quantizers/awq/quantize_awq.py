"""Quantize one model with AutoAWQ.

`exchange` in the folder `program` says how it is asked and how it answers. Of the request:

    "quantization": {"w_bit", "q_group_size", "zero_point", "version"}

AWQ's search runs in float16 on a GPU and in float32 on a CPU, where float16 is 16 times slower;
packing and the saved tensors are float16 either way. Only weights and config.json are written.
"""

import json
import sys
from pathlib import Path

# Isolated, Python does not look beside the script. What all scripts share comes first.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "program"))

import exchange
import memory
import saving

PACKAGES = ("torch", "transformers", "autoawq")
KINDS = {
    "out of memory": "out-of-memory",
    "isn't supported yet": "architecture",
    "does not recognize this architecture": "architecture",
    "multiple of group_size": "group-size",
    "trust_remote_code": "remote-code",
}
"""Part of an error's name or text → kind of failure of its own."""


def rope(config):
    """Translate what transformers 5 writes as `rope_parameters`; 4.51 would not see it."""
    parameters = config.get("rope_parameters")
    if "rope_theta" in config or not isinstance(parameters, dict):
        return {}
    scaling = {key: value for key, value in parameters.items() if key != "rope_theta"}
    if scaling.get("rope_type", "default") == "default":
        scaling = None
    return {"rope_theta": parameters["rope_theta"], "rope_scaling": scaling}


def room(request, config):
    """Return the bytes an accelerator needs to take the whole model, on the safe side.

    Where it has less, AutoAWQ moves one layer at a time to it from main memory.
    """
    files = Path(request["model"]).glob("*.safetensors" if request["safetensors"] else "*.bin")
    calibration = request["calibration"]
    tokens = len(calibration["token_ids"]) * calibration["max_sequence_length"]
    hidden = config.get("hidden_size", 2**14)
    widest = config.get("intermediate_size") or 4 * hidden
    return 2 * sum(file.stat().st_size for file in files) + tokens * (hidden + 9 * widest) * 2


def quantize(request, progress):
    """Load, quantize, save; return the response."""
    progress.tell("importing AutoAWQ")
    import torch
    from awq import AutoAWQForCausalLM
    from lean import LeanQuantizer

    LeanQuantizer.on_layer = staticmethod(progress.counting("quantizing", "layers"))
    cuda = torch.cuda.is_available()
    if not cuda:
        memory.keep()
    search_dtype = torch.float16 if cuda else torch.float32
    progress.tell("loading the model")
    config = json.loads((Path(request["model"]) / "config.json").read_text(encoding="utf-8"))
    fits = cuda and torch.cuda.mem_get_info()[0] > room(request, config)
    model = AutoAWQForCausalLM.from_pretrained(
        request["model"],
        torch_dtype=search_dtype,
        trust_remote_code=request["trust_remote_code"],
        safetensors=request["safetensors"],
        local_files_only=True,
        device_map={"": 0} if fits else None,
        **rope(config),
    )
    token_ids = request["calibration"]["token_ids"]
    # Token ids, not texts: AutoAWQ would strip the texts and add special tokens a second time.
    model.quantize(
        quant_config=request["quantization"],
        calib_data=token_ids,
        max_calib_samples=len(token_ids),
        max_calib_seq_len=request["calibration"]["max_sequence_length"],
        quantizer_cls=LeanQuantizer,
    )
    inputs = model.quantizer.inps
    progress.tell("saving")
    model.model.half()
    model.model.config.torch_dtype = torch.float16
    saving.check_finite(model.model, "float16")
    model.save_quantized(request["output"], safetensors=True, shard_size=saving.SHARD)
    for file in Path(request["output"]).glob("*.safetensors"):
        saving.settle(file)
    return {
        "quantization_config": model.quant_config.to_transformers_dict(),
        "calibration": {"blocks": inputs.shape[0], "tokens": inputs.shape[0] * inputs.shape[1]},
        "search_dtype": str(search_dtype).removeprefix("torch."),
        **memory.used(torch),
    }


if __name__ == "__main__":
    sys.exit(exchange.main(quantize, packages=PACKAGES, kinds=KINDS))
