#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/goldens/fp8.safetensors: what PyTorch's float8_e4m3fn says, and DeepSeek's blocks of 128 x 128 by plain PyTorch.

`values` [256]: the number of every code. `inputs`, `codes`: every code's number, the middles between neighbours, their f32
neighbours, and numbers beyond the largest, with the codes of the numbers clamped to +-448.
`edge`, `small`: weights whose sizes are no multiples of 128 (a block of zeros, one of very small numbers among them); with
.codes, .scale_inv, .f32 and .bf16: quantised, and dequantised again. Written as DeepSeek's inference/kernel.py has it: x / s
with s = amax / 448, and codes * s.

Usage: fp8_golden.py     Needs torch and safetensors. Takes a second.
"""
import pathlib

import torch
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "goldens" / "fp8.safetensors"
BLOCK, LARGEST = 128, 448.0


def quantize(weight):
    rows, columns = weight.shape
    codes = torch.empty(rows, columns, dtype=torch.float8_e4m3fn)
    scales = torch.empty(-(-rows // BLOCK), -(-columns // BLOCK))
    back = torch.empty(rows, columns)
    for i in range(scales.shape[0]):
        for j in range(scales.shape[1]):
            block = (slice(i * BLOCK, (i + 1) * BLOCK), slice(j * BLOCK, (j + 1) * BLOCK))
            amax = weight[block].abs().max()
            scale = (amax / LARGEST).clamp(min=torch.finfo(torch.float32).tiny) if amax > 0 else torch.tensor(1.0)
            scales[i, j] = scale
            codes[block] = (weight[block] / scale).clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn)
            back[block] = codes[block].float() * scale
    return codes, scales, back


def main():
    values = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float()
    finite = values[torch.isfinite(values)].unique()
    middles = (finite[1:] + finite[:-1]) / 2
    near = torch.cat([finite, middles])
    infinity = torch.tensor(float("inf"))
    inputs = torch.cat([near, torch.nextafter(near, infinity), torch.nextafter(near, -infinity), -torch.zeros(1),
                        torch.tensor([447.9, 463.9, 464.0, 465.0, 1e5, 3.4e38, float("inf"), 1e-45, 1e-20, 2**-10]),
                        torch.randn(500, generator=torch.Generator().manual_seed(1)) * 30])
    inputs = torch.cat([inputs, -inputs])
    tensors = {"values": values, "inputs": inputs, "codes": inputs.clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn)}
    draw = torch.Generator().manual_seed(2)
    edge, small = torch.randn(131, 150, generator=draw) * 0.02, torch.randn(3, 130, generator=draw)
    edge[128:, 128:] = 0
    small[:, 128:] *= 1e-42
    for name, weight in (("edge", edge), ("small", small)):
        codes, scales, back = quantize(weight)
        tensors |= {name: weight, f"{name}.codes": codes, f"{name}.scale_inv": scales, f"{name}.f32": back,
                    f"{name}.bf16": back.bfloat16()}
    save_file(tensors, OUT)
    print(OUT, {name: tuple(t.shape) for name, t in tensors.items()})


if __name__ == "__main__":
    main()
