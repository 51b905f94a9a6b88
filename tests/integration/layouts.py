#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""E3 through the program: configs/tiny/short.yaml on 1, 2 and 4 ranks under mpirun ends with one digest, and the first rank put
no more than its share of the tokens through the model: 1/n of them plus one gradient leaf.

Usage: layouts.py TEMPER [RANKS...]     Needs mpirun. Takes about ten seconds for each number of ranks.
"""
import json
import os
import subprocess
import sys
import tempfile

# As root and on few cores, as in a container; there one process may not read another's memory (vader).
ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                   OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_btl_vader_single_copy_mechanism="none")
RECIPE = "configs/tiny/short.yaml"
LEAVES = 4


def run(temper, ranks, directory):
    command = [temper, "run", RECIPE, "--run-dir", directory]
    if ranks > 1:
        command = ["mpirun", "-n", str(ranks)] + command
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr}")
    return subprocess.run([temper, "inspect", directory, "--digest"], capture_output=True, text=True, check=True).stdout.strip()


def tokens(directory):
    """Tokens of the first rank, by (stage, step)."""
    with open(os.path.join(directory, "metrics.jsonl")) as lines:
        rows = [json.loads(line) for line in lines]
    return {(row["stage"], row["step"]): row["system/local_tokens"] for row in rows}


def refusals(temper, folder):
    """Yields what is wrong: two ranks of which one was given nothing to read, or another recipe, both end with 2."""
    for arguments, message in [("/nothing.yaml", "error: on rank 1: /nothing.yaml: cannot read"),
                               (f"{RECIPE} --set seed=3", "error: ranks were given different recipes")]:
        directory = os.path.join(folder, "refused")
        line = f'[ "$OMPI_COMM_WORLD_RANK" = 0 ] && set -- {RECIPE} || set -- {arguments}; exec {temper} run "$@" --run-dir {directory}'
        done = subprocess.run(["mpirun", "-n", "2", "bash", "-c", line], env=ENVIRONMENT, capture_output=True, text=True, timeout=100)
        if done.returncode != 2 or message not in done.stderr or os.path.exists(directory):
            yield f"{arguments} on rank 1: exit code {done.returncode}, {done.stderr[-400:]}"


def main():
    temper, ranks = sys.argv[1], [int(n) for n in sys.argv[2:]] or [1, 2, 4]
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        digests, work = {}, {}
        for n in ranks:
            directory = os.path.join(folder, f"ranks-{n}")
            digests[n], work[n] = run(temper, n, directory), tokens(directory)
            print(f"{n} rank(s): {digests[n]}, {sum(work[n].values()):.0f} tokens on the first rank")
        if len(set(digests.values())) != 1:
            print("the digests differ")
            faults += 1
        for n in ranks:
            for step, alone in work[1].items():
                if work[n][step] > alone / n + alone / LEAVES:
                    print(f"{n} ranks: {step}: the first rank did {work[n][step]:.0f} of {alone:.0f} tokens")
                    faults += 1
        for fault in refusals(temper, folder):
            print(fault)
            faults += 1
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
