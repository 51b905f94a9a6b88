#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rule math beside the math-verify package on the rows of ../shared/cases/math_verify.jsonl: verdicts a second on one core, and
the slowest verdict, in turns.

temper is timed from outside, as `temper score` over many copies of the rows less a call over one: reading and writing JSON is
in it. Its slowest row is the one whose copies take longest.

Usage: speed.py TEMPER [--turns 5]     Needs: math-verify (scripts/install --all), ../shared/cases. Costs: two minutes.
Exit status 1 below 300 times, or where the slowest verdict takes more than a tenth of the package's slowest.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

python = os.environ.get("TEMPER_PEERS_PYTHON")
if python and "TEMPER_INSIDE" not in os.environ:
    os.execve(python, [python, *sys.argv], {**os.environ, "TEMPER_INSIDE": "1"})

options = argparse.ArgumentParser()
options.add_argument("temper")
options.add_argument("--turns", type=int, default=5)
options = options.parse_args()
cases = pathlib.Path(__file__).parents[4] / "shared/cases/math_verify.jsonl"
try:
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify
except ImportError:
    print("skipped: the package math-verify is not here (scripts/install --all)")
    sys.exit(77)
if not cases.exists():
    print(f"skipped: no {cases.name} beside the checkout")
    sys.exit(77)
ROWS = [row for row in map(json.loads, cases.read_text().splitlines()) if row["kind"] == "verify"]


def package(rows):
    """Seconds of each row."""
    target = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    seconds = []
    for row in rows:
        begin = time.perf_counter()
        verify(parse(row["gold"], target), parse(row["pred"], target))
        seconds.append(time.perf_counter() - begin)
    return seconds


def temper(rows):
    """Seconds of the whole call."""
    text = "".join(json.dumps({"completion": row["pred"], "answer": row["gold"]}) + "\n" for row in rows)
    begin = time.perf_counter()
    subprocess.run([options.temper, "score", "--rule", "math", "--raw"], input=text, text=True, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin


# A row whose reference cannot be read stops `score`: such rows are left to the other tests.
ROWS = [row for row in ROWS if subprocess.run(
    [options.temper, "score", "--rule", "math", "--raw"], text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    input=json.dumps({"completion": "1", "answer": row["gold"]}) + "\n").returncode == 0]
COPIES = 200
package(ROWS)  # warm up
ratios, slowest_package = [], []
for turn in range(options.turns):
    seconds = package(ROWS)
    ours = (temper(ROWS * COPIES) - temper(ROWS[:1])) / COPIES
    ratios.append(sum(seconds) / ours)
    slowest_package.append(max(seconds))
    print(f"turn {turn}: math-verify {sum(seconds):.3f} s, temper {ours * 1e3:.3f} ms for {len(ROWS)} rows: {ratios[-1]:.0f} times",
          flush=True)
one = temper(ROWS[:1])
each = [(temper([row] * COPIES) - one) / COPIES for row in ROWS]
worst = max(range(len(ROWS)), key=lambda i: each[i])
# Again, with more copies, so that the machine's noise is not the figure.
slowest = statistics.median((temper([ROWS[worst]] * COPIES * 5) - one) / COPIES / 5 for _ in range(options.turns))
share = slowest / statistics.median(slowest_package)
print(f"median: {statistics.median(ratios):.0f} times (at least 300); slowest verdict {slowest * 1e6:.0f} us, row {ROWS[worst]['id']}, "
      f"{share:.4f} of the package's slowest {statistics.median(slowest_package) * 1e3:.0f} ms (at most 0.1)")
sys.exit(0 if statistics.median(ratios) >= 300 and share <= 0.1 else 1)
