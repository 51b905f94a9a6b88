#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the tokenizer of the tiny policies: configs/tiny/{base,student,mtp}/tokenizer.json and
tokenizer_config.json, the same bytes for all. Needs only Python 3; run it after changing the words below.

Ids: <pad> 0, <bos> 1, <eos> 2; byte b is 3 + b; then one token a word, space in front included, so that the tokens of a
prompt and of its completion, one after the other, are the tokens of the whole text.
"""
import json
import pathlib

SPECIAL = ["<pad>", "<bos>", "<eos>"]
WORDS = [*"0123456789", *"abcdefghijklmnopqrstuvwxyz",
         *(sign + digit for sign in "+-*" for digit in "123456789"),
         "Q", "?", ".", "=", "wait", "ok", "check", "again", "no", "so", "等", "好",
         "<think>", "</think>", "<answer>", "</answer>",
         *"the cat dog sun ran saw big red hat was and on it he she we go to my".split()]


def byte_alphabet():
    """A printable character for each byte: its own where Latin-1 has one, else the next from U+0100 on."""
    own = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in own else next(others)) for byte in range(256)]


def tokenizer():
    alphabet = byte_alphabet()
    words = ["".join(alphabet[byte] for byte in f" {word}".encode()) for word in WORDS]
    tokens = SPECIAL + alphabet + words
    assert len(set(tokens)) == len(tokens)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": " ?[^ ]+| +"}, "behavior": "Isolated", "invert": False}
    bos = {"SpecialToken": {"id": "<bos>", "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": kind}} for name, kind in (("A", 0), ("B", 1)))
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for i, token in enumerate(SPECIAL)],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": {"type": "TemplateProcessing", "single": [bos, first], "pair": [bos, first, second],
                           "special_tokens": {"<bos>": {"id": "<bos>", "ids": [1], "tokens": ["<bos>"]}}},
        "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": True,
                  "vocab": {token: i for i, token in enumerate(tokens)}, "merges": []},
    }


CONFIG = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<bos>", "eos_token": "<eos>",
          "pad_token": "<pad>", "clean_up_tokenization_spaces": False}

for policy in ("base", "student", "mtp"):
    folder = pathlib.Path(__file__).resolve().parent.parent / "configs" / "tiny" / policy
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in (("tokenizer.json", tokenizer()), ("tokenizer_config.json", CONFIG)):
        text = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
print(len(SPECIAL) + 256 + len(WORDS), "tokens")
