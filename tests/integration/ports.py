#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The TCP and UDP ports that a run on one machine listens on: none of a rank, whatever their number, by the list of `ss`. mpirun's
own ports, which take its daemons on other machines, are printed and are not ours. With the settings that docs/security.md gives for
several machines all ports lie in their ranges, but one of mpirun's on 127.0.0.1.

Usage: ports.py TEMPER [RANKS..]     Needs ss and mpirun (exit status 77 without).
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                   OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_btl_vader_single_copy_mechanism="none")
ENVIRONMENT.pop("OMPI_MCA_btl", None)


def below(pid):
    """The process and all that it started."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {pid}.union(*(below(int(child)) for child in children))


def listening(processes):
    """(program, protocol, address) of each port that one of the processes listens on."""
    lines = subprocess.run(["ss", "-Hltunp"], capture_output=True, text=True, check=True).stdout.splitlines()
    found = []
    for line in lines:
        for program, pid in re.findall(r'\("([^"]*)",pid=(\d+)', line):
            if int(pid) in processes:
                found.append((program, line.split()[0], line.split()[4]))
    return sorted(found)


def documented():
    """The settings of the docs' command, {name: value}, with the loopback as the private network."""
    ports = pathlib.Path("docs/security.md").read_text().split("## Ports")[1]
    return {name: value.replace("10.0.0.0/24", "127.0.0.0/8") for name, value in re.findall(r"--mca (\w+) (\S+)", ports)}


def outside(ports, settings):
    """Those of the ports that the settings do not allow."""
    allowed = set()
    for family in ("v4", "v6"):
        first = int(settings["btl_tcp_port_min_" + family])
        allowed |= {("temper", port) for port in range(first, first + int(settings["btl_tcp_port_range_" + family]))}
        first, last = settings[f"oob_tcp_dynamic_ip{family}_ports"].split("-")
        allowed |= {("mpirun", port) for port in range(int(first), int(last) + 1)}
    return [(program, protocol, address) for program, protocol, address in ports
            if (program, int(address.rsplit(":", 1)[1])) not in allowed and not (program == "mpirun" and address.startswith("127.0.0.1:"))]


def run(temper, ranks, directory, settings=None):
    """The ports of all processes of a run that is at work, then stopped."""
    command = [temper, "run", "configs/tiny/short.yaml", "--run-dir", str(directory)]
    environment = ENVIRONMENT
    if settings:
        environment = dict(ENVIRONMENT, OMPI_MCA_btl="self,tcp", **{"OMPI_MCA_" + name: value for name, value in settings.items()})
    if ranks > 1:
        command = ["mpirun", "-n", str(ranks)] + command
    started = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    ports, end = [], time.monotonic() + 240
    while started.poll() is None and time.monotonic() < end:
        try:
            ports += [port for port in listening(below(started.pid)) if port not in ports]
        except FileNotFoundError:
            continue  # one ended meanwhile
        if (directory / "metrics.jsonl").exists() and (directory / "metrics.jsonl").stat().st_size > 0:
            break
    at_work = started.poll() is None
    started.terminate()
    _, errors = started.communicate(timeout=240)
    if not at_work:
        sys.exit(f"{ranks} ranks: the run did not get to work\n{errors}")
    return ports


def main():
    if not shutil.which("ss") or not shutil.which("mpirun"):
        print("ss or mpirun is not there")
        sys.exit(77)
    faults = 0
    for ranks in [int(ranks) for ranks in sys.argv[2:]] or [1, 2, 4]:
        with tempfile.TemporaryDirectory() as folder:
            ports = run(sys.argv[1], ranks, pathlib.Path(folder) / "run")
        launchers = [port for port in ports if port[0] in ("mpirun", "orted", "orterun")]
        ours = [port for port in ports if port not in launchers]
        print(f"{ranks} ranks: ours {ours}, the launcher's {launchers}")
        if ranks > 1 and not launchers:
            print("not even mpirun's ports are seen: ss does not show whose ports are whose")
            faults += 1
        faults += len(ours)
    settings = documented()
    with tempfile.TemporaryDirectory() as folder:
        ports = run(sys.argv[1], 2, pathlib.Path(folder) / "run", settings)
    wrong = outside(ports, settings)
    print(f"2 ranks over TCP with {settings}: {ports}, outside their ranges {wrong}")
    if wrong or not any(program == "temper" for program, _, _ in ports):
        faults += 1
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
