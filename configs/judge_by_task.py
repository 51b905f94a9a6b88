#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rule `process` where a stage's problems are of several kinds: each row goes to the judge of its `task`.

  command: [python3, judge_by_task.py, "math,stem=temper score --rule math", "code=temper score --rule code"]

A judge is any program that answers rows line by line: `temper score` of one rule (temper has to be in PATH), or one of
your own that speaks rule `process` (docs/rewards.md). It starts with the first row of its tasks and stays.
"""
import json
import shlex
import subprocess
import sys


def table_of(arguments):
    table = {}
    for argument in arguments:
        tasks, equals, command = argument.partition("=")
        if not equals or not shlex.split(command):
            sys.exit(f"{argument!r} is no TASK[,TASK]=COMMAND")
        table.update((task, command) for task in tasks.split(","))
    if not table:
        sys.exit("no judge is named: judge_by_task.py TASK[,TASK]=COMMAND ..")
    return table


def ask(judge, row):
    # `temper score` looks for a row's own fields, such as tests, at its top; rule `process` in "row".
    own = row.get("row") if isinstance(row.get("row"), dict) else {}
    line = {key: value for key, value in {**own, **row}.items() if value is not None}
    try:
        judge.stdin.write(json.dumps(line) + "\n")
        judge.stdin.flush()
        answer = judge.stdout.readline()
    except BrokenPipeError:
        answer = ""
    if not answer:
        sys.exit(f"the judge of task {row['task']} ended")
    answer = json.loads(answer)
    (verdict,) = answer["rules"].values() if "rules" in answer else (answer,)
    return {key: verdict[key] for key in ("verdict", "score", "extracted", "reason") if verdict.get(key) is not None}


def main():
    table, judges = table_of(sys.argv[1:]), {}
    for line in sys.stdin:
        row = json.loads(line)
        command = table.get(row.get("task"))
        if command is None:
            answer = {"verdict": "infrastructure_error", "reason": f"no judge is named for task {row.get('task')!r}"}
        else:
            if command not in judges:
                judges[command] = subprocess.Popen(shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                                   text=True)
            answer = ask(judges[command], row)
        print(json.dumps({"id": row["id"], **answer}), flush=True)


if __name__ == "__main__":
    main()
