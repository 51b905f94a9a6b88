#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What temper writes is what Transformers reads, and the other way round.

The tiny policy and its student, drawn at random by `temper init`, give the same ids for a text and the same logprobs there, to
1e-4. So do a V3 and a Qwen3 mixture of experts in every form that `temper convert` writes: BF16, sharded, experts stacked, FP8.
FP8 is dequantised to the same bits by both (there to BF16, always). A checkpoint that Transformers saves with stacked experts, in shards, gives the
same bits in temper. (Sizes of the FP8 model are multiples of 128 or below it: Transformers 5.23 takes other blocks for equal ones.)

Usage: transformers_loads.py TEMPER     Needs TEMPER_PEERS_PYTHON, a Python with torch and transformers; without it exits 77 (skip).
"""
import json
import os
import subprocess
import sys
import tempfile

V3 = dict(
    model_type="deepseek_v3", architectures=["DeepseekV3ForCausalLM"], vocab_size=320, hidden_size=256, num_hidden_layers=3,
    first_k_dense_replace=1, intermediate_size=384, moe_intermediate_size=128, n_routed_experts=8, n_shared_experts=1,
    num_experts_per_tok=2, n_group=2, topk_group=1, routed_scaling_factor=2.5, norm_topk_prob=True, num_attention_heads=4,
    num_key_value_heads=4, q_lora_rank=96, kv_lora_rank=96, qk_nope_head_dim=32, qk_rope_head_dim=32, v_head_dim=32,
    num_nextn_predict_layers=0, max_position_embeddings=512, rms_norm_eps=1e-6, rope_theta=10000.0, bos_token_id=0, eos_token_id=1)
QWEN3_MOE = dict(
    model_type="qwen3_moe", architectures=["Qwen3MoeForCausalLM"], vocab_size=320, hidden_size=256, num_hidden_layers=2,
    intermediate_size=384, moe_intermediate_size=128, num_experts=8, num_experts_per_tok=2, norm_topk_prob=True,
    num_attention_heads=4, num_key_value_heads=2, head_dim=32, max_position_embeddings=512, rms_norm_eps=1e-6,
    rope_theta=10000.0, bos_token_id=0, eos_token_id=1)
FORMS = {"bf16 in shards": ["--dtype", "bf16", "--shard-size", "300000"], "f32 stacked": ["--experts", "stacked"],
         "fp8": ["--dtype", "fp8"], "fp8 in shards": ["--dtype", "fp8", "--shard-size", "300000"]}
TOKENS = [7, 300, 12, 55, 98, 201, 0, 7, 19, 150, 149, 42]
TEXT = "Q 7 a -3 b *2 c +5 ? <think> 7 a -3 4 b *2 8 c +5 3 </think> <answer> 3 </answer>"


def temper(program, *arguments, row=None):
    done = subprocess.run([program, *arguments], input=None if row is None else json.dumps(row) + "\n", capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"temper {' '.join(arguments)}: exit status {done.returncode}\n{done.stderr}")
    return done.stdout


def logprobs_of(program, directory, ids):
    return json.loads(temper(program, "logprobs", "--model", directory, row={"tokens": ids}))["logprobs"]


def error_of(model, ids, logprobs):
    import torch

    with torch.no_grad():
        rows = model(torch.tensor([ids])).logits.log_softmax(-1)[0]
    return max(abs(ours - rows[i, ids[i + 1]].item()) for i, ours in enumerate(logprobs[1:]))


def check_text(program, name, folder):
    """Whether the tiny policy `name` has the same ids and logprobs there."""
    import torch
    import transformers

    directory = os.path.join(folder, name)
    temper(program, "init", f"configs/tiny/{name}", "--out", directory, "--seed", "3")
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    ids = json.loads(temper(program, "tokenize", "--tokenizer", directory, row=TEXT))["ids"]
    same = ids == tokenizer(TEXT).input_ids
    error = error_of(model, ids, logprobs_of(program, directory, ids))
    print(f"{name}: {type(model).__name__}, ids {'equal' if same else 'differ'}, logprobs within {error:.1e}")
    return same and error < 1e-4


def check_forms(program, config, folder):
    """How many forms of a random model of the config are not the same model there."""
    import torch
    import transformers

    def load(directory, dtype=torch.float32):
        return transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=dtype).float()

    name, faults = config["model_type"], 0
    os.mkdir(os.path.join(folder, name))
    with open(os.path.join(folder, name, "config.json"), "w") as file:
        json.dump(config, file)
    first = os.path.join(folder, f"{name}-f32")
    temper(program, "init", os.path.join(folder, name), "--out", first, "--linear-gain", "2", "--embedding-std", "1")
    for number, (form, options) in enumerate(FORMS.items()):
        dtype = "bf16" if "fp8" in form else "f32"
        directory, plain = (os.path.join(folder, f"{name}-{number}{end}") for end in ("", "-plain"))
        temper(program, "convert", "--model", first, "--output", directory, *options)
        temper(program, "convert", "--model", directory, "--output", plain, "--dtype", dtype)
        model = load(directory, torch.bfloat16 if dtype == "bf16" else torch.float32)
        same = load(plain).state_dict()
        bits = all(torch.equal(value, same[key]) for key, value in model.state_dict().items())
        error = error_of(model, TOKENS, logprobs_of(program, plain, TOKENS))
        print(f"{name}, {form}: weights {'equal' if bits else 'differ'}, logprobs within {error:.1e}")
        faults += not (bits and error < 1e-4)
    saved = os.path.join(folder, f"{name}-saved")
    load(first).save_pretrained(saved, save_original_format=False, max_shard_size="300KB")
    equal = logprobs_of(program, saved, TOKENS) == logprobs_of(program, first, TOKENS)
    print(f"{name}, saved there with stacked experts: logprobs {'equal' if equal else 'differ'}")
    return faults + (not equal)


def main():
    peers = os.environ.get("TEMPER_PEERS_PYTHON")
    if not peers:
        print("skipped: TEMPER_PEERS_PYTHON names no Python")
        sys.exit(77)
    if "TEMPER_IN_PEERS" not in os.environ:
        os.execve(peers, [peers, *sys.argv], dict(os.environ, TEMPER_IN_PEERS="1"))
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        faults = sum(not check_text(sys.argv[1], name, folder) for name in ("base", "student"))
        faults += sum(check_forms(sys.argv[1], config, folder) for config in (V3, QWEN3_MOE))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
