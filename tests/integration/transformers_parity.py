#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Temper beside Transformers on random models of every family, of odd sizes, with norms, biases and selection biases that matter.

For each model, against a run of Transformers in f64 (scripts/goldens.py says how far f64 goes):
- logits: the largest error over 75 rows and all columns, and of 8 rows at more than 8,100 positions, at most 2e-4 and at most
  twice that of Transformers' own f32 run; logprobs: the same of `temper logprobs`, over all of the long sequence;
- greedy: `temper sample --temperature 0` gives Transformers' 64 tokens for each of four prompts, wherever its two best logits are
  more than 1e-3 apart (compared up to the first token where they are not and the two programs differ);
- bits: the logprobs that `temper sample` (paged decoding) and `temper logprobs` (the trainer's packed forward) give are equal,
  after the four prompts and after the long one.

Usage: transformers_parity.py TEMPER MODEL_TEST [NAME...]     the models below, or those named
       transformers_parity.py TEMPER --model DIR...           models on disk (f32 and f64 must fit in memory); logprobs, greedy, bits
Needs TEMPER_PEERS_PYTHON, a Python with torch, transformers >= 5 and safetensors; without it exits 77 (skip). Takes two minutes.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SHORT, LONG, LAST = 75, 8200, 8  # tokens; rows compared at the end of LONG
NEW_TOKENS, MARGIN, BAR = 64, 1e-3, 2e-4
LEAST_GAP = 1e-6  # where two experts come nearer in the f64 run, any f32 run may choose the other: other tokens are drawn
PROMPTS = (1, 9, 40, 130)

COMMON = dict(vocab_size=711, hidden_size=100, num_hidden_layers=2, intermediate_size=90, max_position_embeddings=16384,
              bos_token_id=0, eos_token_id=1, pad_token_id=None, rms_norm_eps=1e-5)
LATENT = dict(COMMON, num_attention_heads=3, num_key_value_heads=3, kv_lora_rank=21, q_lora_rank=37, qk_nope_head_dim=13,
              qk_rope_head_dim=6, v_head_dim=11, n_routed_experts=10, num_experts_per_tok=3, moe_intermediate_size=27,
              n_shared_experts=1, first_k_dense_replace=1, n_group=5, topk_group=2, tie_word_embeddings=False)
V3 = dict(LATENT, model_type="deepseek_v3", routed_scaling_factor=2.5, norm_topk_prob=True)
V2 = dict(LATENT, model_type="deepseek_v2", hidden_size=102, kv_lora_rank=22, qk_nope_head_dim=14,
          routed_scaling_factor=1.7)  # its code in Transformers views pairs as complex numbers, which wants even sizes
GROUPED = dict(COMMON, num_attention_heads=3, num_key_value_heads=1, head_dim=34)


def yarn(**more):
    return dict(dict(rope_type="yarn", rope_theta=10000.0, factor=8.0, original_max_position_embeddings=1024, beta_fast=32,
                     beta_slow=1), **more)


MODELS = {
    "v3_yarn": dict(V3, rope_parameters=yarn(mscale=1.0, mscale_all_dim=1.0)),
    "v3_plain_query_biases": dict(
        V3, q_lora_rank=None, attention_bias=True, norm_topk_prob=False, num_nextn_predict_layers=1, rope_theta=50000.0),
    "v3_halves": dict(V3, rope_interleave=False, n_group=1, topk_group=1, num_hidden_layers=3, first_k_dense_replace=0,
                      rope_parameters=dict(rope_type="default", rope_theta=10000.0), tie_word_embeddings=True),
    "v2_groups_yarn": dict(V2, topk_method="group_limited_greedy", num_hidden_layers=3,
                           rope_scaling=dict(type="yarn", factor=8, original_max_position_embeddings=1024, beta_fast=32,
                                             beta_slow=1, mscale=0.707, mscale_all_dim=0.707)),
    "v2_lite_yarn": dict(V2, q_lora_rank=None, topk_method="greedy", n_group=1, topk_group=1, n_shared_experts=2,
                         rope_parameters=yarn(mscale=0.9, mscale_all_dim=0.5)),
    "v2_biases": dict(V2, attention_bias=True, mlp_bias=True, norm_topk_prob=True, topk_method="greedy", n_group=None,
                      topk_group=None, rope_theta=10000.0),
    "qwen2_tied": dict(COMMON, model_type="qwen2", hidden_size=96, num_attention_heads=6, num_key_value_heads=2,
                       tie_word_embeddings=True, use_sliding_window=False, sliding_window=64, max_window_layers=0,
                       rope_theta=1000000.0),
    "qwen2_windows": dict(COMMON, model_type="qwen2", num_hidden_layers=3, num_attention_heads=5, num_key_value_heads=1,
                          tie_word_embeddings=False, use_sliding_window=True, sliding_window=77, max_window_layers=1,
                          rope_theta=10000.0),
    "qwen3": dict(GROUPED, model_type="qwen3", tie_word_embeddings=False, rope_theta=1000000.0),
    "qwen3_tied_yarn": dict(GROUPED, model_type="qwen3", head_dim=22, tie_word_embeddings=True, attention_bias=True,
                            rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=4096),
                            rope_theta=1000000.0),
    "qwen3_moe": dict(GROUPED, model_type="qwen3_moe", num_experts=10, num_experts_per_tok=3, moe_intermediate_size=27,
                      norm_topk_prob=True, rope_parameters=dict(rope_type="default", rope_theta=1000000.0)),
    "qwen3_moe_sparse": dict(GROUPED, model_type="qwen3_moe", num_hidden_layers=4, decoder_sparse_step=2, mlp_only_layers=[3],
                             num_experts=11, num_experts_per_tok=2, moe_intermediate_size=27, norm_topk_prob=False,
                             attention_bias=True, tie_word_embeddings=True, rope_theta=10000.0),
    "llama2_linear": dict(COMMON, model_type="llama", hidden_size=102, num_attention_heads=3, num_key_value_heads=3,
                          rope_scaling=dict(type="linear", factor=2.5), rope_theta=10000.0),
    "llama3": dict(COMMON, model_type="llama", hidden_size=102, num_attention_heads=3, num_key_value_heads=1, rope_theta=500000.0,
                   rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                     original_max_position_embeddings=512)),
    "llama3_tied_biases": dict(COMMON, model_type="llama", num_attention_heads=5, num_key_value_heads=5, head_dim=18,
                               tie_word_embeddings=True, attention_bias=True, mlp_bias=True,
                               rope_parameters=dict(rope_type="llama3", rope_theta=500000.0, factor=32.0, low_freq_factor=1.0,
                                                    high_freq_factor=4.0, original_max_position_embeddings=256)),
    "mistral_window": dict(GROUPED, model_type="mistral", sliding_window=100, rope_theta=10000.0),
    "mistral": dict(GROUPED, model_type="mistral", head_dim=26, sliding_window=None, rope_theta=1000000.0),
}


def temper(program, *arguments, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    done = subprocess.run([program, *arguments], input=text, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"temper {' '.join(arguments)}: exit status {done.returncode}\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def logits_errors(model_test, files):
    """file -> (temper's error, that of Transformers' f32 run)"""
    done = subprocess.run([model_test, "--gtest_filter=GoldenFiles.*"], capture_output=True, text=True, cwd=ROOT,
                          env=dict(os.environ, TEMPER_GOLDEN_FILES=":".join(map(str, files))))
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("golden ")]
    return {pathlib.Path(path): (float(ours), float(theirs)) for _, path, ours, theirs in lines}


def greedy(torch, model, prompt):
    """The likeliest tokens and by how much."""
    tokens, margins, past, next_ids = [], [], None, torch.tensor([prompt])
    with torch.no_grad():
        for _ in range(NEW_TOKENS):
            out = model(next_ids, past_key_values=past, use_cache=True)
            past, best = out.past_key_values, out.logits[0, -1].topk(2)
            tokens.append(best.indices[0].item())
            margins.append((best.values[0] - best.values[1]).item())
            next_ids = torch.tensor([[tokens[-1]]])
    return tokens, margins


def compare_greedy(ours, theirs, margins):
    """How many tokens agree before the first that may differ; None if one differs that may not."""
    for i, (a, b) in enumerate(zip(ours, theirs)):
        if a != b:
            return i if margins[i] <= MARGIN else None
    return len(theirs)


def behaviour(torch, program, directory, model, tokens, f64, f32):
    """Logprobs of a long sequence, greedy tokens, and the bits of both ways: (ours, theirs, agreed or None, unequal)."""
    expected, theirs = (x[:-1].log_softmax(-1).gather(1, tokens[1:, None])[:, 0] for x in (f64, f32))
    prompts = [tokens[:n].tolist() for n in PROMPTS if n < len(tokens)]
    rows = temper(program, "sample", "--model", directory, "--temperature", "0", "--ignore-eos", "--max-new-tokens", str(NEW_TOKENS),
                  rows=[{"tokens": prompt} for prompt in [*prompts, tokens.tolist()]])
    whole = [row["prompt_tokens"] + row["tokens"] for row in rows]
    given = [row["logprobs"] for row in temper(program, "logprobs", "--model", directory, rows=[{"tokens": t} for t in whole])]
    unequal = sum(a != b for row, all_of in zip(rows, given) for a, b in zip(row["logprobs"], all_of[len(row["prompt_tokens"]):]))
    ours = torch.tensor(given[-1][1:len(tokens)], dtype=torch.float64)
    agreed = [compare_greedy(row["tokens"], *greedy(torch, model, prompt)) for row, prompt in zip(rows, prompts)]
    error = lambda x: (x - expected).abs().max().item()
    return error(ours), error(theirs), None if None in agreed else sum(agreed), unequal


def main():
    peers = os.environ.get("TEMPER_PEERS_PYTHON")
    if not peers:
        print("skipped: TEMPER_PEERS_PYTHON names no Python")
        sys.exit(77)
    if "TEMPER_IN_PEERS" not in os.environ:
        os.execve(peers, [peers, *sys.argv], dict(os.environ, TEMPER_IN_PEERS="1"))
    sys.path.insert(0, str(ROOT / "scripts"))
    import goldens
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    on_disk = sys.argv[2] == "--model"
    program, names = sys.argv[1], sys.argv[3:] if on_disk else sys.argv[3:] or list(MODELS)
    faults = 0
    print(f"{'model':22} {'logits':>8} {'theirs':>8} {'at 8k':>8} {'theirs':>8} {'logprob':>8} {'theirs':>8}  greedy  bits")
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            directory = pathlib.Path(name if on_disk else folder)
            if not on_disk:
                goldens.write_model(MODELS[name], directory, seed=zlib.crc32(name.encode()))
            wide, narrow = goldens.load(directory, torch.float64), goldens.load(directory, torch.float32)
            vocabulary, length = wide.config.vocab_size, min(LONG, wide.config.max_position_embeddings - NEW_TOKENS)
            for seed in range(100):
                tokens = torch.randint(0, vocabulary, [length], generator=torch.Generator().manual_seed(seed))
                f64, gap = goldens.run(wide, tokens)
                if gap > LEAST_GAP:
                    break
            f32, _ = goldens.run(narrow, tokens)
            errors = list(behaviour(torch, program, str(directory), narrow, tokens, f64, f32))
            agreed, unequal, errors = errors[2], errors[3], [errors[:2]]
            if not on_disk:
                files = [directory / "short.safetensors", directory / "long.safetensors"]
                for file, n, rows in zip(files, (SHORT, length), (SHORT, LAST)):
                    goldens.write_golden(file, tokens[:n], torch.arange(n)[-rows:], torch.arange(vocabulary), f64, f32)
                errors = [*logits_errors(sys.argv[2], files).values(), *errors]
            within = all(a <= 2 * b and a <= BAR for a, b in errors)
            fine = within and agreed is not None and unequal == 0
            faults += not fine
            cells = "".join(f" {x:8.1e}" for pair in [(float("nan"),) * 2] * (3 - len(errors)) + errors for x in pair)
            print(f"{name[-22:]:22}{cells}  {'DIFFER' if agreed is None else agreed:6}  {'equal' if unequal == 0 else unequal}"
                  f"{'' if fine else '   FAULT'}", flush=True)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
