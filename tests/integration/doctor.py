#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""temper doctor on two ranks: a line for each thing, and the rank that has another program or does not see the folder is named.

Usage: doctor.py TEMPER     Needs mpirun; root for the folder (unshare). Takes ten seconds.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                   OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_btl_vader_single_copy_mechanism="none")
FAULTS = []


def doctor(first, second, code, wanted):
    """The program on rank 0 and 1, as command lines; `wanted`: beginnings of lines and what they hold."""
    command = ["mpirun", "-n", "1"] + first + [":", "-n", "1"] + second
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    print(done.stdout)
    if done.returncode != code:
        FAULTS.append(f"exit status {done.returncode}, not {code}: {done.stdout}{done.stderr}")
    for begin, text in wanted:
        if not any(line.startswith(begin) and text in line for line in done.stdout.splitlines()):
            FAULTS.append(f"no line {begin} .. {text}:\n{done.stdout}{done.stderr}")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    temper = sys.argv[1]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        plain = [temper, "doctor", "--ranks", "--run-dir", str(folder / "run")]
        doctor(plain, plain, 0, [("ok    program", "well on all 2"), ("ok    locks", "keep a second start out")])
        if list(folder.iterdir()):
            FAULTS.append(f"left {list(folder.iterdir())}")

        other = folder / "temper"
        shutil.copy(temper, other)
        for library in pathlib.Path(temper).parent.glob("*.so*"):
            shutil.copy(library, folder)
        with open(other, "ab") as file:
            file.write(b"another")
        doctor(plain, [str(other)] + plain[1:], 1, [("fail  program", "(rank 1): temper ")])

        if shutil.which("unshare") and os.geteuid() == 0:
            hidden = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs none "{folder}" && exec "$@"', "sh"]
            doctor(plain, hidden + plain, 1, [("fail  shared", "(rank 1)")])
    for fault in FAULTS:
        print(fault)
    sys.exit(1 if FAULTS else 0)


if __name__ == "__main__":
    main()
