#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The watchdog through the program (configs/tiny/short.yaml under mpirun, deadline 3 s): a rank that is stopped in a rollout, an update,
the writing of a checkpoint or an evaluation is named, with machine and what it was at, on standard error, in `temper status`
and in the journal, and all end with 75 in time; a slow rank and a job that sleeps as a whole are left alone. What goes on ends with the
digest of one rank. A start that was stopped, and goes on after another one has finished the run in a folder without locks, commits nothing.

Usage: watchdog.py TEMPER [--all]     Needs cc and mpirun. A quick set, or with --all every phase, first rank and others, and dead
ranks. Takes 40 s or 3 minutes.
"""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1",
                   OMPI_MCA_btl_vader_single_copy_mechanism="none")
RECIPE, DEADLINE, LATE, LAUNCHER = "configs/tiny/short.yaml", 3, 10, 8
WORDS = dict(rollout="samples", update="updates", checkpoint="writes a checkpoint", evaluation="measures")
DELAYS_MS = (3, 30, 120, 250, 500, 1000, 60)  # behind what a rank wrote before an update: how soon it begins is up to the machine and the other ranks
QUICK = [("rollout", 1, "stop", 2), ("checkpoint", 0, "stop", 3)]
# Of so small a policy the first rank writes all of a checkpoint.
ALL = [(phase, rank, "stop", 3) for phase in WORDS for rank in (0, 1) if (phase, rank) != ("checkpoint", 1)]
ALL += [(phase, 0 if phase == "checkpoint" else 1, "kill", 2) for phase in WORDS]


def ranks_below(pid):
    found = []
    for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        name = pathlib.Path(f"/proc/{child}/comm").read_text().strip()
        found += [int(child)] if name == "temper" else ranks_below(child)
    return found


def start(temper, run, ranks, before=()):
    # A checkpoint is written while the ranks stand still: else they are at something else meanwhile.
    settings = [f"deadline_minutes={DEADLINE / 60}", "stages.base.pretrain.checkpoint_in_background=false"]
    command = ["mpirun", "-n", str(ranks), *before, temper, "run", RECIPE, "--run-dir", str(run), *(word for one in settings for word in ("--set", one))]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def digest(temper, run):
    return subprocess.run([temper, "inspect", str(run), "--digest"], capture_output=True, text=True, check=True).stdout


def check(holds, what):
    if not holds:
        raise AssertionError(f"{what}\n{str(what).splitlines()[0]}")  # again, since of what failed the last lines are shown


def lost(temper, folder, run, fault, delay_ms):
    """A rank that is stopped or killed: when the run ended, what is said of it, and whether it was in the phase, if at all."""
    phase, rank, how, ranks = fault
    log = folder / f"{run.name}.log"
    kill = dict(LD_PRELOAD=folder / "kill_at.so", KILL_PHASE=phase, KILL_COUNT=3, KILL_DELAY_US=1000 * delay_ms, KILL_LOG=log, KILL_RANK=rank)
    if how == "stop":
        kill["KILL_STOP"] = 1
    started = start(temper, run, ranks, ["env", *(f"{key}={value}" for key, value in kill.items())])
    _, said = started.communicate(timeout=120)
    took = time.time() - log.stat().st_mtime if log.exists() else -1
    if took < 0:
        return took, f"no rank was stopped; it ended with {started.returncode}: {said}", False
    status = json.loads(subprocess.run([temper, "status", str(run), "--json"], capture_output=True, text=True, check=True).stdout)
    if how == "kill":
        check(started.returncode == 137 and took < 5 + LAUNCHER, f"{started.returncode} after {took:.1f} s: {said}")
        return took, "", True
    check(started.returncode == 75, f"{started.returncode}: {said}")
    check(took < DEADLINE + LATE, f"it took {took:.1f} s: {said}")
    line = re.search(rf"error: (rank {rank} \({socket.gethostname()}, process \d+\) has given no sign of life for \d s.*)", said)
    check(line, f"it is not named: {said}")
    check(status["state"] == "lost" and status["why"] and status["why"] in line[1], status)
    return took, status["why"], WORDS[phase] in line[1]


def goes_on(temper, run, whole, why=""):
    subprocess.run([temper, "run", RECIPE, "--run-dir", str(run)], capture_output=True, check=True)
    check(digest(temper, run) == whole, f"{run}: another digest")
    ends = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines() if '"end"' in line]
    check(not why or (ends[0]["how"] == "lost" and ends[0]["why"] == why), ends)
    check(not (run / ".watch").exists() or why, "the folder of signs is left")


def slow(temper, run, whole):
    """One rank sleeps until there is a warning of it, then all sleep for twice the deadline."""
    started = start(temper, run, 2)
    said = []

    def read():
        for line in started.stderr:
            said.append(line)
    reader = threading.Thread(target=read)
    reader.start()

    def wait_for(holds, what):
        while not holds():
            check(started.poll() is None, f"it ended with {started.returncode} before {what}: {''.join(said)}")
            time.sleep(0.01)

    wait_for(lambda: (run / "metrics.jsonl").exists() and (run / "metrics.jsonl").stat().st_size > 0, "the first metrics")
    # One that is stopped before its first sign is named without its machine.
    wait_for(lambda: any(sign.stat().st_size > 0 for sign in (run / ".watch").rglob("rank-0001")), "a sign of rank 1")
    ranks = ranks_below(started.pid)
    os.kill(ranks[-1], signal.SIGSTOP)
    wait_for(lambda: any("warning: rank 1 (" in line and "the run ends when it lasts for 3s" in line for line in said), "a warning")
    os.kill(ranks[-1], signal.SIGCONT)
    time.sleep(0.2)
    for how, seconds in ((signal.SIGSTOP, 2 * DEADLINE), (signal.SIGCONT, 0)):
        for rank in ranks:
            os.kill(rank, how)
        time.sleep(seconds)
    check(started.wait(timeout=120) == 0, f"{started.returncode}: {''.join(said)}")
    reader.join()
    check(digest(temper, run) == whole, "another digest")
    check(not (run / ".watch").exists(), "the folder of signs is left")


def snapshot(run):
    """What counts of a run, byte for byte."""
    return {path: path.read_bytes() for path in sorted(run.rglob("*"))
            if path.is_file() and path.name not in ("status.json", ".lock", "report.html")}


def stale(temper, folder, run, whole, writing):
    """Split brain: one start sleeps, after its first checkpoint or (writing) in the middle of one, another one takes the folder and
    finishes; the first wakes up."""
    environment = dict(ENVIRONMENT, LD_PRELOAD=str(folder / "kill_at.so"), NO_LOCKS="1")
    command = [temper, "run", RECIPE, "--run-dir", str(run)]
    log = folder / "stopped"
    stops = dict(KILL_PHASE="checkpoint", KILL_COUNT="3", KILL_STOP="1", KILL_LOG=str(log)) if writing else {}
    old = subprocess.Popen(command, env=dict(environment, **stops), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not (log.exists() if writing else list(run.glob("base/checkpoints/step-*"))):
        check(old.poll() is None, "it ended early")
        time.sleep(0.02)
    if not writing:
        os.kill(old.pid, signal.SIGSTOP)
    subprocess.run(command, env=environment, capture_output=True, check=True)
    left = snapshot(run)
    os.kill(old.pid, signal.SIGCONT)
    _, said = old.communicate(timeout=120)
    check(old.returncode == 2 and ("is another's by now" in said or "was removed, renamed or replaced" in said), f"{old.returncode}: {said}")
    now = snapshot(run)
    check(now == left, f"the stale start changed {[str(path) for path in now if now[path] != left.get(path)]}")
    check(digest(temper, run) == whole, "another digest")


def main():
    temper, faults = os.path.abspath(sys.argv[1]), ALL if "--all" in sys.argv else QUICK
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        folder = pathlib.Path(name)
        subprocess.run([os.environ.get("CC", "cc"), "-O1", "-shared", "-fPIC", "-pthread", "-o", folder / "kill_at.so",
                        pathlib.Path(__file__).with_name("kill_at.c"), "-ldl"], check=True)
        subprocess.run([temper, "run", RECIPE, "--run-dir", str(folder / "whole")], capture_output=True, check=True)
        whole = digest(temper, folder / "whole")
        slow(temper, folder / "slow", whole)
        print(f"a slow rank, a job that sleeps: left alone, {whole.strip()[:12]}", flush=True)
        for writing in (False, True):
            stale(temper, folder, folder / f"stale-{writing}", whole, writing)
        print("a start that slept, once while it wrote a checkpoint, and another one finished the run: commits nothing", flush=True)
        for i, fault in enumerate(faults):
            for attempt, delay_ms in enumerate(DELAYS_MS if fault[0] == "update" else DELAYS_MS[:1]):
                run = folder / f"{i}-{attempt}"
                took, why, is_inside = lost(temper, folder, run, fault, delay_ms)
                if is_inside:
                    break
            check(is_inside, f"not {WORDS[fault[0]]}: {why}")
            print(f"{fault[2]} rank {fault[1]} of {fault[3]} in {fault[0]}: ended after {took:.1f} s {why}", flush=True)
            if i == 0 or "--all" in sys.argv:
                goes_on(temper, run, whole, why)


if __name__ == "__main__":
    main()
