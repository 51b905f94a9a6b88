#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Signals as users and launchers send them, alone and under mpirun: each run ends as a whole with 75 and what it did saved, and
goes on to the digest of one that was left alone. SIGQUIT prints every thread and ends nothing.

Usage: signals.py TEMPER     Needs mpirun (exit status 77 without). Takes about a minute.
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                   OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_btl_vader_single_copy_mechanism="none")
# docs/start.md has these lines: mpirun hands USR1 on, while TERM makes it end the ranks and say 1.
HANDED_ON = """"$@" & run=$!; trap 'kill -USR1 $run' TERM HUP INT
while wait $run; code=$?; kill -0 $run 2>/dev/null; do :; done; exit $code"""


def ranks_below(pid):
    """The ranks that the process started, lowest first."""
    found = []
    for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        name = pathlib.Path(f"/proc/{child}/comm").read_text().strip()
        found += [int(child)] if name == "temper" else ranks_below(child)
    return found


WAIT_SECONDS = 240  # a bound for what hangs: a machine that does other work may take long


def heard(started, word):
    """What the process said until it has said the word; all of it where it ended without."""
    said = ""
    for line in started.stderr:
        said += line
        if word in line:
            break
    return said


def stop(temper, directory, ranks, number, to, before=(), settings=()):
    """Sends the signal once an update is done, to the launcher or to the last rank; exit status and what was said."""
    command = [temper, "run", "configs/tiny/short.yaml", "--run-dir", str(directory)]
    for setting in settings:
        command += ["--set", setting]
    if ranks > 1:
        command = [*before, "mpirun", "-n", str(ranks), *command]
    started = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    metrics = directory / "metrics.jsonl"
    while started.poll() is None and not (metrics.exists() and metrics.stat().st_size > 0):
        time.sleep(0.01)
    os.kill(started.pid if to == "launcher" or ranks == 1 else ranks_below(started.pid)[-1], number)
    said = ""
    if number == signal.SIGQUIT:
        said = heard(started, "that is every thread")
        os.kill(started.pid, signal.SIGUSR1)
    _, errors = started.communicate(timeout=WAIT_SECONDS)
    return started.returncode, said + errors


JUDGE = """import sys, time
for number, line in enumerate(sys.stdin):
    if number > 0:
        time.sleep(3600)
    import json
    print(json.dumps({"id": json.loads(line).get("id"), "score": 0.5}), flush=True)
"""
RECIPE = """stages:
  base:
    kind: pretrain
    pretrain: {init: {directory: configs/tiny/base}, documents: [{kind: corpus, count: 8}]}
  zero:
    kind: rl
    from: base
    rl:
      steps: 2
      prompts_per_step: 4
      samples_per_prompt: 2
      sampling: {max_new_tokens: 8}
      problems: {generator: tiny}
      reward: {rules: [{rule: process, name: judge, row_seconds: 3600, command: [python3, judge.py]}]}
"""


def hanging(temper, folder, word, after):
    """Two ranks of a run whose judge answers once and then never: TERM to one of them, `after` seconds behind the word of its
    output, ends both. Exit status and what was said."""
    (folder / "judge.py").write_text(JUDGE)
    (folder / "hang.yaml").write_text(RECIPE)
    command = ["mpirun", "-n", "2", temper, "run", str(folder / "hang.yaml"), "--run-dir", str(folder / f"hang-{after}")]
    started = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = heard(started, word)
    time.sleep(after)
    os.kill(ranks_below(started.pid)[0], signal.SIGTERM)
    try:
        return started.wait(timeout=WAIT_SECONDS), said + started.stderr.read()
    except subprocess.TimeoutExpired:
        started.kill()
        return "none", said


def digest(temper, directory):
    return subprocess.run([temper, "inspect", str(directory), "--digest"], capture_output=True, text=True, check=True).stdout.strip()


def main():
    if not shutil.which("mpirun"):
        print("mpirun is not there")
        sys.exit(77)
    temper, faults = sys.argv[1], 0
    cases = [(1, number, "launcher", ()) for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR2)]
    cases += [(2, signal.SIGUSR1, "launcher", ()), (2, signal.SIGTERM, "rank", ()), (4, signal.SIGINT, "rank", ()),
              (2, signal.SIGTERM, "launcher", ("bash", "-c", HANDED_ON, "run")), (2, signal.SIGQUIT, "rank", ())]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for at, (ranks, number, to, before) in enumerate(cases):
            directory = folder / str(at)
            code, errors = stop(temper, directory, ranks, number, to, before)
            saved = list(directory.glob("*/checkpoints/step-*"))
            threads = re.search(r"rank \d: that is every thread", errors) is not None and "RunRecipe" in errors
            # Where it is heard is up to the machine: between two updates, while it samples, in an evaluation.
            words = re.search(r"stopped on request, stage \w+ .*is saved; the same command goes on", errors)
            good = code == 75 and saved and words and threads == (number == signal.SIGQUIT)
            print(f"{ranks} rank(s), {number.name} to the {to}{' by the lines of docs/start.md' if before else ''}: {code}, "
                  f"{'saved' if saved else 'not saved'}{'' if good else ': expected 75 and saved'}")
            if not good:
                print(errors)
                faults += 1
        for word, after in (("what the stages read", 0), ("zero 0/2", 3)):
            code, errors = hanging(temper, folder, word, after)
            good = code == 75 and "mistake" not in errors
            print(f"2 ranks, a judge that hangs, SIGTERM {after} s after '{word}': {code}{'' if good else ': expected 75'}")
            if not good:
                print(errors)
                faults += 1
        silent = folder / "silent"
        code, errors = stop(temper, silent, 2, signal.SIGSTOP, "rank", settings=["deadline_minutes=0.1"])
        good = code == 75 and "process" in errors and "has given no sign of life for 7 s" in errors
        print(f"2 ranks, SIGSTOP to one: {code}{'' if good else ': expected 75 and the name of the silent rank'}")
        if not good:
            print(errors)
            faults += 1
        whole = folder / "whole"
        for directory in (whole, silent, folder / str(len(cases) - 1)):
            subprocess.run([temper, "run", "configs/tiny/short.yaml", "--run-dir", str(directory)], capture_output=True, check=True)
            if digest(temper, whole) != digest(temper, directory):
                print(f"the stopped run {directory} went on to another digest")
                faults += 1
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
