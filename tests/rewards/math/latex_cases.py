#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ParseLatex beside latex2sympy2_extended's own test cases (../shared/cases/latex_parse.jsonl): its trees, made sympy's, must have
the values that the cases have: numerically at three points, sets, relations and matrices part by part.

  latex_cases.py LATEX_TREE    LATEX_TREE: the test program that prints the tree of each line
Runs under the Python that TEMPER_PEERS_PYTHON names; exits 77 (skipped) without sympy or the cases, 1 below 95%.
"""
import json
import os
import pathlib
import random
import re
import subprocess
import sys

python = os.environ.get("TEMPER_PEERS_PYTHON")
if python and "TEMPER_CASES" not in os.environ:
    os.execve(python, [python, *sys.argv], {**os.environ, "TEMPER_CASES": "1"})
try:
    import sympy
except ImportError:
    print("skipped: sympy is not installed (scripts/install --all)")
    sys.exit(77)

CASES = pathlib.Path(__file__).resolve().parents[3] / "../shared/cases/latex_parse.jsonl"
NUMBER_SETS = {"N": sympy.S.Naturals, "Z": sympy.S.Integers, "Q": sympy.S.Rationals, "R": sympy.S.Reals, "C": sympy.S.Complexes}
INVERSES = {"arc" + name: getattr(sympy, "a" + name) for name in
            "sin cos tan cot sec csc sinh cosh tanh coth sech csch".split()}
FUNCTIONS = {**INVERSES, "abs": sympy.Abs, "floor": sympy.floor, "ceil": sympy.ceiling, "factorial": sympy.factorial, "mod": sympy.Mod,
             "max": sympy.Max, "min": sympy.Min, "exp": sympy.exp, "binomial": sympy.binomial, "double_factorial": sympy.factorial2,
             **{name: getattr(sympy, name) for name in "sin cos tan cot sec csc sinh cosh tanh coth sech csch".split()}}
# srepr's names; x = {1, 2} would be false at once.
NAMES = {**vars(sympy), **{kind.__name__: lambda *args, kind=kind: kind(*args, evaluate=False)
                           for kind in (sympy.Equality, sympy.Unequality, sympy.Not, sympy.And)}}


def name_of(text):
    return re.sub(r"[\\{}\s]", "", text).lower()


def read(text):
    """(f a b) -> ["f", a, b]; leaves are strings."""
    stack = [[]]
    for token in re.findall(r'\(Interval..|\((?:"[^"]*"|[^\s()"]+)|\)|(?:text|#)?"[^"]*"|[^\s()]+', text):
        if token == ")":
            node = stack.pop()
            stack[-1].append(node)
        elif token.startswith("("):
            stack.append([token[1:].strip('"')])
        else:
            stack[-1].append(token)
    return stack[0][0]


class Part(tuple):
    """("set", ...) and the like: what is compared part by part."""


def ours(tree):
    if isinstance(tree, str):
        if tree.startswith("#"):
            known = {"#pi": sympy.pi, "#e": sympy.E, "#i": sympy.I, "#oo": sympy.oo, "#true": sympy.true, "#false": sympy.false}
            return known.get(tree) if tree in known else Part(("numbers", str(NUMBER_SETS[tree[1:]])))
        if re.match(r"-?[\d.]", tree):
            return sympy.Rational(tree)
        return sympy.Symbol(name_of(tree.removeprefix("text").strip('"')))
    head, *rest = tree
    args = [ours(arg) for arg in rest]
    if head == "+":
        return sum(args[1:], args[0])
    if head == "*":
        product = args[0]
        for arg in args[1:]:
            product = product * arg
        return product
    if head == "^":
        return args[0] ** args[1]
    if head == "Percent":
        return args[0] / 100
    if head == "PlusMinus":
        both = [args[0] - args[1], args[0] + args[1]] if len(args) == 2 else [-args[0], args[0]]
        return Part(("set", *both))
    if head in ("Set", "List"):
        return Part(("set", *(part for arg in args for part in (arg[1:] if is_set(arg) and head == "List" else [arg]))))
    if head == "Matrix":
        return sympy.Matrix([list(row[1:]) for row in args])
    if head.startswith("Interval"):
        return Part(("interval", head[8] == "(", head[9] == ")", *args))
    if head in ("Union", "Intersection", "Difference"):
        return theirs({"Difference": sympy.Complement}.get(head, getattr(sympy, head, None))(*map(as_set, args)))
    if head == "Tuple":
        return Part(("tuple", *args))
    if head in ("=", "!=", "<", "<=", ">", ">=", "in", "notin", "subseteq", "approx", "and", "or"):
        return relation(head, args)
    if head in ("integral", "sum", "product"):
        bounds = args[1] if len(args) == 2 else tuple(args[1:])
        return {"integral": sympy.Integral, "sum": sympy.Sum, "product": sympy.Product}[head](args[0], bounds)
    if head == "limit":
        return sympy.Limit(*args[:3], dir=str(args[3]) if len(args) > 3 else "+")
    if head == "derivative":
        return sympy.Derivative(args[0], (args[1], args[2]))
    if head == "log":
        return sympy.log(args[0]) if len(args) == 1 else sympy.log(args[1]) / sympy.log(args[0])
    if head in ("gcd", "lcm"):
        result = args[0]
        for arg in args[1:]:
            result = getattr(sympy, head)(result, arg)
        return sympy.gcd(result, 0) if head == "gcd" else result
    if head == "det":
        return args[0].det()
    if head in FUNCTIONS:
        return FUNCTIONS[head](*args)
    return sympy.Function(head)(*args)


def as_set(part):
    if part[0] == "set":
        return sympy.FiniteSet(*part[1:])
    return sympy.Interval(part[3], part[4], part[1], part[2]) if part[0] == "interval" else part


def is_set(value):
    return isinstance(value, Part) and value[0] == "set"


def relation(head, args):
    if head == "subseteq" and all(is_set(arg) for arg in args):
        return sympy.true if set(args[0][1:]) <= set(args[1][1:]) else sympy.false
    if head == "notin":
        return Part(("not", Part(("=", *args))))
    if head == "approx":
        return args[1]
    return Part(({"in": "="}.get(head, head), *args))


def theirs(value):
    """A sympy object with our Parts."""
    if isinstance(value, sympy.MatrixBase):
        return sympy.Matrix(value)
    if isinstance(value, (sympy.MatrixExpr,)):
        return sympy.Matrix(value.doit())
    if value in NUMBER_SETS.values():
        return Part(("numbers", str(value)))
    if isinstance(value, (sympy.FiniteSet, sympy.Tuple, sympy.Union, sympy.Intersection, sympy.Complement, sympy.And, sympy.Not)):
        names = {"FiniteSet": "set", "Complement": "difference"}
        return Part((names.get(type(value).__name__, type(value).__name__.lower()), *map(theirs, value.args)))
    if value == sympy.S.EmptySet:
        return Part(("set",))
    if isinstance(value, sympy.Interval):
        return Part(("interval", bool(value.left_open), bool(value.right_open), theirs(value.start), theirs(value.end)))
    if isinstance(value, sympy.core.relational.Relational):
        return Part(({"==": "="}.get(value.rel_op, value.rel_op), *map(theirs, value.args)))
    return value.xreplace({symbol: sympy.Symbol(name_of(symbol.name)) for symbol in value.atoms(sympy.Symbol)})


def same(a, b):
    if isinstance(a, Part) or isinstance(b, Part):
        return same_parts(a, b)
    if isinstance(a, sympy.MatrixBase) or isinstance(b, sympy.MatrixBase):
        alike = isinstance(a, sympy.MatrixBase) and isinstance(b, sympy.MatrixBase) and a.shape == b.shape
        return alike and all(same(x, y) for x, y in zip(a, b))
    if a == b:
        return True
    for kind in (sympy.Integral, sympy.Sum, sympy.Product, sympy.Limit, sympy.Derivative):
        if isinstance(a, kind) and isinstance(b, kind):
            return flat(a) == flat(b) or (len(flat(a)) == len(flat(b)) and all(map(same, flat(a), flat(b))))
    return same_values(a, b)


def flat(value):
    """An integral's body, variable and bounds."""
    if isinstance(value, sympy.Limit):
        return [*value.args[:3]] if value.args[2].is_infinite else [*value.args]
    parts = [value.args[0]]
    for bound in value.args[1:]:
        parts += list(bound)
    return parts


def same_parts(a, b):
    if isinstance(a, Part) and isinstance(b, Part) and b[0] == "interval" and a[0] == "tuple" and len(a) == 3:
        a = Part(("interval", True, True, *a[1:]))
    if not (isinstance(a, Part) and isinstance(b, Part)) or len(a) != len(b) or a[0] != b[0]:
        return False
    if a[0] in ("set", "union", "intersection", "and", "or"):
        rest = list(b[1:])
        for part in a[1:]:
            found = next((i for i, other in enumerate(rest) if same(part, other)), None)
            if found is None:
                return False
            del rest[found]
        return True
    return all(x == y if not hasattr(x, "args") and not isinstance(x, Part) else same(x, y) for x, y in zip(a[1:], b[1:]))


def same_values(a, b):
    symbols = sorted((a.free_symbols | b.free_symbols), key=str)
    for trial in range(3):
        values = random.Random(trial)
        point = {symbol: sympy.Rational(values.randint(20, 900), 113) for symbol in symbols}
        try:
            # Dummies keep functions with names (f, g) apart from their values.
            x, y = (sympy.N(value.doit().subs(point) if symbols else value.doit(), 20) for value in (a, b))
            if not x.is_number or not y.is_number:
                if sympy.simplify(x - y) != 0:
                    return False
            elif x == y:
                continue
            elif not abs(complex(x) - complex(y)) <= 1e-9 * max(abs(complex(x)), abs(complex(y))):
                return False
        except (TypeError, ValueError, AttributeError):
            return False
    return True


def main():
    if not CASES.exists():
        print(f"skipped: no {CASES.name}")
        return 77
    rows = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]
    lines = "\n".join(row["latex"].replace("\n", " ") for row in rows) + "\n"
    trees = subprocess.run([sys.argv[1]], input=lines.encode(), stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()
    agree = 0
    for row, tree in zip(rows, trees, strict=True):
        try:
            expected = theirs(sympy.sympify(eval(row["srepr"], NAMES.copy())))
            good = not tree.startswith("ERROR") and same(ours(read(tree)), expected)
        except Exception as error:  # whatever sympy finds wrong with a tree is a mismatch
            good = False
            tree += f"   ({type(error).__name__}: {error})"
        agree += good
        if not good:
            print(f"{row['latex']}\n    {tree}\n    expected {row['expected']}")
    print(f"{agree} of {len(rows)} cases have the value of latex2sympy2_extended's ({100 * agree / len(rows):.1f}%)")
    return 0 if agree >= 0.95 * len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
