#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/tokenizer_cases.jsonl: small byte-level BPE tokenizers, and what the `tokenizers` package (0.23.3)
makes of some texts. The first line is a tokenizer.json; each other line a change of its members, with rows of
[text, ids, ids without special tokens, decoded, decoded without special tokens].

  tokenizer_cases.py [OUT [SEED]]     needs `pip install tokenizers==0.23.3`; with SEED the texts are random ones
"""
import json
import pathlib
import random
import sys

from tokenizers import Tokenizer

MERGES = ("t h|th e|Ġ the|Ġ a|i n|in g|e r|a n|an d|Ġ and|h e|l l|he ll|hell o|Ġ hello|o w|Ġ w|1 2|12 3|Ġ 1|Ã ©|a b|ab a|b a|"
          "b c|a bc|Ġ Ġ|ĠĠ ĠĠ|Ċ Ċ|' s|ç Ń|çŃ ī|a a|aa aa|aa a|. .|f i").split("|")
TEXTS = ["", " ", "the", " hello and hello", "hello  the   thing\n\n\tand 123 12345 1 2", "aaaaaaa abababc abcabc",
         "it's THE 'sand'... Ⅻ½٣ 9a9", "café cafe\u0301 ﬁne ①é", "等等 好 🙂👍🏽\u00a0x", "<eos>", " <eos> the<tool>hello <tool>  and", "x<x>x <x> y",
         "a<strip>b  <strip>  c", "\u2003<left>\u3000 <left>", "<eo <eos <eos>> <eosx>", "fi<ﬁ>fi <fi>", "-a--b-", "\r\n  \r\n x  "]
GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
BYTES = {**GPT2, "use_regex": False}


def alphabet():
    own = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in own else next(others)) for byte in range(256)]


def added(token, content, **flags):
    return {"id": token, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": False, **flags}


def vocabulary():
    tokens = alphabet()
    for merge in MERGES:
        tokens += [token for token in [merge.replace(" ", "")] if token not in tokens]
    return {token: i for i, token in enumerate(tokens)}


def added_tokens(size):
    names = [("<eos>", {"special": True}), ("<bos>", {"special": True}), ("<tool>", {}), ("<eosx>", {"special": True}),
             ("<x>", {"single_word": True}), ("<strip>", {"lstrip": True, "rstrip": True}), ("<left>", {"lstrip": True}),
             ("<ﬁ>", {"normalized": True}), ("the<", {"normalized": True}),
             ("<eos>>", {})]
    return [added(size + i, name, **flags) for i, (name, flags) in enumerate(names)]


def base():
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added_tokens(len(vocabulary())),
            "normalizer": None, "pre_tokenizer": GPT2, "post_processor": None, "decoder": BYTES, "model": model()}


def model(**changes):
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": vocabulary(), "merges": MERGES, **changes}


def other_model(tokens, **changes):
    return {"model": model(vocab={token: i for i, token in enumerate(tokens)}, **changes),
            "added_tokens": added_tokens(len(tokens))}


def without(*characters, **changes):
    tokens = [token for token in vocabulary() if not set(token) & set(characters)]
    return other_model(tokens, merges=[m for m in MERGES if not set(m) & set(characters)], **changes)


def split(pattern, behavior, invert=False, after=BYTES):
    steps = [{"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}, after]
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}


def template(front, back):
    def special(name):
        return {"SpecialToken": {"id": name, "type_id": 0}}
    size = len(vocabulary())
    ids = {"<eos>": size, "<bos>": size + 1}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    return {"type": "TemplateProcessing", "single": [*map(special, front), text, *map(special, back)],
            "pair": [text, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {name: {"id": name, "ids": [i], "tokens": [name]} for name, i in ids.items()}}


def cases():
    yield "GPT-2", {}
    yield "merges as pairs", {"model": model(merges=[m.split(" ") for m in MERGES])}
    yield "space in front", {"pre_tokenizer": {**GPT2, "add_prefix_space": True}}
    yield "one piece", {"pre_tokenizer": BYTES}
    whole = [*vocabulary(), "Ġhelloand", "hel", "ĠhelloĠandĠhello"]
    yield "ignore_merges", {"pre_tokenizer": BYTES, **other_model(whole, ignore_merges=True)}
    yield "not ignore_merges", {"pre_tokenizer": BYTES, **other_model(whole)}
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        yield form, {"normalizer": {"type": form}}
    yield "normalizers", {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "NFKC"}]}}
    yield "no normalizers", {"normalizer": {"type": "Sequence", "normalizers": []}}
    for individual in (True, False):
        digits = {"type": "Digits", "individual_digits": individual}
        yield f"digits {individual}", {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, GPT2]}}
        yield f"digits after bytes {individual}", {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [GPT2, digits]}}
    for behavior in ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            yield f"{behavior} a {invert}", split({"String": "a"}, behavior, invert)
            yield f"{behavior} regex {invert}", split({"Regex": "\\s|-|\\p{N}{1,3}"}, behavior, invert)
        yield f"{behavior} special characters", split({"String": "."}, behavior)
        yield f"{behavior} maybe empty", split({"Regex": "a*"}, behavior)
        yield f"{behavior} then a space", split({"String": "-"}, behavior, after={**GPT2, "add_prefix_space": True})
    yield "unknown", without("Ã", "e", unk_token="a")
    yield "unknown, fused", without("Ã", "Â", "©", "e", unk_token="b", fuse_unk=True)
    yield "unknown, left out", without("Ã", "e")
    yield "bos", {"post_processor": template(["<bos>"], [])}
    yield "bos and eos", {"post_processor": template(["<bos>", "<bos>"], ["<eos>"])}
    yield "processors", {"post_processor": {"type": "Sequence", "processors": [
        GPT2, template(["<bos>"], ["<eos>"])]}}
    yield "decoders", {"decoder": {"type": "Sequence", "decoders": [BYTES, {"type": "Fuse"}]}}


def random_text(draw):
    pieces = TEXTS + ["a", "b", "aa", "ab", "c", " ", "  ", "\n", "é", "e\u0301", "<", "<eos>", "<tool>", "<strip>", "<left>", "<x>", "-", ".", "1",
                      "\u2003", "\u200d", "_", "<ﬁ>", "<fi>", "the<", "\x85", "\x1c", "\u0345"]
    return "".join(draw.choice(pieces) for _ in range(draw.randrange(1, 12)))


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).with_suffix(".jsonl"))
    texts = TEXTS
    if len(sys.argv) > 2:
        draw = random.Random(int(sys.argv[2]))
        texts = [random_text(draw) for _ in range(300)]
    lines = [base()]
    for name, change in cases():
        package = Tokenizer.from_str(json.dumps({**base(), **change}))
        rows = []
        for text in texts:
            ids = package.encode(text).ids
            rows.append([text, ids, package.encode(text, add_special_tokens=False).ids,
                         package.decode(ids, skip_special_tokens=False), package.decode(ids)])
        lines.append({"name": name, "change": change, "rows": rows})
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    out.write_text(text, encoding="utf-8", newline="\n")


main()
