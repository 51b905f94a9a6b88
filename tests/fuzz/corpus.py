#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of the fuzz targets: OUT/NAME/SEED, for each tests/fuzz/NAME_fuzz.cc, which says what the bytes of
an input are. Most are taken from the case files of the tests. Run at the root of the checkout; takes a second. What an
earlier run of a target added to OUT is thrown away: the same draws begin from the same seeds."""
import json, pathlib, shutil, struct, sys

OUT = pathlib.Path(sys.argv[1])
shutil.rmtree(OUT, ignore_errors=True)


def seeds(name, texts):
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    for i, text in enumerate(texts):
        (folder / f"seed-{i}").write_bytes(text if isinstance(text, bytes) else text.encode())


def rows(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().split("\n") if line]


def line(value):
    return json.dumps(value, ensure_ascii=False)


# Their components, with a small vocabulary in place of the whole one where it is not what the case is about.
def tokenizers():
    base, *cases = rows("tests/data/tokenizer/cases.jsonl")
    tokens = list("abcdehlo ▁Ġ1.") + ["he", "ll", "hell", "hello", "<unk>", "<0x61>", "<0xE2>"]
    small = {"type": "BPE", "unk_token": "<unk>", "byte_fallback": True, "fuse_unk": True, "ignore_merges": False,
             "vocab": {token: i for i, token in enumerate(tokens)}, "merges": [["h", "e"], "l l", "he ll", ["hell", "o"]]}
    added = [{"id": len(tokens) + i, "content": text, "single_word": i == 1, "lstrip": i == 1, "rstrip": i == 2,
              "normalized": i > 0, "special": i == 0} for i, text in enumerate(["<eos>", "<x>", "lo"])]
    by_name = {}
    for case in cases:
        made = {**by_name.get(case.get("from"), base), **case["change"]}
        by_name[case["name"]] = made
        if "model" not in case["change"]:
            made = {**made, "model": small, "added_tokens": added}
        if len(line(made)) < 5000:
            yield "hello <x> 1.é ▁ll<eos>\n" + line(made)


JSON = ['{"a": [1, -2.5e3, true, null, "\\u00e9\\ud83d\\ude42\\n"], "b": {"c": 18446744073709551615}}', "[]", '"é"', "1e-7",
        '{"a":1,"a":2}', "[" * 130 + "]" * 130, '"\\ud800"', "1e999", "[1,]"]
CONFIG = ["", "rules.0.weight=2\n", "min=-1\n", "rules=[{rule: exact, mode: lenient}]\n"]
YAML = ["rules:\n  - rule: math\n    mode: strict\n  - {rule: length, max_tokens: 10, requires: math}\nmin: -1.5\n",
        "rules:\n- rule: format\n  tags: ['a', \"b\\n\"]\n  text_after: true\n", "# c\nmax: 1\nrules: []\n", "a: &x 1\nb: *x\n",
        "rules:\n  - rule: code\n    wall_seconds: 0.5\n    compare: |\n      words\n  - rule: process\n    command: [a, b]\n"]
TEXTS = ["", "hello <eos> wörld  12\n", "Q 7 a -3 b *2 ? <think> 4", "▁▁ ẛ̣ ﬁ 世界 🙂 e\u0301", b"\xff\xc3", " \t\r\n\u00a0\u3000"]
LATEX = [r"\frac{1}{2}", r"2\frac12", "x^2+2x+1", r"(x+1)^2", r"\sqrt[3]{8}", "2", r"\left[0,\infty\right)", r"x \ge 0",
         r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\{1,2,3\}", "3,2,1", r"\sin 30^\circ", "0.5", r"50\%", r"5\pm\sqrt{2}",
         r"\int_0^1 x^2\,dx", r"\sum_{n=1}^{10} n^2", r"\lim_{x\to0}\frac{\sin x}{x}", r"\binom{5}{2}", "10", r"\log_2 8",
         r"|x-1|<2", r"x=1 \text{ or } x=-1", r"\begin{cases}x,&x>0\\-x,&x\le0\end{cases}", r"\mathbb{R}\setminus\{0\}",
         r"A\cup B", r"\overline{AB}", "1,000", "204_5", r"e^{i\pi}", "-1", "10^{100}", "100!", r"\gcd(12,18)", "12:30", "½π",
         r"y'' + y = 0", r"\vec{v}=\langle1,2\rangle", r"f(x)=x^3-3x", r"5\,\mathrm{km/h}", r"\$1{,}234.50", r"\boxed{7}",
         r"\frac{d}{dx}x^n", r"a \equiv b \pmod{n}", "0.\\overline{3}", r"\det A", r"\lfloor 3.7\rfloor", "2^{2^{2^{2}}}"]
ANSWERS = ["<think>so $x=2$</think>\n<answer>2</answer>", r"The answer is $\boxed{\frac{1}{2}}$, or \boxed{0.5}.", "#### 42",
           "1 + 1 = 2. Final answer: **2**", "**(C)** is right", "<think>嗯，等一下</think> 答案是 7"]
PROGRAM = "</think>\n<answer>\n```python\nprint(1)\n```\n  ~~~cpp\nint main(){}\n  ~~~\n</answer>"
TASKS = [{"language": "cpp", "tests": [{"input": "1\n", "output": "1"}], "compare": "words", "tolerance": 0.1},
         {"tests": {"inputs": ["1", "2"], "outputs": ["1", "2"], "fn_name": "f"}, "hidden_tests": []},
         {"tests": "[{\"function\": \"f\", \"args\": [1, [2]], \"expected\": {\"a\": null}}]"},
         {"verification_info": {"language": "python", "test_cases": [
             {"fn_name": "g", "input": "[1]\n2", "output": "[3]", "type": "function_call"}]}}]
KINDS = [("keywords:existence", {"keywords": ["a"]}), ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}),
         ("detectable_format:json_format", {}), ("detectable_content:number_placeholders", {"num_placeholders": 1}),
         ("keywords:letter_frequency", {"letter": "a", "let_frequency": 2, "let_relation": "at least"}),
         ("change_case:english_capital", {}), ("startend:end_checker", {"end_phrase": "b"}), ("language:response_language",
         {"language": "de"}), ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 1,
         "first_word": "a"}), ("combination:two_responses", {}), ("punctuation:no_comma", {}), ("startend:quotation", {}),
         ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "less than"}),
         ("detectable_format:number_bullet_lists", {"num_bullets": 1}), ("detectable_format:title", {})]
PROBLEMS = [{"question": "1+1?", "answer": "so\n#### 2"}, {"problem": "p", "solution": r"\boxed{2}", "id": 3},
            {"prompt": [{"role": "user", "content": "p"}], "reward_model": {"ground_truth": "2"}, "data_source": "d"},
            {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "p"}, {"role": "assistant",
             "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}, {"role": "tool", "content": "t"}]}]


def models():
    for path in sorted(pathlib.Path("tests/goldens").glob("*/config.json")) + [pathlib.Path("configs/tiny/base/config.json")]:
        yield path.read_text()
    config = json.loads(pathlib.Path("configs/tiny/base/config.json").read_text())
    yield line({**config, "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}})
    yield line({**config, "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}})


def safetensors():
    header = line({"__metadata__": {"format": "pt"}, "a": {"dtype": "BF16", "shape": [2, 1], "data_offsets": [0, 4]},
                   "b": {"dtype": "F8_E4M3", "shape": [3], "data_offsets": [4, 7]},
                   "c": {"dtype": "F32", "shape": [], "data_offsets": [7, 11]}})
    yield header + "\n" + "x" * 11
    yield header + "\n" + "x" * 6  # cut
    for dtype, shape, begin, end in ("F16", "[1]", 0, 2), ("BF16", "[1]", 0, 3), ("F32", "[]", 1, 5), ("F16", "[2]", 8, 12):
        yield f'{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}}}\nxx'
    yield header.replace("[4, 7]", "[3, 6]") + "\n" + "x" * 11  # overlapping
    yield struct.pack("<Q", len(header)) + header.encode() + b"x" * 11
    yield struct.pack("<Q", 1 << 63) + header.encode()
    yield line({"a": {"dtype": "I64", "shape": [1 << 62, 2], "data_offsets": [0, 8]}}) + "\n" + "x" * 8
    yield line({"metadata": {"total_size": 7}, "weight_map": {"a": "model-1.safetensors", "b": "../b"}})


# The files of a run's folder, each behind the byte of its reader.
def run_directory():
    extent = {"bytes": 12, "crc32c": 4000000000}
    sealed = line({"metrics": extent, "sums": extent, "row": {"stage": "zero", "pass@1": 0.5}})
    for number, text in ((0, sealed[:-1] + ',"crc32c":1}\n'), (1, sealed[:-1]), (2, "seed: 1\n# crc32c: 1\n"), (3, "seed: 1\nstages: {}\n"),
                         (4, line({"file": "trajectories/rollout-000000.rank-0.records", "is": extent}) + "\n"),
                         (5, line({"stage": "zero", "step": 1, "loss": 0.5, "time/unix_seconds": 1e9}) + "\n")):
        yield bytes([number]) + text.encode()


# Protobuf by hand, of data/trajectory.proto: a number, or text, of each field.
def records():
    fields = [bytes([n << 3, 1]) for n in range(1, 12)] + [bytes([n << 3 | 2, 2]) + b"ab" for n in range(1, 12)]
    yield from (a + b for a in fields for b in fields[:3])
    yield from (bytes([n << 3 | 2, len(body)]) + body for n in (1, 2) for body in (b"".join(fields[:4]), b"".join(fields[11:])))


seeds("json", JSON + [line(row) for row in TASKS])
seeds("config", [c + y for c in CONFIG for y in YAML] + [c.strip() + "\n" + y for c in CONFIG for y in YAML])
seeds("tokenizer", tokenizers())
seeds("encode", [bytes([i]) + (t if isinstance(t, bytes) else t.encode()) for i in (0, 1, 60, 90, 110) for t in TEXTS])
seeds("chat_template", [row[0] for row in rows("tests/data/chat/template_cases.jsonl")[1:]])
seeds("record_file", records())
seeds("run_directory", run_directory())
seeds("row_file", [line(row) + "\n\n" for row in PROBLEMS] + ["\n".join(map(line, PROBLEMS))])
seeds("parquet", [pathlib.Path("tests/data/dataset/parquet_case.parquet").read_bytes()])
seeds("latex", LATEX + ANSWERS)
seeds("equal", [f"{a}\n{b}" for a, b in zip(LATEX, LATEX[1:] + LATEX[:1])] + [f"{a}\n{a}" for a in LATEX])
seeds("code", [line(task) + "\n" + PROGRAM for task in TASKS])
seeds("rules", [line({"answer": a, "task": t}) + "\n" + text for a, t in (("2", "math"), (r"\frac12", "math"), ("C", "choice"))
                for text in ANSWERS] +
      [line({"instruction_id_list": [kind], "kwargs": [options]}) + "\n" + ANSWERS[0] + " A b.\n\n* [c] <<d>> a" for kind, options in KINDS])
seeds("model_config", models())
seeds("safetensors", safetensors())
