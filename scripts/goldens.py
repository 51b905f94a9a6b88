#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/goldens/: small random models with odd sizes, as Hugging Face directories, and what Transformers says of them.

Each folder has config.json (some in the form of Transformers 4, some in that of 5), model.safetensors (values that BF16
holds) and golden.safetensors: `tokens`, and the `logits` [rows, columns] of a run in f64 for some `rows` of these and some
`columns` of the vocabulary. Its metadata has f32_error: the largest difference of Transformers' own f32 run from that.

In the f64 run norms, softmax and router are f64 too (Transformers keeps them f32 in every dtype); the rotary tables
stay f32, because a model is trained with those. tests/integration/transformers_parity.py does the same for many more models.

Usage: goldens.py [NAME...]     Needs torch, transformers >= 5 and safetensors. Takes half a minute.
"""
import argparse
import contextlib
import json
import math
import pathlib
import sys

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "goldens"
TOKENS, COLUMNS, VOCABULARY = 75, 56, 711

COMMON = dict(vocab_size=VOCABULARY, bos_token_id=0, eos_token_id=1, pad_token_id=None, rms_norm_eps=1e-6)
MOE = dict(COMMON, n_routed_experts=10, num_attention_heads=3, num_key_value_heads=3, max_position_embeddings=512)
MODELS = {
    "deepseek_v3_q_lora": dict(
        MOE, model_type="deepseek_v3", hidden_size=54, num_hidden_layers=3, first_k_dense_replace=1, intermediate_size=84,
        moe_intermediate_size=20, n_shared_experts=1, n_group=5, topk_group=2, num_experts_per_tok=3,
        routed_scaling_factor=2.5, norm_topk_prob=True, q_lora_rank=28, kv_lora_rank=20, qk_nope_head_dim=12,
        qk_rope_head_dim=10, v_head_dim=14, num_nextn_predict_layers=1, rope_theta=10000.0, rope_scaling=None),
    "deepseek_v3_yarn": dict(
        MOE, model_type="deepseek_v3", hidden_size=52, num_hidden_layers=2, first_k_dense_replace=0, intermediate_size=68,
        moe_intermediate_size=22, n_shared_experts=2, n_group=2, topk_group=1, num_experts_per_tok=2,
        routed_scaling_factor=1.5, norm_topk_prob=False, q_lora_rank=None, kv_lora_rank=18, qk_nope_head_dim=10,
        qk_rope_head_dim=14, v_head_dim=12, num_nextn_predict_layers=0,
        rope_parameters=dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=128,
                             beta_fast=32, beta_slow=1, mscale=1.0, mscale_all_dim=0.5)),
    "qwen2": dict(
        COMMON, model_type="qwen2", hidden_size=60, num_hidden_layers=3, intermediate_size=92, num_attention_heads=6,
        num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=True, use_sliding_window=False,
        rope_parameters=dict(rope_type="default", rope_theta=1000000.0)),
    "llama": dict(
        COMMON, model_type="llama", hidden_size=66, num_hidden_layers=2, intermediate_size=90, num_attention_heads=3,
        num_key_value_heads=1, max_position_embeddings=512, tie_word_embeddings=False, rope_theta=10000.0,
        rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                          original_max_position_embeddings=64)),
    # 1e-4: seen where a norm takes another epsilon than the others.
    "deepseek_v2": dict(
        MOE, model_type="deepseek_v2", hidden_size=54, num_hidden_layers=2, first_k_dense_replace=1, intermediate_size=84,
        moe_intermediate_size=20, n_shared_experts=1, topk_method="group_limited_greedy", n_group=5, topk_group=2,
        num_experts_per_tok=3, routed_scaling_factor=1.7, norm_topk_prob=False, q_lora_rank=28, kv_lora_rank=20,
        qk_nope_head_dim=12, qk_rope_head_dim=10, v_head_dim=14, rms_norm_eps=1e-4, attention_bias=True, mlp_bias=True,
        rope_theta=10000.0, rope_scaling=dict(type="yarn", factor=4.0, original_max_position_embeddings=128, beta_fast=32,
                                              beta_slow=1, mscale=0.707, mscale_all_dim=0.707)),
    "qwen3": dict(
        COMMON, model_type="qwen3", hidden_size=50, num_hidden_layers=2, intermediate_size=70, num_attention_heads=3,
        num_key_value_heads=1, head_dim=22, max_position_embeddings=512, tie_word_embeddings=True,
        rope_parameters=dict(rope_type="default", rope_theta=1000000.0)),
    "qwen3_moe": dict(
        COMMON, model_type="qwen3_moe", hidden_size=48, num_hidden_layers=3, intermediate_size=70, num_attention_heads=4,
        num_key_value_heads=2, head_dim=14, max_position_embeddings=512, num_experts=10, num_experts_per_tok=3,
        moe_intermediate_size=18, norm_topk_prob=True, mlp_only_layers=[1], rope_theta=1000000.0),
    "mistral": dict(
        COMMON, model_type="mistral", hidden_size=60, num_hidden_layers=2, intermediate_size=92, num_attention_heads=6,
        num_key_value_heads=2, max_position_embeddings=512, sliding_window=20, rope_theta=10000.0),
}
ARCHITECTURES = {"deepseek_v2": "DeepseekV2ForCausalLM", "deepseek_v3": "DeepseekV3ForCausalLM", "llama": "LlamaForCausalLM",
                 "mistral": "MistralForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM",
                 "qwen3_moe": "Qwen3MoeForCausalLM"}


def random_values(name, shape, generator):
    """Values that keep activations near 1 and every term of the model alive."""
    draw = torch.randn(shape, generator=generator, dtype=torch.float64)
    if name.endswith("norm.weight"):
        return 1 + 0.2 * draw
    if name.endswith("e_score_correction_bias"):
        return 0.1 * draw
    if name.endswith("bias"):
        return 0.3 * draw
    if "embed_tokens" in name:
        return 0.5 * draw
    return draw / shape[-1] ** 0.5


def mtp_shapes(shapes, config):
    """DeepSeek-V3's README_WEIGHTS: the module is one more layer, with norms, a projection and shared embedding and head."""
    if not config.get("num_nextn_predict_layers"):
        return {}
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    last, new = f"model.layers.{layers - 1}.", f"model.layers.{layers}."
    mtp = {new + name[len(last):]: shape for name, shape in shapes.items()
           if name.startswith(last) and ".experts." not in name}  # it is only carried along
    mtp.update({new + "enorm.weight": [hidden], new + "hnorm.weight": [hidden], new + "eh_proj.weight": [hidden, 2 * hidden],
                new + "shared_head.norm.weight": [hidden]})
    return mtp


def write_model(config, folder, seed):
    """The directory as others would write it; names and shapes are those that Transformers writes."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = config["model_type"]
    text = dict(config, architectures=[ARCHITECTURES[kind]], hidden_act="silu", attention_dropout=0.0)
    text["dtype" if "rope_parameters" in config else "torch_dtype"] = "bfloat16"
    (folder / "config.json").write_text(json.dumps(text, indent=2, sort_keys=True) + "\n")
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.from_pretrained(folder))
    model.save_pretrained(folder / "shapes")
    shapes = {}
    with safe_open(folder / "shapes" / "model.safetensors", "pt") as file:
        for tensor in file.keys():
            shapes[tensor] = file.get_slice(tensor).get_shape()
    for file in (folder / "shapes").iterdir():
        file.unlink()
    (folder / "shapes").rmdir()
    shapes.update(mtp_shapes(shapes, config))
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for tensor, shape in sorted(shapes.items()):
        value = random_values(tensor, shape, generator).to(torch.bfloat16)
        tensors[tensor] = value.float() if tensor.endswith("e_score_correction_bias") else value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


class Wide:
    """`torch` to a module of Transformers, but float32 is float64; remembers how near a router came to another choice."""

    def __init__(self):
        self.gap = math.inf

    def __getattr__(self, name):
        return torch.float64 if name in ("float32", "float") else getattr(torch, name)

    def topk(self, values, k, dim=-1, sorted=True):
        if k < values.shape[-1]:
            best = torch.topk(values, k + 1, dim=-1).values
            self.gap = min(self.gap, (best[..., k - 1] - best[..., k]).min().item())
        return torch.topk(values, k, dim=dim, sorted=sorted)


def rotate_in_f64(q, k, table):
    """DeepSeek-V2's apply_rotary_emb without its casts to f32; the table is f32's."""
    def turned(x):
        return torch.view_as_real(torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2).contiguous()) * table.unsqueeze(1)).flatten(3)
    return turned(q), turned(k)


@contextlib.contextmanager
def in_f64(model):
    """Norms and routers compute in f64; attention is sdpa, which does so by itself."""
    module, wide = sys.modules[type(model).__module__], Wide()
    classes = [c for n, c in vars(module).items() if n.lower().endswith(("rmsnorm", "topkrouter")) and isinstance(c, type)]
    originals = [c.forward for c in classes]
    rotary = getattr(module, "apply_rotary_emb", None)

    def widened(forward):
        def run(*arguments):
            module.torch = wide
            try:
                return forward(*arguments)
            finally:
                module.torch = torch
        return run

    for c, forward in zip(classes, originals):
        c.forward = widened(forward)
    if rotary is not None:
        module.apply_rotary_emb = rotate_in_f64
    try:
        yield wide
    finally:
        for c, forward in zip(classes, originals):
            c.forward = forward
        if rotary is not None:
            module.apply_rotary_emb = rotary


def load(folder, dtype):
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="sdpa", experts_implementation="eager").eval()


def run(model, tokens):
    """Logits in f64, and the smallest gap between a chosen expert and the next (of an f64 model)."""
    double = model.dtype == torch.float64
    with torch.no_grad(), (in_f64(model) if double else contextlib.nullcontext(Wide())) as wide:
        logits = model(tokens[None], use_cache=False).logits[0]
    assert logits.dtype == model.dtype
    return logits.double(), wide.gap


def write_golden(path, tokens, rows, columns, f64, f32):
    """`rows` of the logits that two runs gave for (at least) these tokens; returns the f32 run's error."""
    golden = f64[rows][:, columns].contiguous()
    error = (f32[rows][:, columns] - golden).abs().max().item()
    save_file({"tokens": tokens, "rows": rows, "columns": columns, "logits": golden}, path,
              metadata={"f32_error": f"{error:.6e}"})  # one key: the writer hashes their order
    return error


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("names", nargs="*", metavar="NAME", help=" ".join(MODELS))
    names = arguments.parse_args().names or MODELS
    torch.set_num_threads(1)  # the same bytes each time
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for name in names:
        folder = ROOT / name
        write_model(MODELS[name], folder, seed=1 + list(MODELS).index(name))
        tokens = torch.randint(0, VOCABULARY, [TOKENS], generator=torch.Generator().manual_seed(9))
        columns = torch.linspace(0, VOCABULARY - 1, COLUMNS).long()
        golden, gap = run(load(folder, torch.float64), tokens)
        if gap < 1e-6:
            raise SystemExit(f"{name}: two experts tie; take another seed")
        error = write_golden(folder / "golden.safetensors", tokens, torch.arange(TOKENS), columns, golden,
                             run(load(folder, torch.float32), tokens)[0])
        size = sum(file.stat().st_size for file in folder.iterdir())
        print(f"{name}: {size} bytes, logits to {golden.abs().max():.2f}, f32_error {error:.3e}")


if __name__ == "__main__":
    main()
