# SPDX-License-Identifier: Apache-2.0
"""Machines that are namespaces of this one, for tests of faults: each has its own network, name, processes and /dev/shm, and sees the
same files. A bridge joins them, and a login machine from which mpirun starts its daemons without ssh. Needs root, iproute2 and
util-linux."""
import os
import pathlib
import signal
import subprocess
import time

INIT = """hostname "$1"; mount -t proc proc /proc; mount -t tmpfs -o size=1g,mode=1777 shm /dev/shm; mount --bind "$2" /etc/hosts
trap "" HUP; : >"$3"; while :; do sleep 3600 & wait -n; done"""
AGENT = """#!/bin/bash
while [ "${1#-}" != "$1" ]; do shift; done
host=$1; shift
exec nsenter -t "$(cat "%s/$host.pid")" --net --uts --mount --pid --wd="$PWD" /bin/bash -c "$*"
"""


def are_allowed():
    """Whether this user may make them."""
    made = subprocess.run(["unshare", "--net", "--uts", "--mount", "--pid", "--fork", "ip", "link", "set", "lo", "up"], capture_output=True)
    return made.returncode == 0


def run(*words):
    subprocess.run(words, check=True, capture_output=True)


class Hosts:
    """h0, h1, ..; down() removes them all."""

    def __init__(self, count, folder):
        self.folder, self.prefix, self.net = pathlib.Path(folder), f"tc{os.getpid()}", f"10.89.{os.getpid() % 250}"
        self.names = [f"h{i}" for i in range(count)]
        self.started = []
        lines = ["127.0.0.1 localhost", f"{self.net}.1 login", *(f"{self.net}.{10 + i} {name}" for i, name in enumerate(self.names))]
        (self.folder / "hosts").write_text("\n".join(lines) + "\n")
        self.agent = self.folder / "agent"
        self.agent.write_text(AGENT % self.folder)
        self.agent.chmod(0o755)
        self.switch = self.prefix + "sw"
        run("ip", "netns", "add", self.switch)
        run("ip", "-n", self.switch, "link", "set", "lo", "up")
        run("ip", "-n", self.switch, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", self.switch, "addr", "add", f"{self.net}.1/24", "dev", "br0")
        run("ip", "-n", self.switch, "link", "set", "br0", "up")
        for i, name in enumerate(self.names):
            self.join(name, f"{self.net}.{10 + i}/24")
            self.boot(name)

    def join(self, name, address):
        namespace = self.prefix + name
        run("ip", "netns", "add", namespace)
        run("ip", "-n", namespace, "link", "set", "lo", "up")
        run("ip", "-n", namespace, "link", "add", "eth0", "type", "veth", "peer", "name", "v" + name, "netns", self.switch)
        run("ip", "-n", self.switch, "link", "set", "v" + name, "master", "br0", "up")
        run("ip", "-n", namespace, "addr", "add", address, "dev", "eth0")
        run("ip", "-n", namespace, "link", "set", "eth0", "up")

    def boot(self, name):
        ready = self.folder / f"{name}.ready"
        started = subprocess.Popen(["nsenter", f"--net=/run/netns/{self.prefix}{name}", "unshare", "--uts", "--mount", "--pid", "--fork",
                                    "--propagation", "private", "bash", "-c", INIT, "_", name, str(self.folder / "hosts"), str(ready)],
                                   start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.started.append(started)
        until = time.monotonic() + 60
        while not ready.exists():
            if time.monotonic() > until or started.poll() is not None:
                raise AssertionError(f"{name} does not come up")
            time.sleep(0.02)
        init = pathlib.Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()[0]
        (self.folder / f"{name}.pid").write_text(init)

    def login(self, *command):
        """The command, as words to start on the login machine; its process is the one that is started."""
        return ["nsenter", f"--net=/run/netns/{self.switch}", "unshare", "--mount", "--uts", "--propagation", "private", "bash", "-c",
                'hostname login; mount --bind "$0" /etc/hosts; exec "$@"', str(self.folder / "hosts"), *command]

    def mpirun(self):
        net = f"{self.net}.0/24"
        return ["mpirun", "--mca", "plm", "rsh", "--mca", "plm_rsh_agent", str(self.agent), "--mca", "plm_rsh_no_tree_spawn", "1", "--mca",
                "oob_tcp_if_include", net, "--mca", "btl_tcp_if_include", net, "--mca", "pml", "ob1", "--mca", "btl", "tcp,vader,self", "--mca",
                "odls_base_sigkill_timeout", "0"]  # as launch does

    def processes(self, name, command):
        """Those of a machine that run the program `command`, as this machine numbers them."""
        mine, found = os.readlink(f"/proc/{(self.folder / f'{name}.pid').read_text()}/ns/pid"), []
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(process / "ns/pid") == mine and (process / "comm").read_text().strip() == command:
                    found.append(int(process.name))
            except OSError:
                pass
        return found

    def link(self, name, state):
        """"down": cut off; "up": back."""
        run("ip", "-n", self.prefix + name, "link", "set", "eth0", state)

    def down(self):
        for name, started in zip(self.names, self.started):
            os.kill(int((self.folder / f"{name}.pid").read_text()), signal.SIGKILL)
            started.wait()
        for name in [*self.names, "sw"]:
            subprocess.run(["ip", "netns", "del", self.prefix + name], capture_output=True, check=False)
