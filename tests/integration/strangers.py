#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A stranger connects to the port of a rank (ranks that talk over TCP, as on several machines), sends no handshake of Open MPI's
and stays: the run ends with a line that names rank and call, where it stood still for ever; and goes on without the stranger.

Usage: strangers.py TEMPER     Needs ss and mpirun (exit status 77 without). Takes a minute, most of it waiting.
"""
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from ports import ENVIRONMENT, below, listening


def main():
    if not shutil.which("ss") or not shutil.which("mpirun"):
        print("ss or mpirun is not there")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        directory = pathlib.Path(folder) / "run"
        command = ["mpirun", "-n", "2", sys.argv[1], "run", "configs/tiny/short.yaml", "--run-dir", str(directory)]
        started = subprocess.Popen(command, env=dict(ENVIRONMENT, OMPI_MCA_btl="self,tcp"), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        while started.poll() is None and not (directory / "metrics.jsonl").exists():
            time.sleep(0.01)
        ranks = {int(address.rsplit(":", 1)[1]) for program, _, address in listening(below(started.pid)) if program == "temper"}
        strangers = []
        for port in ranks:
            strangers.append(socket.create_connection(("127.0.0.1", port)))
            strangers[-1].sendall(b"GET / HTTP/1.1\r\n\r\n")
        begun = time.monotonic()
        try:
            _, errors = started.communicate(timeout=240)
        except subprocess.TimeoutExpired:
            started.kill()
            sys.exit(f"strangers on ports {ranks}: the run stands still")
        named = re.search(r"rank \d: error: MPI_\w+ has not returned for \d+ s", errors)
        print(f"strangers on ports {ranks}: exit status {started.returncode} after {time.monotonic() - begun:.0f} s; "
              f"{named.group(0) if named else errors}")
        for stranger in strangers:
            stranger.close()
        again = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
        print(f"without them: exit status {again.returncode}")
        sys.exit(0 if ranks and named and started.returncode not in (0, 75) and again.returncode == 0 else 1)


if __name__ == "__main__":
    main()
