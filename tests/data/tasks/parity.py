#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The procedural tasks beside the scorers of the package reasoning-gym, on `temper problems` and `temper score`.

  tasks_parity.py TEMPER [COUNT]    COUNT: problems of each level (default 40)
Of each problem the reference answer, wrong ones, and of countdown and propositional_logic other right ones: temper's verdict
is correct exactly where the package's score is 1. The package judges an entry made of our row:
  arithmetic (chain_sum), equations (simple_equations), letter_counting, leg_counting, base_conversion, string_manipulation,
  calendar's weekdays and days (calendar_arithmetic), sudoku_4x4 (mini_sudoku), knights_and_knaves: by the answer;
  countdown: numbers and target; number_sorting: direction (its tolerance of 1 is no right answer: no such wrong ones here);
  propositional_logic: our assignment as the premise, our statements as the conclusion it must entail.
calendar's dates have no counterpart there. Exits 77 (skipped) where the package is absent.
"""
import json
import os
import random
import re
import subprocess
import sys

python = os.environ.get("TEMPER_PEERS_PYTHON")
if python and "TEMPER_PARITY" not in os.environ:
    os.execve(python, [python, *sys.argv], {**os.environ, "TEMPER_PARITY": "1"})
try:
    import reasoning_gym
except ImportError as error:
    print(f"skipped: reasoning-gym is not installed (scripts/install --all): {error}")
    sys.exit(77)

THEIRS = {"arithmetic": "chain_sum", "countdown": "countdown", "equations": "simple_equations", "number_sorting": "number_sorting",
          "letter_counting": "letter_counting", "knights_and_knaves": "knights_knaves", "propositional_logic": "propositional_logic",
          "sudoku_4x4": "mini_sudoku", "base_conversion": "base_conversion", "calendar": "calendar_arithmetic",
          "leg_counting": "leg_counting", "string_manipulation": "string_manipulation"}
LEVELS = {"arithmetic": 6, "countdown": 4, "equations": 4, "number_sorting": 5, "letter_counting": 4, "knights_and_knaves": 5,
          "propositional_logic": 4, "sudoku_4x4": 4, "base_conversion": 4, "calendar": 4, "leg_counting": 5,
          "string_manipulation": 4}
SIGNS = {"and": "∧", "or": "∨", "implies": "→", "iff": "↔"}


def infix(words):
    word = words.pop(0)
    if word == "not":
        return f"¬{infix(words)}"
    if word not in SIGNS:
        return word
    left = infix(words)
    return f"({left} {SIGNS[word]} {infix(words)})"


def entry_of(row, answer):
    """The package's entry, and the answer in its form."""
    task, metadata = row["task"], {}
    if task == "countdown":
        metadata = {"numbers": row["numbers"], "target": row["target"]}
    elif task == "number_sorting":
        metadata = {"direction": row["direction"]}
    elif task == "sudoku_4x4":
        metadata = {"solution": [[int(c) for c in line.split()] for line in row["answer"].split("\n")]}
    elif task == "calendar":
        metadata = {"task": {"weekday": "weekday_offset", "days": "count_days"}[row["kind"]]}
    elif task == "propositional_logic":
        literals = [("" if value == "true" else "¬") + name for name, value in re.findall(r"([A-F]) = (true|false)", answer)]
        joined = lambda parts: parts[0] if len(parts) == 1 else f"({parts[0]} ∧ {joined(parts[1:])})"
        metadata = {"variables": row["variables"], "premises": [joined(literals)]}
        answer = joined([infix(s.split()) for s in row["statements"]])
    return {"answer": row["answer"], "metadata": metadata}, answer


def answers_of(row, others):
    """The reference, others' references, and small changes."""
    answer, task = row["answer"], row["task"]
    yield answer
    yield from random.sample(others, 3)
    if task == "countdown":
        yield f"0 + {answer}"
        yield answer.replace("+", "-", 1)
        yield f"-(-({answer}))"
        yield " + ".join(str(n) for n in row["numbers"])
        yield f"({answer}) * 1"
    elif task == "number_sorting":
        values = json.loads(answer)
        yield json.dumps(values[::-1])
        yield json.dumps(values[:-1])
        yield json.dumps([v + 5 for v in values])
    elif task == "propositional_logic":
        for _ in range(6):
            yield ", ".join(f"{name} = {random.choice(['true', 'false'])}" for name in row["variables"])
    elif task == "knights_and_knaves":
        parts = answer.split(", ")
        yield " and ".join(parts[::-1])
        for i, part in enumerate(parts):
            flipped = part.replace("knight", "knave") if "knight" in part else part.replace("knave", "knight")
            yield ", ".join(parts[:i] + [flipped] + parts[i + 1:])
        yield ", ".join(parts[:-1])
    elif task == "sudoku_4x4":
        for _ in range(3):
            at = random.choice([i for i, c in enumerate(answer) if c.isdigit()])
            yield answer[:at] + str(int(answer[at]) % 4 + 1) + answer[at + 1:]
    elif re.fullmatch(r"-?\d+", answer):
        yield str(int(answer) + 1)
        yield str(int(answer) * 2 + 1)
    else:
        yield answer[::-1] + "b"
        yield answer[1:]


def main(temper, count):
    random.seed(0)
    compared = differ = 0
    for task, levels in LEVELS.items():
        scorer = reasoning_gym.create_dataset(THEIRS[task], size=1, seed=0)
        cases, right = [], 0
        for level in range(1, levels + 1):
            out = subprocess.run([temper, "problems", "--task", task, "--level", str(level), "--count", str(count)],
                                 capture_output=True, text=True, check=True).stdout
            rows = [json.loads(line) for line in out.splitlines()]
            if rows[0].get("kind") == "date":
                continue
            others = [row["answer"] for row in rows]
            cases += [(row, answer) for row in rows for answer in answers_of(row, others)]
        lines = "".join(json.dumps({**row, "completion": answer}) + "\n" for row, answer in cases)
        verdicts = subprocess.run([temper, "score", "--rule", "accuracy", "--raw"], input=lines, capture_output=True, text=True,
                                  check=True).stdout.splitlines()
        for (row, answer), verdict in zip(cases, (json.loads(line)["rules"]["accuracy"] for line in verdicts), strict=True):
            entry, theirs = entry_of(row, answer)
            ours, score = verdict["verdict"] == "correct", scorer.score_answer(theirs, entry) == 1
            compared, right = compared + 1, right + ours
            if ours != score:
                differ += 1
                print(f"{task}: {answer!r}: temper {verdict}, reasoning-gym {score}: {json.dumps(row)}")
        print(f"{task} ({THEIRS[task]}): {len(cases)} answers, {right} right")
        if not 0 < right < len(cases):
            sys.exit(f"{task}: the answers are all of one kind")
    print(f"{compared} answers, {differ} differ")
    return differ > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 40))
