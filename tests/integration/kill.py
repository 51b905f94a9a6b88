#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""E4 through the program: configs/tiny/short.yaml, killed (SIGKILL) at random moments inside a rollout, an update, the writing
of a checkpoint and the change of a stage, and resumed, on one and on two ranks: the digest is that of an undisturbed run,
no finished sample is sampled again, and no more updates are repeated than the last checkpoint lacks.

tests/integration/kill_at.c, compiled here and preloaded, kills at the chosen moment and says where it was.

Usage: kill.py TEMPER [--runs N] [--seed N]     Needs cc and mpirun. Takes about a minute, with 6 kills in each run.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

# As root and on few cores, as in a container; there one process may not read another's memory (vader).
ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                   OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_btl_vader_single_copy_mechanism="none")
RECIPE = "configs/tiny/short.yaml"
PHASES = ("rollout", "update", "checkpoint", "stage")
LEAST = 4  # kills of each phase
# How many of its events a phase is let go on, at most: so that kills fall early and late in it, in this stage or the next.
EVENTS = dict(rollout=40, update=3, checkpoint=40, stage=7)
CHECKPOINT_EVERY = dict(base=5, cold_start=2)  # of the others 1


def start(temper, directory, ranks, kill=None, background=False):
    """One start of the run; `kill`: what kill_at.c is told; `background`: checkpoints are written while it trains."""
    command = [temper, "run", RECIPE, "--run-dir", str(directory)]
    for field in ("rl", "stages.base.pretrain", "stages.cold_start.sft", "stages.sft.sft"):
        command += ["--set", f"{field}.checkpoint_in_background={str(background).lower()}"]
    if kill:
        command = ["env"] + [f"{key}={value}" for key, value in kill.items()] + command
    if ranks > 1:
        command = ["mpirun", "-n", str(ranks)] + command
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    if done.returncode != 0 and not kill:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr}")
    return done.returncode


def digest(temper, directory):
    return subprocess.run([temper, "inspect", str(directory), "--digest"], capture_output=True, text=True, check=True).stdout.strip()


def sampled(directory):
    """How many trajectories the record files of each rollout hold, those written twice counted twice."""
    counts = collections.Counter()
    for path in sorted(pathlib.Path(directory).glob("*/*/*.records")):
        data, at = path.read_bytes(), 0
        while at + 12 < len(data):
            length = int.from_bytes(data[at:at + 4], "little")
            if at + 12 + length > len(data):
                break  # a kill cut it short, and its rank did not come back
            counts[str(path.relative_to(directory)).split(".rank-")[0]] += data[at + 12] >> 3 == 2  # Record.trajectory
            at += 12 + length
    return counts


def repeated(directory):
    """The most updates that a start repeated, by stage."""
    most = collections.Counter()
    for line in (directory / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        most[row["stage"]] = max(most[row["stage"]], row["resume/repeated_updates"])
    return most


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("temper")
    arguments.add_argument("--runs", type=int, default=4)
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    draw = random.Random(options.seed)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    kills, faults = collections.Counter(), 0
    with tempfile.TemporaryDirectory(dir=memory) as name:
        folder = pathlib.Path(name)
        shim, log = folder / "kill_at.so", folder / "kills"
        subprocess.run([os.environ.get("CC", "cc"), "-O1", "-shared", "-fPIC", "-pthread", "-o", shim,
                        pathlib.Path(__file__).with_name("kill_at.c"), "-ldl"], check=True)
        start(options.temper, folder / "undisturbed", 1)
        expected, samples = digest(options.temper, folder / "undisturbed"), sampled(folder / "undisturbed")
        print(f"undisturbed: {expected}, {sum(samples.values())} samples")
        run = 0
        while run < options.runs or min(kills[phase] for phase in PHASES) < LEAST:
            if run == 3 * options.runs:
                sys.exit(f"after {run} runs there are too few kills: {dict(kills)}")
            directory = folder / f"run-{run}"
            background = run % 2 == 1
            for _ in range(6):
                phase = draw.choice([p for p in PHASES if kills[p] == min(kills[q] for q in PHASES)])
                ranks = draw.choice((1, 1, 2))
                log.write_text("")
                kill = dict(LD_PRELOAD=shim, KILL_PHASE=phase, KILL_COUNT=draw.randint(1, EVENTS[phase]),
                            KILL_DELAY_US=draw.randint(200, 6000), KILL_LOG=log)
                if start(options.temper, directory, ranks, kill, background) == 0:
                    break  # it was done before
                words = log.read_text().splitlines()
                if not words or words[0].split()[0] != phase:
                    sys.exit(f"run {run}: it died, but not by us: {kill}, {words}")
                kills[phase] += 1
                where = words[0].replace(str(directory) + "/", "")
                print(f"run {run}, {ranks} rank(s), killed: {where}")
            ranks = draw.choice((1, 2, 4))
            start(options.temper, directory, ranks, background=background)
            got, again = digest(options.temper, directory), sampled(directory)
            print(f"run {run}, ended on {ranks} rank(s): {got}")
            if got != expected:
                print(f"run {run}: the digest is another")
                faults += 1
            if again != samples:
                print(f"run {run}: other numbers of samples in the records: {again - samples} more, {samples - again} fewer")
                faults += 1
            for stage, updates in repeated(directory).items():
                # In the background the last may still have been on its way to the disk.
                if updates > (2 if background else 1) * CHECKPOINT_EVERY.get(stage, 1):
                    print(f"run {run}: stage {stage} repeated {updates} updates")
                    faults += 1
            if not faults:
                shutil.rmtree(directory)
            run += 1
    print("kills: " + ", ".join(f"{kills[phase]} {phase}" for phase in PHASES))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
