#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts the parameters of functions; prints FILE:LINE: and what is wrong, exits 1 if any.

A function takes at most 6 parameters. In kernels and of a backend it takes at most 3, but for the inner loops of
kernels/cpu (files that hold `namespace TEMPER_ISA`) and kernels/cuda (`namespace TEMPER_DEVICE`): a task struct with designated
initialisers says what they are.
--self-test: made-up sources, of which the bad ones must be found.

Usage: check_parameters.py [--root DIR] | --self-test     Needs Python 3.9. Takes a second.
"""
import argparse
import re
import sys
import tempfile
from pathlib import Path

from check_layers import without_comments

ROOMS = "core data rewards kernels comm model rollout trainer cli tests".split()
FUNCTION = re.compile(r"((?:[A-Za-z_]\w*::)*~?[A-Za-z_]\w*)\s*\(")
# What stands before a call, and behind a declaration.
BEFORE_CALL = (".", "->", "return", "(", "[", ",", "=", "!", "&&", "||", "?", "+", "-", "*/", "<<", "throw", "new", "co_await")
AFTER_PARAMETERS = re.compile(r"\s*(?:const\b|noexcept\b|override\b|final\b|->|=\s*(?:0|default|delete)\b|[;{]|:(?!:))")
# What stands behind a declaration alone, so that its parameters need no names.
SURELY_DECLARED = re.compile(r"\s*(?:const\b|noexcept\b|override\b|final\b|=\s*0\b)")
# Ends with the parameter's name, an array's or a function's form, a default value; begins with a type.
PARAMETER = re.compile(r"(?!return\b)[A-Za-z_:].*?[\w>*&:\s](?:[\s*&]\w+|\([*&]\w*\))\s*(?:\[[^\]]*\]|\([^()]*\))?\s*(?:=.*)?", re.S)


def parameters_of(code, opening):
    """The parameters of the list that begins at `opening`, and where it ends; None if it never does."""
    depth, parts, begin = 0, [], opening
    for at in range(opening, len(code)):
        char = code[at]
        if char in "([{" or (char == "<" and code[at + 1:at + 2] != "<" and code[at - 1] != "<"):
            depth += 1
        elif char == ")" and depth <= 0:
            last = code[begin:at].strip()
            return (parts + [last] if last or parts else []), at + 1
        elif char in ")]}" or (char == ">" and code[at - 1] not in "-=" and depth > 0):
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(code[begin:at].strip())
            begin = at + 1
        elif char == ";" and depth <= 0:
            return None
    return None


def limit_of(path, code):
    backend = path.parts[0] == "kernels" or path.stem.endswith("_backend")
    return 3 if backend and not re.search("namespace TEMPER_(?:ISA|DEVICE)", code) else 6


def faults_of(path, text):
    code = without_comments(text, strings=True).replace("\\\n", " \n")  # a macro's lines are one
    most = limit_of(path, code)
    for match in FUNCTION.finditer(code):
        if code[:match.start()].rstrip().endswith(BEFORE_CALL):
            continue
        found = parameters_of(code, match.end())
        if found is None or len(found[0]) <= most or not AFTER_PARAMETERS.match(code, found[1]):
            continue
        if SURELY_DECLARED.match(code, found[1]) or all(PARAMETER.fullmatch(part) for part in found[0]):
            line = code.count("\n", 0, match.start()) + 1
            yield f"{path}:{line}: {match.group(1)} takes {len(found[0])} parameters, and {most} are the limit: a struct names them"


def check(root):
    faults, files = [], 0
    for room in ROOMS:
        for path in sorted((root / room).glob("**/*")):
            if path.suffix in (".h", ".cc", ".cu", ".cuh", ".inc"):
                files += 1
                faults += faults_of(path.relative_to(root), path.read_text(errors="replace"))
    return faults if files else [f"{root}:1: the rooms hold no source"]


GOOD = {
    "core/a.cc": "void F(int a, int b, const T& c, std::map<int, int> d, float (&e)[4], char* f = nullptr);\n"
                 "int x = F(a, b, c, d, e, f, g);\nvoid H() {\n  F(a.b(), c, d, e, f, g, h);\n  if (F(a, b, c, d, e, f, g)) { }\n}\n"
                 "// void F(int a, int b, int c, int d, int e, int f, int g);\nconst char* s = \"F(int a, int b, int c, int d, int e, int f, int g);\";\n",
    "kernels/cpu/a.cc": "namespace TEMPER_ISA { inline void Inner(int a, int b, int c, int d) {} }\n",
    "kernels/b.h": "void Norm(const Matrix& x, const std::pair<int, int>& y, void (*z)(int, int));\nint y = Tile({a, b, c, d}, e);\n",
}
# file, its text, the line and a part of what must be said of it.
BAD = [
    ("core/bad.h", "\nvoid F(int a, int b, int c,\n  int d, int e, int f,\n int g);\n", 2, "F takes 7 parameters, and 6 are the limit"),
    ("core/bad.cc", "C::C(int a, int b, int c, int d, int e, int f, T<int, int> g) : a_(a) {}\n", 1, "C::C takes 7 parameters"),
    ("core/bad.cc", "auto F(int a, int b, int c, int d, int e, int f, int g = 1 << 4) -> int {}\n", 1, "F takes 7 parameters"),
    ("core/bad.cc", "static int F(int a, T* b, T** c, T&& d, std::function<int(int, int)> e, int (&f)[4], A<B<int>> g) {}\n", 1, "F takes 7 parameters"),
    ("kernels/bad.h", "virtual float* F(const float* a, int64_t n, float b[4], int (&c)[3]) const = 0;\n", 1, "F takes 4 parameters, and 3"),
    ("kernels/cpu/bad.h", "#define X(ISA) \\\n  void F(int a, int b, \\\n int c, int d); \\\n", 2, "F takes 4 parameters, and 3"),
    ("kernels/cpu/bad.cc", "namespace TEMPER_ISA { void F(int a, int b, int c, int d, int e, int f, int g) {} }\n", 1, "F takes 7 parameters, and 6"),
    ("kernels/bad.h", "virtual void F(const T&, int, int64_t, float*) = 0;\n", 1, "F takes 4 parameters, and 3"),
    ("model/torch_backend.h", "void F(int a, int b, int c, int d) override;\n", 1, "F takes 4 parameters, and 3"),
    ("trainer/bad.h", "void F(int a, int b, int c, int d, int e, std::vector<float> T::*f, int g);\n", 1, "F takes 7 parameters"),
    ("tests/core/bad_test.cc", "void F(int a, int b, int c, int d, int e, int f, int g) {}\n", 1, "F takes 7 parameters"),
]


def self_test():
    wrong = []
    for name, text, line, message in [("", "", 0, "")] + BAD:
        with tempfile.TemporaryDirectory() as folder:
            for file, content in {**GOOD, **({name: text} if name else {})}.items():
                path = Path(folder, file)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
            faults = check(Path(folder))
        if name and not (len(faults) == 1 and faults[0].startswith(f"{name}:{line}: ") and message in faults[0]):
            wrong.append(f"{name}: '{message}' was not found at line {line}, only: {faults}")
        if not name and faults:
            wrong.append(f"good sources have faults: {faults}")
    with tempfile.TemporaryDirectory() as folder:
        if not check(Path(folder)):
            wrong.append("a tree without source passes")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    faults = self_test() if arguments.self_test else check(arguments.root.resolve())
    for fault in faults:
        print(fault)
    if arguments.self_test and not faults:
        print(f"self-test: {len(BAD)} bad sources were found out, good ones passed")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
