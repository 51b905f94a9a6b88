#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A disk that is full: configs/tiny/short.yaml on file systems (tmpfs) of several sizes, too small for the run or filled by somebody
else while it goes on, on one and on two ranks, stops with 75 and a line that says what is needed and what is free; with more room it goes on and ends with the
digest of a run that had room from the beginning.

Usage: full_disk.py TEMPER     Needs root (mount) and mpirun, else exit status 77. Takes half a minute.
"""
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

import disks

ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                   OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_btl_vader_single_copy_mechanism="none")
RECIPE = "configs/tiny/short.yaml"
DIGEST = "902e34af1152a3e9156dbe97c314f3508a667c071de26ed88343e956af91f937"
PATIENCE = 300


def command(temper, run, ranks):
    return (["mpirun", "-n", str(ranks)] if ranks > 1 else []) + [temper, "run", RECIPE, "--run-dir", str(run)]


def start(temper, run, ranks):
    done = subprocess.run(command(temper, run, ranks), env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE)
    return done.returncode, done.stderr


def start_and_fill(temper, disk, ranks):
    """Somebody else fills the disk once three updates are done."""
    run = disk.folder / "run"
    started = subprocess.Popen(command(temper, run, ranks), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    began = time.monotonic()
    metrics = run / "metrics.jsonl"
    while time.monotonic() - began < PATIENCE and not (metrics.exists() and metrics.read_bytes().count(b"\n") >= 3):
        time.sleep(0.01)
    disk.fill()
    said = started.communicate(timeout=PATIENCE)[1]
    return started.returncode, said


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    temper, faults = sys.argv[1], []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("asked to stop"))  # the disk is taken away
    if not disks.are_allowed():
        print("mount: needs root: skipped")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as name:
        for ranks, mebibytes, fill in ((1, 1, False), (2, 60, False), (1, 100, True), (2, 100, True)):
            disk = disks.Disk(pathlib.Path(name, "disk"), mebibytes)
            try:
                run, where = disk.folder / "run", f"{ranks} rank(s), {mebibytes} MiB{', then filled' if fill else ''}"
                code, said = start_and_fill(temper, disk, ranks) if fill else start(temper, run, ranks)
                errors = [line for line in said.splitlines() if "error: " in line] or [said[-300:]]
                print(f"{where}: exit status {code}: {errors[0][:300]}")
                if code != 75 or len(errors) != 1 or not re.search(r"[0-9.]+ MiB are free.*make room", errors[0]):
                    faults.append(f"{where}: not 75, or not one line with what is free:\n{said}")
                if mebibytes == 1 and not ("the next checkpoint takes" in said and "nothing of this stage was trained yet" in said):
                    faults.append(f"{where}: it began to train:\n{said}")
                left = [str(path) for path in disk.folder.rglob(".*.tmp")]
                if left:
                    faults.append(f"{where}: left {left}")
                disk.free()
                disk.resize(256)
                code, said = start(temper, run, ranks)
                digest = subprocess.run([temper, "inspect", str(run), "--digest"], capture_output=True, text=True).stdout.strip()
                if code != 0 or digest != DIGEST:
                    faults.append(f"{where}: with room: exit status {code}, digest {digest}\n{said}")
            finally:
                disk.down()
    for fault in faults:
        print(fault)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
