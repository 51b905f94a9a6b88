#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# `cmake --install`, then the folder is moved to another place, read-only for whoever runs it: the program starts with an
# empty environment, needs no library of the build's machine but glibc, zlib and Open MPI, reads Parquet, and runs the
# recipe that came with it.
# Usage: installed.py TEMPER BUILD_FOLDER      (TEMPER is the built one, for the row that both must print)
import glob
import os
import re
import subprocess
import sys
import tempfile

SYSTEM = re.compile(r"^(linux-vdso|/lib64/ld-linux|lib(c|m|z|dl|rt|pthread|resolv|util|mpi|open-|hwloc|event|pmix|udev|cap)\b)")


def output(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout


def main(temper, build):
    with tempfile.TemporaryDirectory() as scratch:
        output("cmake", "--install", build, "--prefix", scratch + "/first", "--strip")
        place = scratch + "/second place"
        os.rename(scratch + "/first", place)
        program = place + "/bin/temper"
        bare = {"PATH": "/usr/bin:/bin"}

        strangers = []
        for line in output("ldd", program, env=bare).splitlines():
            name, _, rest = line.strip().partition(" => ")
            assert "not found" not in rest, line
            if not rest.startswith((place, os.path.realpath(place))) and not SYSTEM.match(name) and "/lib/" in rest:
                strangers.append(line.strip())
        # What Open MPI needs in its turn is its own.
        mpi = output("sh", "-c", "ldd $(ldd '%s' | sed -n 's/.*libmpi[^>]*> \\([^ ]*\\).*/\\1/p')" % program, env=bare)
        strangers = [s for s in strangers if s.split()[0] not in mpi]
        assert not strangers, strangers

        version = output(program, "--version", env=bare)
        assert version == output(temper, "--version"), version
        assert "product.dw" in output(program, "bench", "product", "--sizes=24", "--rows=1", "--rounds=1", env=bare)
        run = scratch + "/run"
        output(program, "run", "configs/tiny/short.yaml", "--run-dir", run, env=bare, cwd=place + "/share/temper")
        assert os.path.exists(run + "/report.html")

        model = sorted(glob.glob(run + "/*/checkpoints/*"))[0]
        rows = os.path.abspath("tests/data/dataset/parquet_case.parquet")
        read = subprocess.run([program, "eval", "--model", model, "--data", rows], env=bare, capture_output=True, text=True)
        assert rows in read.stderr and "cannot read it" not in read.stderr, read.stderr
    print("installed: ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
