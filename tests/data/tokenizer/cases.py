#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/tokenizer/cases.jsonl: small BPE tokenizers, byte-level and SentencePiece style, and what the
`tokenizers` package (0.23.3) makes of some texts. The first line is a tokenizer.json; each other line a change of its
members, or of those that the line named by "from" has, with rows of [text, ids, ids without special tokens, decoded, decoded without special tokens] and "decodes",
ids at random with what they decode to, [ids, decoded, decoded without special tokens].

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
         "a<strip>b  <strip>  c", "\u2003<left>\u3000 <left>", "<eo <eos <eos>> <eosx>", "fi<ﬁ>fi <fi>", "-a--b-", "\r\n  \r\n x  ", "İSTANBUL ΑΣ<É><é><Tool><tool>", "▁the ▁▁ x▁y", "\u0301a\u00a0\u0001,"]
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


# SentencePiece style: words start with its sign, characters that are no token become their bytes.
SIGN = "\u2581"
PIECES = [f"{SIGN}the", f"{SIGN}a", f"{SIGN}hello", "ing", "er", "and", "nd", "ll", "in", "he", "ello", "th", f"{SIGN}t", f"{SIGN}h", f"{SIGN}{SIGN}",
          f"{SIGN}{SIGN}{SIGN}{SIGN}", "aa", "aaaa", "12", "é", "等", "等等", ","]
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
SPM_DECODER = {"type": "Sequence", "decoders": [
    {"type": "Replace", "pattern": {"String": SIGN}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
SPM_NORMALIZER = {"type": "Sequence", "normalizers": [
    {"type": "Prepend", "prepend": SIGN}, {"type": "Replace", "pattern": {"String": " "}, "content": SIGN}]}


def spm(fallback=BYTE_TOKENS, pieces=PIECES, letters="abcdefghijklmnopqrstuvwxyz123.'", signs=SIGN, **changes):
    tokens = ["<unk>", *fallback]
    for token in [*signs, *letters, *"".join(pieces).replace(SIGN, signs), *pieces]:
        tokens += [token] if token not in tokens else []
    merges = [[piece[:i], piece[i:]] for piece in sorted(pieces, key=len) for i in range(1, len(piece))
              if piece[:i] in tokens and piece[i:] in tokens]
    options = {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True, **changes}
    return {**other_model(tokens, merges=merges, **options), "normalizer": SPM_NORMALIZER, "pre_tokenizer": None,
            "decoder": SPM_DECODER}


def metaspace(**options):
    return {"type": "Metaspace", "replacement": SIGN, **options}


def sentence_piece_cases():
    yield "SPM", spm()
    yield "SPM, unknown", spm(fallback=[])
    yield "SPM, each unknown", spm(fallback=[], fuse_unk=False)
    yield "SPM, some bytes", spm(fallback=[f"<0x{byte:02X}>" for byte in [*range(0x40, 0x5B), 0xC2, 0xA0, 0xC3, 0xA9]])
    yield "SPM, some bytes, each unknown", spm(fallback=BYTE_TOKENS[0x40:0xA0], fuse_unk=False)
    yield "SPM, none unknown", spm(fallback=BYTE_TOKENS[0x40:0x60], unk_token=None)
    yield "SPM, the sign unknown", spm(fallback=[], signs="", pieces=[piece for piece in PIECES if SIGN not in piece])
    yield "SPM, the sign within tokens", spm(pieces=[*PIECES, f"d{SIGN}", f"d{SIGN}a", f".{SIGN}{SIGN}", f"and{SIGN}the"])
    yield "SPM, ignore_merges", spm(pieces=[*PIECES, f"{SIGN}hellothe"], ignore_merges=True)
    for scheme in ("always", "first", "never"):
        for cut in (True, False):
            step = metaspace(prepend_scheme=scheme, split=cut)
            yield f"Metaspace {scheme} {cut}", {"from": "SPM", "normalizer": None, "pre_tokenizer": step, "decoder": step}
        first = metaspace(prepend_scheme=scheme)
        for name, normalizer in {"strip": {"type": "Strip", "strip_left": True, "strip_right": False},
                                 "accents": {"type": "StripAccents"}, "nmt": {"type": "Nmt"},
                                 "replace": {"type": "Replace", "pattern": {"Regex": " +"}, "content": " "},
                                 "remove": {"type": "Replace", "pattern": {"String": "t"}, "content": ""},
                                 "NFKC": {"type": "NFKC"}}.items():
            yield f"Metaspace {scheme} after {name}", {"from": "SPM", "normalizer": normalizer, "pre_tokenizer": first,
                                                     "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, first]}}
        steps = [{"type": "Digits", "individual_digits": True}, first]
        yield f"Metaspace {scheme} after digits", {"from": "SPM", "normalizer": None, "pre_tokenizer": {
            "type": "Sequence", "pretokenizers": steps}, "decoder": {"type": "Sequence", "decoders": [first]}}
    yield "Metaspace as it was", {"from": "SPM", "normalizer": None, "pre_tokenizer": metaspace(add_prefix_space=True, str_rep="x"),
                                  "decoder": metaspace(add_prefix_space=False, prepend_scheme="never")}


def part_cases():
    for name in ("Lowercase", "StripAccents", "Nmt"):
        yield name, {"normalizer": {"type": name}}
        yield f"NFD and {name}", {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": name}]}}
    for left in (True, False):
        for right in (True, False):
            yield f"strip {left} {right}", {"normalizer": {"type": "Strip", "strip_left": left, "strip_right": right}}
    yield "prepend", {"normalizer": {"type": "Prepend", "prepend": "12"}}
    for pattern in ({"String": "a"}, {"String": "."}, {"Regex": "\\s+|(?<=l)l"}):
        yield f"replace {pattern}", {"normalizer": {"type": "Replace", "pattern": pattern, "content": "<e"}}
    yield "bytes by normalizer", {"normalizer": {"type": "ByteLevel"}, "pre_tokenizer": None}
    for name in ("Whitespace", "WhitespaceSplit", "BertPreTokenizer"):
        yield name, {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": name}, BYTES]}}
    for behavior in ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        step = {"type": "Punctuation", "behavior": behavior}
        yield f"{behavior} punctuation", {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [step, BYTES]}}
    yield "punctuation", {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Punctuation"}, BYTES]}}
    yield "no pre-tokenizer", {"pre_tokenizer": None}
    size = len(vocabulary())
    pair = {"sep": ["<eos>", size], "cls": ["<bos>", size + 1]}
    yield "Bert", {"post_processor": {"type": "BertProcessing", **pair}}
    yield "Roberta", {"post_processor": {"type": "RobertaProcessing", "trim_offsets": True, "add_prefix_space": False, **pair}}
    yield "no decoder", {"decoder": None}
    replace, strip = {"type": "Replace", "pattern": {"Regex": "l+|^h"}, "content": " L"}, {
        "type": "Strip", "content": "a", "start": 2, "stop": 0}
    fuse, spaces = {"type": "Fuse"}, {"type": "Replace", "pattern": {"String": "a"}, "content": "b b"}
    for name, steps in {"replace": [replace], "strip": [strip], "strip all": [fuse, strip], "bytes, then": [BYTES, fuse, strip, spaces],
                        "strip bytes": [strip, BYTES, metaspace(replacement="a")], "strip the end": [fuse, {**strip, "start": 0, "stop": 2}], "none": [], "ends": [
                            {**strip, "start": 0, "stop": 1}, fuse, {**strip, "content": "e", "start": 1}]}.items():
        yield f"decoders {name}", {"decoder": {"type": "Sequence", "decoders": steps}}
    tokens = [added(size, "<eos>", special=True, normalized=True), added(size + 1, "<É>", special=True, normalized=True),
              added(vocabulary()["é"], "é", special=True), added(size + 2, "<Tool>", normalized=True)]
    yield "special tokens, normalized", {"added_tokens": tokens, "normalizer": {"type": "Lowercase"}}


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
    yield from part_cases()
    yield from sentence_piece_cases()
    yield "decoders", {"decoder": {"type": "Sequence", "decoders": [BYTES, {"type": "Fuse"}]}}


def random_text(draw):
    pieces = TEXTS + ["a", "b", "aa", "ab", "c", " ", "  ", "\n", "é", "e\u0301", "<", "<eos>", "<tool>", "<strip>", "<left>", "<x>", "-", ".", "1",
                      "\u2003", "\u200d", "_", "<ﬁ>", "<fi>", "the<", "\x85", "\x1c", "\u0345"]
    return "".join(draw.choice(pieces) for _ in range(draw.randrange(1, 12)))


def decoded(package, ids):
    return package.decode(ids, skip_special_tokens=False), package.decode(ids)


def unless_it_panics(call):
    """What the package gives; nothing where it hits its own out-of-bounds errors."""
    try:
        return call()
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        return None


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).with_suffix(".jsonl"))
    texts = TEXTS
    if len(sys.argv) > 2:
        draw = random.Random(int(sys.argv[2]))
        texts = [random_text(draw) for _ in range(300)]
    lines = [base()]
    whole = {}
    for name, change in cases():
        source = {"from": change.pop("from")} if "from" in change else {}
        whole[name] = {**(whole[source["from"]] if source else base()), **change}
        package = Tokenizer.from_str(json.dumps(whole[name]))
        rows, decodes = [], []
        draw = random.Random(name)
        for text in texts:
            encoding = unless_it_panics(lambda: package.encode(text))
            if encoding is None:
                continue
            texts_of_ids = unless_it_panics(lambda: decoded(package, encoding.ids))
            if texts_of_ids is not None:
                rows.append([text, encoding.ids, package.encode(text, add_special_tokens=False).ids, *texts_of_ids])
        for _ in range(8 if len(sys.argv) < 3 else 200):
            ids = [draw.randrange(package.get_vocab_size()) for _ in range(draw.randrange(1, 12))]
            texts_of_ids = unless_it_panics(lambda: decoded(package, ids))
            if texts_of_ids is not None:
                decodes.append([ids, *texts_of_ids])
        lines.append({"name": name, **source, "change": change, "rows": rows, "decodes": decodes})
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    out.write_text(text, encoding="utf-8", newline="\n")


main()
