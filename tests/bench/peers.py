#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs temper and the programs that people would use instead in turns, on the same model and tokens, and prints ratios.

  generate   Transformers' generate, sampling at temperature 1, batches of 64 and 256, 32 prompt and 128 new tokens
  train      a Transformers forward and backward pass and torch's AdamW, 64 sequences of 128 tokens
  grpo       TRL's GRPO step: 16 prompts x 8 samples x 128 tokens, KL to a reference

on a V3-like model of 5.17M parameters, or with --shape 0.5b on Qwen2.5-0.5B's shape: batches of 1, 8 and 32 with 64 and 16
tokens, 8 sequences of 256 tokens, 8 prompts x 4 samples x 64 tokens. Weights are random, f32.

Each turn is a process of its own that loads the model, warms up and then takes its own time, so neither side waits for
the other's threads. One JSON line a turn; last, for each measurement, both medians and their ratio. --at-least NAME=RATIO
makes the exit status 1 where a ratio is lower.

With --isa avx2 both sides keep to the instructions that most laptops have, also where the processor has AVX-512.

Usage: peers.py [generate] [train] [grpo] [--temper build/cpu/temper] [--turns 5] [--threads 2] [--isa avx2] [--shape 0.5b] [--at-least generate=6]
Needs: the Python stack of scripts/install --all (run this file with its python); a quiet machine with as many cores as
threads. Costs: about 4 minutes a turn for all three on 2 cores, with --shape 0.5b 6 minutes, 17 GB of memory and 2 of disk.
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
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Shape:
    """A model as Transformers names it, and how much is done with it."""
    model: str
    sizes: dict
    batches: tuple
    prompt: int
    new: int
    sequences: int
    length: int
    prompts: int
    samples: int
    grpo_new: int
    rounds: int


SHAPES = {
    # 5.17 million parameters, 2.47 million of them at work on a token: bench's own default model.
    "tiny": Shape("DeepseekV3", dict(
        vocab_size=1024, hidden_size=256, intermediate_size=704, moe_intermediate_size=176, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=4, n_shared_experts=1, n_routed_experts=8, num_experts_per_tok=2,
        n_group=2, topk_group=1, first_k_dense_replace=1, kv_lora_rank=64, q_lora_rank=96, qk_rope_head_dim=16,
        v_head_dim=32, qk_nope_head_dim=32, max_position_embeddings=4096), batches=(64, 256), prompt=32, new=128,
        sequences=64, length=128, prompts=16, samples=8, grpo_new=128, rounds=3),
    # 494 million.
    "0.5b": Shape("Qwen2", dict(
        vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
        num_key_value_heads=2, max_position_embeddings=32768, rms_norm_eps=1e-6, rope_theta=1e6,
        tie_word_embeddings=True), batches=(1, 8, 32), prompt=64, new=16, sequences=8, length=256, prompts=8, samples=4,
        grpo_new=64, rounds=1),
}
WORDS = 1024  # The ids that are drawn: as many words as TRL's prompts are written in.


def read_lists(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def write_lists(path, count, length, seed):
    draw = random.Random(seed)
    lists = [[draw.randrange(3, WORDS) for _ in range(length)] for _ in range(count)]
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in lists))


def write_model(folder, shape):
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    torch.manual_seed(1)
    config = getattr(transformers, shape.model + "Config")(pad_token_id=0, bos_token_id=1, eos_token_id=2, **shape.sizes)
    getattr(transformers, shape.model + "ForCausalLM")(config).save_pretrained(folder / "model")
    # A word for each id, so that TRL gets the very prompts as text.
    words = {f"w{i}": i for i in range(WORDS)}
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


def peer_generate(folder, shape):
    import torch
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32).eval()
    seconds = {}
    for batch in shape.batches:
        tokens = torch.tensor(read_lists(folder / "prompts.jsonl")[:batch])
        arguments = dict(do_sample=True, top_k=0, attention_mask=torch.ones_like(tokens))
        with torch.inference_mode():
            model.generate(tokens, max_new_tokens=8, min_new_tokens=8, **arguments)
            begin = clock()
            model.generate(tokens, max_new_tokens=shape.new, min_new_tokens=shape.new, **arguments)
            seconds[f"generate {batch}"] = clock() - begin
    return seconds


def peer_train(folder, shape):
    import torch
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    tokens = torch.tensor(read_lists(folder / "sequences.jsonl"))
    times = []
    for _ in range(1 + shape.rounds):
        begin = clock()
        logits = model(tokens[:, :-1]).logits
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(clock() - begin)
    return {"train": statistics.median(times[1:])}


def peer_grpo(folder, shape):
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer
    words = PreTrainedTokenizerFast.from_pretrained(folder / "words")
    prompts = [" ".join(f"w{i}" for i in row) for row in read_lists(folder / "prompts.jsonl")[:shape.prompts]]
    steps = 1 + shape.rounds
    batch = shape.prompts * shape.samples
    config = GRPOConfig(output_dir=str(folder / "trl"), per_device_train_batch_size=batch, generation_batch_size=batch,
                        num_generations=shape.samples, max_completion_length=shape.grpo_new,
                        generation_kwargs={"min_new_tokens": shape.grpo_new}, max_steps=steps, logging_steps=1, beta=0.001,
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


def peak_gib(command, **arguments):
    """Runs a command; its last lines of JSON, and the most memory that it had."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **arguments) as run:
        out = run.stdout.read()
        _, status, usage = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    if run.returncode:
        raise SystemExit(f"peers: {command[0]} ended with {run.returncode}")
    return out.splitlines(), usage.ru_maxrss / 2**20


def peer_turn(name, folder, threads, key):
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), HF_HUB_OFFLINE="1",
                       TRANSFORMERS_VERBOSITY="error")
    lines, gib = peak_gib([sys.executable, __file__, "--shape", key, "--peer", name, str(folder)], env=environment)
    return json.loads(lines[-1]), gib


def temper_turn(name, folder, threads, program, shape):
    tokens = folder / ("sequences.jsonl" if name == "train" else "prompts.jsonl")
    command = [program, "bench", name, "--model", str(folder / "model"), "--token-file", str(tokens),
               f"--rounds={shape.rounds}",
               f"--threads={threads}", f"--sequences={shape.sequences}",
               f"--new-tokens={shape.grpo_new if name == 'grpo' else shape.new}", f"--prompts={shape.prompts}",
               f"--samples={shape.samples}", "--batches=" + ",".join(map(str, shape.batches))]
    lines, gib = peak_gib(command, stderr=subprocess.DEVNULL)
    names = [f"generate {batch}" for batch in shape.batches] if name == "generate" else [name]
    return {row: json.loads(line)["median_us"] / 1e6 for row, line in zip(names, lines)}, gib


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="generate, train, grpo; all if none is named")
    parser.add_argument("--temper", default="build/cpu/temper")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--isa", choices=sorted(HELD), help="hold both sides to this instruction set")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="tiny")
    parser.add_argument("--at-least", action="append", default=[], metavar="NAME=RATIO")
    parser.add_argument("--peer", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    shape = SHAPES[arguments.shape]
    if arguments.peer:
        name, folder = arguments.peer
        print(json.dumps(PEERS[name](Path(folder), shape)))
        return 0
    os.environ.update(HELD.get(arguments.isa, {}))
    names = arguments.names or list(PEERS)
    for name in names:
        if name not in PEERS:
            parser.error(f"{name}: unknown; there are {', '.join(PEERS)}")
    bars = {name: float(ratio) for name, _, ratio in (bar.partition("=") for bar in arguments.at_least)}
    ours, theirs, memory = {}, {}, {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_model(folder, shape)
        write_lists(folder / "prompts.jsonl", max(*shape.batches, shape.prompts), shape.prompt, 2)
        write_lists(folder / "sequences.jsonl", shape.sequences, shape.length + 1, 3)
        for turn in range(arguments.turns):
            for name in names:
                turns = (("temper", temper_turn(name, folder, arguments.threads, arguments.temper, shape)),
                         ("peer", peer_turn(name, folder, arguments.threads, arguments.shape)))
                for side, (seconds, gib) in turns:
                    memory[side, name] = max(gib, memory.get((side, name), 0))
                    for key, value in seconds.items():
                        (ours if side == "temper" else theirs).setdefault(key, []).append(value)
                        print(json.dumps({"turn": turn, "side": side, "name": key, "seconds": round(value, 4),
                                          "peak_gib": round(gib, 2)}), flush=True)
    failed = False
    for key in ours:
        a, b = statistics.median(ours[key]), statistics.median(theirs[key])
        bar = bars.get(key.split()[0], 0)
        failed |= b / a < bar
        peaks = [memory[side, key.split()[0]] for side in ("temper", "peer")]
        print(f"{key:14} temper {a:8.3f} s {peaks[0]:6.2f} GiB   peer {b:8.3f} s {peaks[1]:6.2f} GiB   ratio {b / a:6.2f}" +
              (f"   at least {bar}" if bar else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
