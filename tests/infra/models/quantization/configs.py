"""Configurations of quantized checkpoints as programs write them, each with what it means."""

from __future__ import annotations

from typing import Any

LINEAR: dict[str, Any] = {"targets": ["Linear"], "input_activations": None}
INT4 = {
    "num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 128,
    "actorder": None, "block_structure": None, "dynamic": False, "observer": "minmax",
}  # fmt: skip
FLOAT8 = {"num_bits": 8, "type": "float", "symmetric": True, "dynamic": False}


def compressed(form: str, *groups: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a configuration of compressed-tensors."""
    return {
        "quant_method": "compressed-tensors",
        "format": form,
        "config_groups": {f"group_{i}": {**LINEAR, **one} for i, one in enumerate(groups)},
        "ignore": ["lm_head"],
        "kv_cache_scheme": None,
        "quantization_status": "compressed",
        "sparsity_config": {},
        "transform_config": {},
        "version": "0.12.2",
        **more,
    }


CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "AutoAWQ": (
        {
            "bits": 4, "group_size": 128, "modules_to_not_convert": None, "quant_method": "awq",
            "version": "gemm", "zero_point": True,
        },
        "AWQ 4-bit, groups of 128, zero points",
    ),
    "AutoAWQ, early": (
        {"zero_point": True, "q_group_size": 64, "w_bit": 4, "version": "GEMM"},
        "AWQ 4-bit, groups of 64, zero points",
    ),
    "AWQ of a model that sees": (
        {
            "bits": 4, "group_size": 128, "modules_to_not_convert": ["visual"],
            "quant_method": "awq", "version": "gemm", "zero_point": True,
        },
        "AWQ 4-bit, groups of 128, zero points, visual left as it is",
    ),
    "AutoGPTQ": (
        {
            "batch_size": 1, "bits": 4, "checkpoint_format": "gptq", "damp_percent": 0.01,
            "desc_act": False, "group_size": 128, "quant_method": "gptq", "static_groups": False,
            "sym": True, "true_sequential": True,
        },
        "GPTQ 4-bit, groups of 128",
    ),
    "GPTQModel, act-order and rules": (
        {
            "bits": 4, "group_size": 128, "desc_act": True, "sym": False, "lm_head": False,
            "quant_method": "gptq", "checkpoint_format": "gptq", "pack_dtype": "int32",
            "dynamic": {
                r"+:.*\.down_proj": {"bits": 8, "group_size": 64},
                r"-:.*\.shared_expert_gate": {},
            },
            "meta": {"quantizer": ["gptqmodel:5.6.0"], "uri": "https://github.com/modelcloud"},
        },
        "GPTQ, 2 schemes (4-bit, groups of 128, zero points, act-order; 8-bit, groups of 64, zero "
        r"points, act-order), re:.*\.shared_expert_gate left as it is",
    ),
    "GPTQ in one group a row": (
        {"bits": 8, "group_size": -1, "desc_act": True, "sym": True, "quant_method": "gptq"},
        "GPTQ 8-bit, one scale a channel",
    ),
    "AutoRound": (
        {
            "autoround_version": "0.8.0", "bits": 4, "group_size": 128, "sym": True,
            "data_type": "int", "quant_method": "auto-round", "iters": 200,
            "packing_format": "auto_round:auto_gptq",
            "extra_config": {
                "model.layers.0.mlp.gate": {"bits": 16, "data_type": "float"},
                "lm_head": {"bits": 8, "group_size": 32},
            },
        },
        "AutoRound, 2 schemes (4-bit, groups of 128; 8-bit, groups of 32), "
        "model.layers.0.mlp.gate left as it is",
    ),
    "AutoRound, blocks of FP8": (
        {
            "quant_method": "auto-round", "bits": 8, "group_size": [128, 128], "data_type": "fp",
            "sym": True, "act_bits": 8, "act_dynamic": True, "packing_format": "auto_round:fp8",
        },
        "AutoRound FP8 (dynamic), blocks of 128 × 128",
    ),
    "W4A16": (
        compressed("pack-quantized", {"weights": INT4}),
        "compressed-tensors 4-bit, groups of 128, lm_head left as it is",
    ),
    "W4A16 with act-order and zero points": (
        compressed(
            "pack-quantized", {"weights": {**INT4, "symmetric": False, "actorder": "group"}}
        ),
        "compressed-tensors 4-bit, groups of 128, zero points, act-order, lm_head left as it is",
    ),
    "W4A16 with act-order that leaves rows as they were": (
        compressed("pack-quantized", {"weights": {**INT4, "actorder": "static"}}),
        "compressed-tensors 4-bit, groups of 128, lm_head left as it is",
    ),
    "W8A8": (
        compressed(
            "int-quantized",
            {
                "weights": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"},
                "input_activations": {"num_bits": 8, "type": "int", "dynamic": True},
            },
        ),
        "compressed-tensors 8-bit, one scale a channel, 8-bit activations (dynamic), "
        "lm_head left as it is",
    ),
    "FP8_DYNAMIC": (
        compressed(
            "float-quantized",
            {
                "weights": {**FLOAT8, "strategy": "channel"},
                "input_activations": {**FLOAT8, "dynamic": True, "strategy": "token"},
            },
            ignore=["lm_head", "re:.*gate$", "re:visual.*"],
            kv_cache_scheme={"num_bits": 8, "type": "float", "symmetric": True},
        ),
        "compressed-tensors FP8 (dynamic), one scale a channel, FP8 KV cache, 3 patterns of layers "
        "left as they are",
    ),
    "FP8_BLOCK": (
        compressed(
            "float-quantized",
            {
                "weights": {**FLOAT8, "strategy": "block", "block_structure": [128, 128]},
                "input_activations": {**FLOAT8, "dynamic": True, "group_size": 128},
            },
        ),
        "compressed-tensors FP8 (dynamic), blocks of 128 × 128, lm_head left as it is",
    ),
    "NVFP4": (
        compressed(
            "nvfp4-pack-quantized",
            {
                "weights": {
                    "num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16,
                },
                "input_activations": {"num_bits": 4, "type": "float", "dynamic": "local"},
            },
        ),
        "compressed-tensors NVFP4, 4-bit float activations (dynamic), lm_head left as it is",
    ),
    "two groups": (
        compressed(
            "mixed-precision",
            {"targets": ["re:.*mlp.*"], "weights": INT4},
            {"targets": ["re:.*self_attn.*"], "weights": {**INT4, "num_bits": 8}},
        ),
        "compressed-tensors, 2 schemes (4-bit, groups of 128; 8-bit, groups of 128), lm_head left "
        "as it is",
    ),
    "rotated": (
        compressed(
            "pack-quantized", {"weights": INT4},
            transform_config={"config_groups": {"R1": {"type": "hadamard", "apply": []}}},
        ),
        "compressed-tensors 4-bit, groups of 128, lm_head left as it is",
    ),
    "FP8 of AutoFP8": (
        {"quant_method": "fp8", "activation_scheme": "static", "ignored_layers": ["lm_head"],
         "kv_cache_scheme": "static"},
        "FP8 (static), FP8 (static) KV cache, lm_head left as it is",
    ),
    "FP8 of DeepSeek": (
        {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3",
         "weight_block_size": [128, 128]},
        "FP8 (dynamic), blocks of 128 × 128",
    ),
    "FP8 that leaves some": (
        {
            "quant_method": "fp8", "activation_scheme": "dynamic",
            "modules_to_not_convert": [f"model.layers.{i}.mlp.gate" for i in range(4)],
        },
        "FP8 (dynamic), 4 layers left as they are",
    ),
    "FBGEMM": (
        {"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0,
         "modules_to_not_convert": ["lm_head", "model.layers.0.mlp.down_proj"]},
        "FBGEMM FP8 (dynamic), one scale a channel, lm_head and model.layers.0.mlp.down_proj left "
        "as they are",
    ),
    "bitsandbytes, four bits": (
        {
            "_load_in_4bit": True, "_load_in_8bit": False, "load_in_4bit": True,
            "load_in_8bit": False, "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True, "bnb_4bit_compute_dtype": "bfloat16",
            "llm_int8_skip_modules": None, "quant_method": "bitsandbytes",
        },
        "bitsandbytes 4-bit (nf4)",
    ),
    "bitsandbytes, eight bits": (
        {"load_in_8bit": True, "load_in_4bit": False, "llm_int8_skip_modules": ["lm_head"],
         "quant_method": "bitsandbytes"},
        "bitsandbytes 8-bit, one scale a channel, 8-bit activations (dynamic), lm_head left as it "
        "is",
    ),
    "ModelOpt": (
        {
            "producer": {"name": "modelopt", "version": "0.29.0"},
            "quantization": {
                "quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"],
            },
        },
        "ModelOpt FP8 (static), FP8 KV cache, lm_head left as it is",
    ),
    "ModelOpt NVFP4": (
        {
            "quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head"],
            "producer": {"name": "modelopt", "version": "0.35.0"}, "group_size": 16,
            "kv_cache_scheme": {"dynamic": False, "num_bits": 8, "type": "float"},
        },
        "ModelOpt NVFP4, 4-bit float activations (dynamic), FP8 KV cache, lm_head left as it is",
    ),
    "ModelOpt, mixed": (
        {
            "producer": {"name": "modelopt", "version": "0.44.0"},
            "quantization": {
                "quant_algo": "MIXED_PRECISION", "exclude_modules": ["mtp*"],
                "quantized_layers": {
                    "model.layers.0.mlp.experts": {"quant_algo": "W4A16_NVFP4", "group_size": 16},
                    "model.layers.1.mlp.experts": {"quant_algo": "W4A16_NVFP4", "group_size": 16},
                    "model.layers.3.self_attn.q_proj": {"quant_algo": "FP8"},
                    "model.layers.3.mlp.gate": {"quant_algo": "UNQUANTIZED"},
                },
            },
        },
        "ModelOpt, 2 schemes (NVFP4; FP8 (static)), mtp* left as it is",
    ),
    "Quark": (
        {
            "quant_method": "quark", "exclude": ["lm_head"], "layer_quant_config": {},
            "global_quant_config": {
                "weight": {"dtype": "fp8_e4m3", "qscheme": "per_tensor", "is_dynamic": False},
                "input_tensors": {
                    "dtype": "fp8_e4m3", "qscheme": "per_tensor", "is_dynamic": False,
                },
                "output_tensors": None, "bias": None,
            },
            "export": {"kv_cache_group": [], "pack_method": "reorder"},
        },
        "Quark FP8 (static), lm_head left as it is",
    ),
    "MXFP4 of gpt-oss": (
        {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn",
         "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]},
        "MXFP4, 4 patterns of layers left as they are",
    ),
    "torchao": (
        {
            "quant_method": "torchao", "modules_to_not_convert": None,
            "quant_type": {
                "default": {"_type": "Int4WeightOnlyConfig", "_data": {"group_size": 128}},
            },
        },
        "torchao 4-bit, groups of 128",
    ),
    "HQQ": (
        {
            "quant_method": "hqq", "skip_modules": ["lm_head"],
            "quant_config": {"weight_quant_params": {"nbits": 4, "group_size": 64, "axis": 1}},
        },
        "hqq (unknown method) 4-bit, groups of 64, lm_head left as it is",
    ),
    "EETQ": (
        {"quant_method": "eetq", "weights": "int8"},
        "eetq (unknown method) 8-bit",
    ),
    "something of tomorrow": (
        {"quant_method": "qwertz", "wobble": 3},
        "qwertz (unknown method)",
    ),
}  # fmt: skip
"""Name → configuration, and the phrase that describes it."""
