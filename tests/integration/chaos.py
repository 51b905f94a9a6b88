#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A run on three of four machines (tests/integration/hosts.py) under `temper supervise`, with a fault every 15 to 30 s, by seed, until it is
done: a rank is killed, stopped or slowed, a machine's link is cut for a while or for good, mpirun or the supervisor is killed (which somebody
starts again, as Slurm would), the disk is full. It ends with the digest of a run that was left alone; most of its time was training.

Usage: chaos.py TEMPER [--updates N] [--seed S] [--least SHARE]     Needs root and mpirun, else exit status 77. Two cores that do nothing else
do 7 updates a second, faults and all: 1,000, the default, take 2 to 3 minutes; 4,000 the 10 that reliability is judged by.
"""
import argparse
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

import disks
import hosts as machines

ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_btl_base_warn_component_unused="0")
RECIPE, RANKS, NODES = "configs/tiny/short.yaml", 3, 4
DEADLINE_SECONDS, BETWEEN, SHORTLY = 5, (15, 30), 2
LONGEST_SECONDS = 7200  # a bound for what hangs


def check(holds, what):
    if not holds:
        raise AssertionError(what)


class Chaos:
    def __init__(self, options, folder, disk):
        self.temper, self.random, self.folder, self.disk = os.path.abspath(options.temper), random.Random(options.seed), folder, disk
        self.run, self.said = disk.folder / "run", folder / "said"
        self.settings = ["--set", f"stages.zero.rl.steps={options.updates}", "--set", f"deadline_minutes={DEADLINE_SECONDS / 60}"]
        self.hosts = machines.Hosts(NODES, folder)
        self.supervisor, self.supervisors, self.cut, self.faults = None, 0, None, []

    def supervise(self):
        self.supervisors += 1
        names = ",".join(f"{name}:1" for name in self.hosts.names)
        options = ["--run-dir", str(self.run), f"--hosts={names}", f"--nodes={RANKS}", "--start-minutes=0.4", "--restart-minutes=0.15", "--launcher-seconds=3", "--failures=8"]
        command = [self.temper, "supervise", *options, "--", *self.hosts.mpirun(), "--host", "{hosts}", "--map-by", "ppr:1:node", "--bind-to", "none",
                   self.temper, "run", RECIPE, "--run-dir", str(self.run), *self.settings]
        with self.said.open("a") as said:
            self.supervisor = subprocess.Popen(self.hosts.login(*command), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=said)

    def rank(self):
        """A machine with a rank, and its process; None where there is none."""
        name = pathlib.Path(self.temper).name[:15]
        ranks = [(host, process) for host in self.hosts.names for process in self.hosts.processes(host, name)]
        return self.random.choice(ranks) if ranks else (None, None)

    def signal_rank(self, number):
        host, process = self.rank()
        if process is not None:
            os.kill(process, number)
        return host

    def kill_rank(self):
        return self.signal_rank(signal.SIGKILL)

    def stop_rank(self):
        return self.signal_rank(signal.SIGSTOP)

    def slow_rank(self):
        host, process = self.rank()
        if process is not None:
            os.kill(process, signal.SIGSTOP)
            time.sleep(SHORTLY)
            os.kill(process, signal.SIGCONT)
        return host

    def cut_shortly(self):
        host, _ = self.rank()
        if host is not None and host != self.cut:
            self.hosts.link(host, "down")
            time.sleep(SHORTLY)
            self.hosts.link(host, "up")
        return host

    def cut_for_good(self):
        """Until another one is: of four machines three are needed."""
        host, _ = self.rank()
        if host is not None:
            if self.cut is not None:
                self.hosts.link(self.cut, "up")
            self.cut = host
            self.hosts.link(host, "down")
        return host

    def kill_mpirun(self):
        children = pathlib.Path(f"/proc/{self.supervisor.pid}/task/{self.supervisor.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        return "" if children else None

    def kill_supervisor(self):
        self.supervisor.kill()
        return ""

    def fill_disk(self):
        self.disk.fill()
        time.sleep(SHORTLY)
        self.disk.free()
        return ""

    def kinds(self):
        return [self.kill_rank, self.stop_rank, self.slow_rank, self.cut_shortly, self.cut_for_good, self.kill_mpirun, self.kill_supervisor,
                self.fill_disk]

    def go(self):
        """Seconds that it took."""
        began, ahead, self.began = time.monotonic(), [], time.time()
        self.supervise()
        next_at = began + self.random.uniform(*BETWEEN)
        while True:
            check(time.monotonic() - began < LONGEST_SECONDS, f"not done after {LONGEST_SECONDS} s")
            code = self.supervisor.poll()
            if code == 0:
                return time.monotonic() - began
            if code is not None:
                check(code in (1, 75, -signal.SIGKILL), f"the supervisor ended with {code}")
                self.supervise()
            if time.monotonic() > next_at:
                ahead = ahead or self.random.sample(self.kinds(), len(self.kinds()))
                when, where = time.time(), ahead[-1]()
                if where is None:  # nothing runs just now
                    next_at += 1
                    continue
                self.faults.append((when, ahead.pop().__name__, where))
                print(f"{time.monotonic() - began:6.1f} s: {' '.join(self.faults[-1][1:])}", flush=True)
                next_at = time.monotonic() + self.random.uniform(*BETWEEN)
            time.sleep(0.1)

    def journal(self):
        return [json.loads(line) for line in (self.run / "journal.jsonl").read_text().splitlines()]

    def where_time_went(self, journal):
        """Seconds that were not training, by what they went for."""
        lost = dict.fromkeys(["until a fault was noticed", "until ranks began again", "until they went on", "on what was done again"], 0)
        noticed, began_again, went_on, again = lost
        ended, began, held = self.began, self.began, None
        for event in journal:
            at, kind = event["unix_seconds"], event["event"]
            if kind == "start":
                lost[began_again] += at - ended
                began, held = at, None
            elif kind == "stage":
                lost[went_on] += at - began if held is None else 0
                held = at
            elif kind in ("saved", "finished"):
                held = event.get("holds", at)
            elif kind == "end":
                ended = at
                if event["how"] == "finished":
                    continue
                if held is None:
                    lost[went_on] += at - began
                    continue
                fault = max([when for when, _, _ in self.faults if held < when < at], default=held)
                lost[again] += fault - held
                lost[noticed] += at - fault
        return lost

    def report(self, seconds):
        """The share of the time that was training; says where the rest of it went."""
        status = json.loads(subprocess.run([self.temper, "status", str(self.run), "--json"], capture_output=True, text=True, check=True).stdout)
        useful = (status["device_hours"] - status["lost_device_hours"]) * 3600 / RANKS
        journal, waits, open_ended = self.journal(), [], 0
        seconds_of = lambda event: event["unix_seconds"]
        for (when, kind, where), (until, _, _) in zip(self.faults, [*self.faults[1:], (time.time(), "", "")]):
            since = [event for event in journal if when < seconds_of(event) < until]
            ends = [seconds_of(event) - when for event in since if event["event"] == "restart"]
            starts = [seconds_of(event) - when for event in since if event["event"] == "start"]
            saved = [seconds_of(event) - when for event in since if event["event"] in ("saved", "end") and seconds_of(event) - when > max(starts, default=0)]
            if not starts and not ends:
                continue  # it cost nobody anything
            open_ended += not (starts and saved)
            waits.append(saved[0] if starts and saved else until - when)
            print(f"  {kind} {where}: ranks end after {', '.join(f'{one:.1f}' for one in ends)} s, begin after "
                  f"{', '.join(f'{one:.1f}' for one in starts)} s, next checkpoint after "
                  + (f"{saved[0]:.1f} s" if starts and saved else f"more than {until - when:.1f} s, when the next fault came"))
        waits = sorted(waits) or [0]
        print(f"{len(self.faults)} faults in {seconds:.0f} s, {status['starts']} starts, {self.supervisors} supervisors; {useful / seconds:.1%} of the time "
              f"was training; from a fault to the checkpoint after it {waits[len(waits) // 2]:.1f} s in the median, {waits[-1]:.1f} s at most"
              + (f", with {open_ended} after which the next fault came first" if open_ended else ""))
        print("of the rest " + ", ".join(f"{what} {lost:.1f} s" for what, lost in self.where_time_went(journal).items()))
        for event in journal:
            if event["event"] == "end" and event["how"] in ("lost", "failed"):
                print("  ", event["how"], event["why"][:260])
        return useful / seconds


def digest(temper, run):
    return subprocess.run([temper, "inspect", str(run), "--digest"], capture_output=True, text=True, check=True).stdout.strip()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("temper")
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--least", type=float, default=0.8)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("asked to stop"))  # machines and mounts are taken away
    if not machines.are_allowed():
        print("namespaces: not allowed here: skipped")
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix="temper-chaos-") as name:
        folder, chaos = pathlib.Path(name), None
        disk = disks.Disk(folder / "disk", 400)
        try:
            chaos = Chaos(options, folder, disk)
            share = chaos.report(chaos.go())
            alone = [options.temper, "run", RECIPE, "--run-dir", str(folder / "alone"), *chaos.settings]
            subprocess.run(alone, capture_output=True, check=True)
            check(digest(options.temper, chaos.run) == digest(options.temper, folder / "alone"), "another digest than that of one rank, left alone")
            check(share >= options.least, f"{share:.1%} of the time was training: less than {options.least:.0%}")
        except BaseException:
            if chaos is not None and chaos.said.exists():
                said = re.split(r"[\r\n]+", chaos.said.read_text())
                print("\n".join(line for line in said if re.search("supervise|error|warning", line))[-12000:])
            raise
        finally:
            if chaos is not None:
                if chaos.supervisor is not None and chaos.supervisor.poll() is None:
                    chaos.supervisor.kill()
                    chaos.supervisor.wait()
                chaos.hosts.down()
            disk.down()


if __name__ == "__main__":
    main()
