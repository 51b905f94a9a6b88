#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs temper and the programs that people would use instead in turns, on the same model and tokens, and prints ratios.

  generate   Transformers' generate, sampling at temperature 1, batches of 64 and 256, 32 prompt and 128 new tokens
  train      a Transformers forward and backward pass and torch's AdamW, 64 sequences of 128 tokens
  grpo       TRL's GRPO step: 16 prompts x 8 samples x 128 tokens, KL to a reference

Each turn is a process of its own that loads the model, warms up and then takes its own time, so neither side waits for
the other's threads. One JSON line a turn; last, for each measurement, both medians and their ratio. --at-least NAME=RATIO
makes the exit status 1 where a ratio is lower.

With --isa avx2 both sides keep to the instructions that most laptops have, also where the processor has AVX-512.

Usage: peers.py [generate] [train] [grpo] [--temper build/cpu/temper] [--turns 5] [--threads 2] [--isa avx2] [--at-least generate=6]
Needs: the Python stack of scripts/install --all (run this file with its python); a quiet machine with as many cores as
threads. Costs: about 4 minutes a turn for all three on 2 cores.
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BATCHES = (64, 256)
PROMPT, NEW = 32, 128
SEQUENCES, LENGTH = 64, 128
PROMPTS, SAMPLES = 16, 8
# 5.17 million parameters, 2.47 million of them at work on a token: bench's own default model.
SHAPE = dict(vocab_size=1024, hidden_size=256, intermediate_size=704, moe_intermediate_size=176, num_hidden_layers=4,
             num_attention_heads=4, num_key_value_heads=4, n_shared_experts=1, n_routed_experts=8, num_experts_per_tok=2,
             n_group=2, topk_group=1, first_k_dense_replace=1, kv_lora_rank=64, q_lora_rank=96, qk_rope_head_dim=16,
             v_head_dim=32, qk_nope_head_dim=32, max_position_embeddings=4096, pad_token_id=0, bos_token_id=1,
             eos_token_id=2)


def read_lists(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def write_lists(path, count, length, seed):
    draw = random.Random(seed)
    lists = [[draw.randrange(3, SHAPE["vocab_size"]) for _ in range(length)] for _ in range(count)]
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in lists))


def write_model(folder):
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM, PreTrainedTokenizerFast
    torch.manual_seed(1)
    DeepseekV3ForCausalLM(DeepseekV3Config(**SHAPE)).save_pretrained(folder / "model")
    # A word for each id, so that TRL gets the very prompts as text.
    words = {f"w{i}": i for i in range(SHAPE["vocab_size"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w3"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="w0", bos_token="w1", eos_token="w2").save_pretrained(
        folder / "words")


# What holds temper, and LibTorch with its two libraries, to an instruction set.
HELD = {"avx2": dict(TEMPER_ISA="avx2", ATEN_CPU_CAPABILITY="avx2", MKL_ENABLE_INSTRUCTIONS="AVX2", ONEDNN_MAX_CPU_ISA="AVX2")}


def clock():
    """As bench takes it: the process's own CPU time where there is one thread, which a busy machine disturbs less."""
    return time.process_time() if os.environ.get("OMP_NUM_THREADS") == "1" else time.monotonic()


# One turn of the other side: seconds of each measurement, by name.


def peer_generate(folder):
    import torch
    from transformers import DeepseekV3ForCausalLM
    model = DeepseekV3ForCausalLM.from_pretrained(folder / "model").eval()
    seconds = {}
    for batch in BATCHES:
        tokens = torch.tensor(read_lists(folder / "prompts.jsonl")[:batch])
        arguments = dict(do_sample=True, top_k=0, attention_mask=torch.ones_like(tokens))
        with torch.inference_mode():
            model.generate(tokens, max_new_tokens=8, min_new_tokens=8, **arguments)
            begin = clock()
            model.generate(tokens, max_new_tokens=NEW, min_new_tokens=NEW, **arguments)
            seconds[f"generate {batch}"] = clock() - begin
    return seconds


def peer_train(folder):
    import torch
    from transformers import DeepseekV3ForCausalLM
    model = DeepseekV3ForCausalLM.from_pretrained(folder / "model").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    tokens = torch.tensor(read_lists(folder / "sequences.jsonl"))
    times = []
    for _ in range(4):
        begin = clock()
        logits = model(tokens[:, :-1]).logits
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(clock() - begin)
    return {"train": statistics.median(times[1:])}


def peer_grpo(folder):
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer
    words = PreTrainedTokenizerFast.from_pretrained(folder / "words")
    prompts = [" ".join(f"w{i}" for i in row) for row in read_lists(folder / "prompts.jsonl")[:PROMPTS]]
    steps = 4
    config = GRPOConfig(output_dir=str(folder / "trl"), per_device_train_batch_size=PROMPTS * SAMPLES,
                        generation_batch_size=PROMPTS * SAMPLES, num_generations=SAMPLES, max_completion_length=NEW,
                        generation_kwargs={"min_new_tokens": NEW}, max_steps=steps, logging_steps=1, beta=0.001,
                        learning_rate=1e-5, use_cpu=True, bf16=False, gradient_checkpointing=False, report_to=[],
                        save_strategy="no", disable_tqdm=True)

    def reward(completions, **_):
        return [float(i % 2) for i in range(len(completions))]

    trainer = GRPOTrainer(model=str(folder / "model"), reward_funcs=reward, args=config, processing_class=words,
                          train_dataset=Dataset.from_list([{"prompt": p} for p in prompts * steps]))
    ends = []

    class Ends(TrainerCallback):
        def on_step_end(self, *_, **__):
            ends.append(clock())

    trainer.add_callback(Ends())
    trainer.train()
    return {"grpo": statistics.median(b - a for a, b in zip(ends, ends[1:]))}


PEERS = {"generate": peer_generate, "train": peer_train, "grpo": peer_grpo}


def peer_turn(name, folder, threads):
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), HF_HUB_OFFLINE="1",
                       TRANSFORMERS_VERBOSITY="error")
    run = subprocess.run([sys.executable, __file__, "--peer", name, str(folder)], env=environment, stdout=subprocess.PIPE,
                         text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def temper_turn(name, folder, threads, program):
    tokens = folder / ("sequences.jsonl" if name == "train" else "prompts.jsonl")
    command = [program, "bench", name, "--model", str(folder / "model"), "--token-file", str(tokens), "--rounds", "3",
               f"--threads={threads}", f"--sequences={SEQUENCES}", f"--new-tokens={NEW}", f"--prompts={PROMPTS}",
               f"--samples={SAMPLES}", "--batches=" + ",".join(map(str, BATCHES))]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    rows = [json.loads(line) for line in run.stdout.splitlines()]
    names = [f"generate {batch}" for batch in BATCHES] if name == "generate" else [name]
    return {row_name: row["median_us"] / 1e6 for row_name, row in zip(names, rows)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="generate, train, grpo; all if none is named")
    parser.add_argument("--temper", default="build/cpu/temper")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--isa", choices=sorted(HELD), help="hold both sides to this instruction set")
    parser.add_argument("--at-least", action="append", default=[], metavar="NAME=RATIO")
    parser.add_argument("--peer", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        name, folder = arguments.peer
        print(json.dumps(PEERS[name](Path(folder))))
        return 0
    os.environ.update(HELD.get(arguments.isa, {}))
    names = arguments.names or list(PEERS)
    for name in names:
        if name not in PEERS:
            parser.error(f"{name}: unknown; there are {', '.join(PEERS)}")
    bars = {name: float(ratio) for name, _, ratio in (bar.partition("=") for bar in arguments.at_least)}
    ours, theirs = {}, {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_model(folder)
        write_lists(folder / "prompts.jsonl", max(BATCHES), PROMPT, 2)
        write_lists(folder / "sequences.jsonl", SEQUENCES, LENGTH + 1, 3)
        for turn in range(arguments.turns):
            for name in names:
                for side, seconds in (("temper", temper_turn(name, folder, arguments.threads, arguments.temper)),
                                      ("peer", peer_turn(name, folder, arguments.threads))):
                    for key, value in seconds.items():
                        (ours if side == "temper" else theirs).setdefault(key, []).append(value)
                        print(json.dumps({"turn": turn, "side": side, "name": key, "seconds": round(value, 4)}), flush=True)
    failed = False
    for key in ours:
        a, b = statistics.median(ours[key]), statistics.median(theirs[key])
        bar = bars.get(key.split()[0], 0)
        failed |= b / a < bar
        print(f"{key:14} temper {a:8.3f} s   peer {b:8.3f} s   ratio {b / a:6.2f}" + (f"   at least {bar}" if bar else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
