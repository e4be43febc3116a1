"""Runs in AutoAWQ's environment: prints, as JSON, how `lean` differs from what it stands in for.

python -I lean_beside_stock.py FOLDER-OF-lean.py
"""

import json
import sys

sys.path.insert(0, sys.argv[1])

import lean
import torch
from awq.modules.linear import WQLinear_GEMM
from awq.quantize.quantizer import AwqQuantizer


def made(kind, group_size, dtype):
    one = kind.__new__(kind)
    one.w_bit, one.group_size, one.zero_point = 4, group_size, True
    return one


def words(group_size, bias):
    """Return how many words of a packed layer differ."""
    linear = torch.nn.Linear(96 * 4, 64, bias=bias).half()
    stock = made(AwqQuantizer, group_size, torch.float16)
    weights, scales, zeros = stock.pseudo_quantize_tensor(linear.weight.data)
    linear.weight.data = weights
    given = {"scales": scales.t().contiguous(), "zeros": zeros.t().contiguous()}
    one = WQLinear_GEMM.from_linear(linear, 4, group_size, **given)
    other = lean.PackedLinear.from_linear(linear, 4, group_size, **given)
    assert one.state_dict().keys() == other.state_dict().keys()
    return sum(
        int((tensor != other.state_dict()[name]).sum()) for name, tensor in one.state_dict().items()
    )


def rounded(group_size, dtype):
    """Return how many values of a rounded tensor, its scales and zeros differ."""
    weights = torch.randn(64, 96 * 4).to(dtype)
    one = made(AwqQuantizer, group_size, dtype).pseudo_quantize_tensor(weights)
    other = made(lean.LeanQuantizer, group_size, dtype).pseudo_quantize_tensor(weights)
    return sum(int((a != b).sum()) for a, b in zip(one, other, strict=True))


def bounds(group_size, tokens):
    """Return how much worse the chosen thresholds are than AutoAWQ's, by the error in float64."""
    weights, x = torch.randn(64, 96 * 4), torch.randn(2, tokens // 2, 96 * 4) ** 3
    stock = made(AwqQuantizer, group_size, torch.float32)
    ours = made(lean.LeanQuantizer, group_size, torch.float32)
    lean.CHUNK = 16 * 96 * 4  # several blocks
    found = [one._compute_best_clip(weights, x) for one in (stock, ours)]
    steps = x.reshape(-1, 96 * 4)
    steps = (
        steps[:: max(1, len(steps) // 512)].double().reshape(-1, 96 * 4 // group_size, group_size)
    )

    def error(top):
        groups = weights.reshape(64, -1, group_size)
        cut = torch.clamp(groups, -top, top).reshape(64, -1)
        off = stock.pseudo_quantize_tensor(cut)[0].reshape(groups.shape).double() - groups.double()
        return torch.einsum("tgi,ogi->tog", steps, off).pow(2).mean(0)

    stock_error, our_error = (error(one) for one in found)
    differ = found[0] != found[1]
    return {
        "shape": list(found[1].shape) == list(found[0].shape),
        "other": int(differ.sum()),
        "of": differ.numel(),
        "worse": float(((our_error - stock_error) / stock_error).max()),
        "clipped": int((found[1] < weights.reshape(64, -1, group_size).abs().amax(-1, True)).sum()),
    }


torch.manual_seed(0)
print(
    json.dumps(
        {
            "words": [words(32, True), words(128, False)],
            "rounded": [rounded(32, torch.float16), rounded(128, torch.float32)],
            "bounds": [bounds(32, 40), bounds(128, 2000)],
        }
    )
)
