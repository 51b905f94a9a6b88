#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`temper launch`, `status` and `stop` on a real Slurm of three machines that are namespaces of this one: a run on two of them ends
with the digest of one rank; it goes on after a time limit, a preemption, a lost machine, a killed or stopped rank, a full disk and scancel, with a
machine to spare in the same job; `stop` ends it for good, also while it waits in the queue. Says how long the ranks took to begin again.

Usage: launch.py TEMPER [CASE ..]     Needs root, Slurm and its testbed, a script that $TEMPER_SLURM_TESTBED names (exit status 77 without). Takes
about ten minutes.
"""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import disks

TESTBED = os.environ.get("TEMPER_SLURM_TESTBED", str(pathlib.Path(__file__).resolve().parents[3] / "shared/testbed/slurm_up.sh"))
RECIPE = "configs/tiny/short.yaml"
WAIT_SECONDS = 400  # a bound for what hangs


class Cluster:
    def __init__(self, temper, folder):
        self.temper, self.folder = temper, pathlib.Path(folder)
        self.environment = dict(os.environ, SLT=str(self.folder / "slurm"), SLT_PREFIX=f"tl{os.getpid() % 1000}", SLT_NET="10.88.0", SLT_GPUS="0")
        self.disk = disks.Disk(self.folder / "disk", 200)  # there before the machines, which see no later one
        try:
            self.do("up", "3")
        except BaseException:
            self.down()
            raise

    def down(self):
        self.do("down", check=False)
        self.disk.down()

    def do(self, *words, check=True):
        """One command of the testbed; what it printed."""
        done = subprocess.run(["bash", TESTBED, *words], env=self.environment, capture_output=True, text=True, timeout=WAIT_SECONDS)
        if check and done.returncode != 0:
            raise AssertionError(f"{words}: {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout + (done.stderr if not check else "")

    def run(self, *words, check=True):
        return self.do("run", *words, check=check)

    def launch(self, run, *words, stop_seconds=10, spare=0):
        """The job's number."""
        (self.folder / "ours.yaml").write_text(f"starter: slurm\nnodes: 2\nspare_nodes: {spare}\nranks_per_node: 1\ntime: '20'\n"
                                               f"stop_seconds: {stop_seconds}\nfailures: 2\n")
        said = self.run(self.temper, "launch", RECIPE, "--run-dir", str(run), "--cluster", str(self.folder / "ours.yaml"), *words)
        return said.split()[1].rstrip(":")

    def status(self, run):
        """Nothing while nothing has begun."""
        said = self.run(self.temper, "status", str(run), "--json", check=False)
        return json.loads(said) if said.startswith("{") else {"state": "", "starts": 0, "update": 0, "stage": ""}

    def job(self, job):
        return self.run("squeue", "-h", "--states=all", "-o", "%T", "-j", job, check=False).strip()

    def until(self, what, holds):
        ends = time.monotonic() + WAIT_SECONDS
        while not holds():
            if time.monotonic() > ends:
                raise AssertionError(f"{what}: waited {WAIT_SECONDS} s")
            time.sleep(0.3)

    def signal(self, node, name):
        """To the rank there, and not to the supervisor of the first machine."""
        self.do("on", node, "bash", "-c", f"kill -{name} $(pgrep -f '^{self.temper} run ')")

    def trained(self, run):
        """Waits until updates of the rl stage are saved."""
        self.until("trains", lambda: any('"saved","' in line and '"zero"' in line for line in self.journal(run)))

    def journal(self, run):
        path = run / "journal.jsonl"
        return path.read_text().splitlines() if path.exists() else []

    def begins_again(self, run, since, starts=2):
        """Waits for the start of that number and its first checkpoint, and says how long that took."""
        def seconds(event):
            return [json.loads(line)["unix_seconds"] - since for line in self.journal(run) if f'"event":"{event}"' in line]
        self.until("begins again", lambda: len(seconds("start")) >= starts)
        began = seconds("start")[starts - 1]
        self.until("saves again", lambda: any(at > began for at in seconds("saved") + seconds("end")))
        saved = min(at for at in seconds("saved") + seconds("end") if at > began)
        print(f"  ended after {max([at for at in seconds('end') if at < began], default=0):.1f} s, began again after {began:.1f} s, "
              f"first checkpoint after {saved:.1f} s", flush=True)

    def finished(self, run):
        self.until("finishes", lambda: self.status(run)["state"] == "finished")

    def was_queued_again(self, run, job):
        """A job keeps its number then."""
        return "queued again" in (run / f"launch-{job}.out").read_text()


def digest(cluster, run):
    return subprocess.run([cluster.temper, "inspect", str(run), "--digest"], capture_output=True, text=True, check=True).stdout


def check(holds, what):
    if not holds:
        raise AssertionError(what)


def whole(cluster, run):
    job = cluster.launch(run)
    cluster.finished(run)
    cluster.until("the job ends", lambda: cluster.job(job) in ("COMPLETED", ""))
    status = cluster.status(run)
    check(status["hosts"] == {"n1": 1, "n2": 1} and status["job"] == job, status)


def time_limit(cluster, run):
    # Slurm asks up to a minute sooner than it was told, and looks twice a minute: here within 40 s. The run is a longer one.
    settings = ["--set", "stages.zero.rl.steps=500"]
    cluster.launch(run, "--time", "2", *settings, stop_seconds=50)
    cluster.finished(run)
    status = cluster.status(run)
    check(status["starts"] > 1 and status["after_fault"] == 0, status)
    return settings


def signalled(cluster, run):
    """What --signal=TERM sends at the end of the time: to ranks alone."""
    job = cluster.launch(run)
    cluster.trained(run)
    since = time.time()
    cluster.run("scancel", "--signal=TERM", f"{job}.0")
    cluster.begins_again(run, since)
    cluster.finished(run)
    check(cluster.status(run)["after_stop"] == 1, cluster.status(run))


def preempted(cluster, run):
    cluster.launch(run)
    cluster.trained(run)
    other = cluster.run("sbatch", "--parsable", "-p", "high", "-N3", "--exclusive", "--chdir=/tmp", "--output=/dev/null", "--wrap=sleep 5").strip()
    cluster.until("the other job ends", lambda: cluster.job(other) in ("COMPLETED", ""))
    cluster.finished(run)
    check(cluster.status(run)["starts"] >= 2, cluster.status(run))


def cancelled(cluster, run):
    job = cluster.launch(run)
    cluster.trained(run)
    cluster.run("scancel", job)
    cluster.until("is down", lambda: cluster.job(job) in ("CANCELLED", ""))
    cluster.until("has ended", lambda: cluster.status(run)["state"] in ("stopped", "lost"))
    check(cluster.job(job) in ("CANCELLED", ""), "it is queued again")
    cluster.launch(run)
    cluster.finished(run)


def stopped(cluster, run):
    job = cluster.launch(run)
    cluster.trained(run)
    said = cluster.run(cluster.temper, "stop", str(run))
    check("stopped on request" in said, said)
    cluster.until("is down", lambda: cluster.job(job) not in ("RUNNING", "COMPLETING"))
    check(cluster.job(job) in ("FAILED", ""), cluster.job(job))  # 75, and not queued again
    cluster.launch(run)
    cluster.finished(run)


def waiting(cluster, run):
    other = cluster.run("sbatch", "--parsable", "-N3", "--exclusive", "--chdir=/tmp", "--output=/dev/null", "--wrap=sleep 300").strip()
    cluster.until("the other job has the machines", lambda: cluster.job(other) == "RUNNING")
    job = cluster.launch(run)
    check(cluster.status(run)["state"] == "waiting in the queue", cluster.status(run))
    check("is cancelled" in cluster.run(cluster.temper, "stop", str(run)), "stop")
    check(cluster.job(job) in ("CANCELLED", ""), cluster.job(job))
    cluster.run("scancel", other)
    cluster.until("the machines are free", lambda: cluster.job(other) in ("CANCELLED", ""))
    cluster.launch(run)
    cluster.finished(run)


def rank_killed(cluster, run):
    job = cluster.launch(run)
    cluster.trained(run)
    cluster.signal("n2", "KILL")
    cluster.begins_again(run, time.time())
    cluster.finished(run)
    check(cluster.status(run)["after_fault"] == 1 and not cluster.was_queued_again(run, job), cluster.status(run))


def rank_is_stopped(cluster, run, node):
    """The others name it, and all begin again in the same job."""
    settings = ["--set", "deadline_minutes=0.1"]
    job = cluster.launch(run, *settings)
    cluster.trained(run)
    cluster.signal(node, "STOP")
    cluster.begins_again(run, time.time())
    cluster.finished(run)
    ends = [json.loads(line) for line in cluster.journal(run) if '"end"' in line]
    check(ends[0]["how"] == "lost" and ends[0]["hosts"] == [node] and "no sign of life" in ends[0]["why"], ends)
    check(cluster.status(run)["starts"] == 2 and not cluster.was_queued_again(run, job), cluster.status(run))
    return settings


def rank_stopped(cluster, run):
    return rank_is_stopped(cluster, run, "n2")


def first_rank_stopped(cluster, run):
    return rank_is_stopped(cluster, run, "n1")


def machine_lost(cluster, run):
    job = cluster.launch(run)
    cluster.trained(run)
    cluster.do("off", "n2")
    since = time.time()
    cluster.until("Slurm notices", lambda: cluster.job(job) == "PENDING")
    print(f"  Slurm noticed after {time.time() - since:.1f} s", flush=True)
    cluster.begins_again(run, since)
    cluster.do("boot", "n2")
    cluster.finished(run)


def with_a_spare(cluster, run, fault, cure):
    """One of the job's machines is lost: the run goes on without it in the same job."""
    settings = ["--set", "deadline_minutes=0.1"]
    job = cluster.launch(run, *settings, spare=1)
    cluster.trained(run)
    cluster.do(fault, "n2")
    cluster.begins_again(run, time.time())
    check(cluster.job(job) in ("RUNNING", "COMPLETING", "COMPLETED", ""), cluster.job(job))
    cluster.do(cure, "n2")
    cluster.finished(run)
    status = cluster.status(run)
    check(status["hosts"] == {"n1": 1, "n3": 1} and status["starts"] == 2 and status["job"] == job, status)
    return settings


def machine_off_with_a_spare(cluster, run):
    return with_a_spare(cluster, run, "off", "boot")


def machine_hangs_with_a_spare(cluster, run):
    return with_a_spare(cluster, run, "freeze", "thaw")


def machine_cut_off_with_a_spare(cluster, run):
    return with_a_spare(cluster, run, "cut", "heal")


def first_machine_off_with_a_spare(cluster, run):
    """That of the job's script, with which nothing of the job is left but its machines: it is queued again once Slurm notices."""
    job = cluster.launch(run, spare=1)
    cluster.trained(run)
    cluster.do("off", "n1")
    since = time.time()
    cluster.until("is queued again", lambda: cluster.job(job) == "PENDING")
    cluster.do("boot", "n1")
    cluster.begins_again(run, since)
    cluster.finished(run)


def full_disk(cluster, run):
    """Filled by somebody else: the job ends with what is needed and is not queued again for ever; with room the next one goes on."""
    job = cluster.launch(run)
    cluster.trained(run)
    cluster.disk.fill(leave=1 << 18)  # of which a checkpoint takes more, and what the job says less
    cluster.until("the job gives up", lambda: cluster.job(job) in ("FAILED", ""))
    said = (run / f"launch-{job}.out").read_text()
    check("MiB are free" in said and "make room" in said, said)
    cluster.disk.free()
    cluster.launch(run)
    cluster.finished(run)


CASES = [whole, signalled, time_limit, preempted, cancelled, stopped, waiting, rank_killed, rank_stopped, first_rank_stopped, machine_lost, machine_off_with_a_spare,
         machine_hangs_with_a_spare, machine_cut_off_with_a_spare, first_machine_off_with_a_spare, full_disk]


def main():
    temper = os.path.abspath(sys.argv[1])
    if os.geteuid() != 0 or not os.path.exists(TESTBED) or subprocess.run(["which", "slurmctld", "slurmd", "munged"], capture_output=True).returncode != 0:
        print(f"skipped: needs root, Slurm and {TESTBED}")
        return 77
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("asked to stop"))  # machines and mounts are taken away
    with tempfile.TemporaryDirectory(prefix="temper-launch-") as folder:
        cluster = Cluster(temper, folder)
        try:
            for case in CASES:
                if len(sys.argv) > 2 and case.__name__ not in sys.argv[2:]:
                    continue
                run, began = (cluster.disk.folder if case is full_disk else pathlib.Path(folder)) / case.__name__, time.monotonic()
                try:
                    settings = case(cluster, run) or []
                    alone = pathlib.Path(folder) / f"alone-{len(settings)}"
                    subprocess.run([temper, "run", RECIPE, "--run-dir", str(alone), *settings], check=True, capture_output=True)
                    check(digest(cluster, run) == digest(cluster, alone), "another digest than that of one rank")
                except Exception:
                    print(cluster.run(temper, "status", str(run), check=False))
                    for out in sorted(run.glob("launch-*.out")):
                        print(out.name, out.read_text()[-4000:])
                    raise
                print(f"{case.__name__}: {time.monotonic() - began:.0f} s", flush=True)
        finally:
            cluster.down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
