#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What temper writes is what Transformers reads: the tiny policy and its student, drawn at random by `temper init`, give the same
ids for a text and the same logprobs there, to 1e-4.

Usage: transformers_loads.py TEMPER     Needs TEMPER_PEERS_PYTHON, a Python with torch and transformers; without it exits 77 (skip).
"""
import json
import os
import subprocess
import sys
import tempfile

TEXT = "Q 7 a -3 b *2 c +5 ? <think> 7 a -3 4 b *2 8 c +5 3 </think> <answer> 3 </answer>"


def temper(program, *arguments, row=None):
    done = subprocess.run([program, *arguments], input=None if row is None else json.dumps(row) + "\n", capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"temper {' '.join(arguments)}: exit status {done.returncode}\n{done.stderr}")
    return done.stdout


def main():
    peers = os.environ.get("TEMPER_PEERS_PYTHON")
    if not peers:
        print("skipped: TEMPER_PEERS_PYTHON names no Python")
        sys.exit(77)
    if "TEMPER_IN_PEERS" not in os.environ:
        os.execve(peers, [peers, *sys.argv], dict(os.environ, TEMPER_IN_PEERS="1"))
    import torch
    import transformers

    torch.set_num_threads(1)
    faults = 0
    for name in ("base", "student"):
        with tempfile.TemporaryDirectory() as folder:
            directory = os.path.join(folder, name)
            temper(sys.argv[1], "init", f"configs/tiny/{name}", "--out", directory, "--seed", "3")
            tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
            model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
            ids = json.loads(temper(sys.argv[1], "tokenize", "--tokenizer", directory, row=TEXT))["ids"]
            theirs = tokenizer(TEXT).input_ids
            logprobs = json.loads(temper(sys.argv[1], "logprobs", "--model", directory, row={"tokens": ids}))["logprobs"]
            with torch.no_grad():
                rows = model(torch.tensor([ids])).logits.log_softmax(-1)[0]
            error = max(abs(ours - rows[i, ids[i + 1]].item()) for i, ours in enumerate(logprobs[1:]))
            same = ids == theirs
            faults += not (same and error < 1e-4)
            print(f"{name}: {type(model).__name__}, ids {'equal' if same else f'differ: {ids} and {theirs}'}, logprobs within {error:.1e}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
