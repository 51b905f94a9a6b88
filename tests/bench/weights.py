#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reading and writing weights beside a plain copy of the file, in turns: medians, their ratio, and the peak memory.

Writing is `temper convert` beside `cp` of the larger of the file that is read and the file that is written, synced as convert
syncs its own. Reading is ReadPolicy beside `cp` of a file as large as the policy in memory, f32; the copy of the file that is
read is the column `cp of it`. All files are in the page cache before the first turn, if the memory is there.

Usage: weights.py MODEL SCRATCH --temper FILE --read-policy FILE [--turns 5]     MODEL: a directory in BF16, in one file.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import time


def timed(command):
    """(seconds, CPU seconds, peak MiB) of a command."""
    start = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    out = child.stdout.read()
    _, status, used = os.wait4(child.pid, 0)
    assert status == 0, command
    return time.monotonic() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, out.decode()


def main():
    parser = argparse.ArgumentParser()
    for name in ("model", "scratch"):
        parser.add_argument(name)
    for name in ("--temper", "--read-policy"):
        parser.add_argument(name, required=True)
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    sources = {"bf16": args.model}
    out = os.path.join(args.scratch, "out")

    def convert(source, dtype, to=out):
        return timed([args.temper, "convert", "--model", source, "--output", to, "--dtype", dtype, "--shard-size", "1000000000000"])

    for dtype in ("fp8", "f32"):
        sources[dtype] = os.path.join(args.scratch, dtype)
        if not os.path.exists(sources[dtype]):
            convert(args.model, dtype, sources[dtype])
    size = {dtype: os.path.getsize(d + "/model.safetensors") for dtype, d in sources.items()}

    def copied(dtype, sync):
        to = os.path.join(args.scratch, "copy")
        run = timed(["sh", "-c", "cp $0 $1 && sync $1" if sync else "cp $0 $1", sources[dtype] + "/model.safetensors", to])
        os.remove(to)
        return run

    print("| what | seconds | cp | ratio | cp of it | CPU s | cp's CPU s | peak MiB |")
    print("|---|---|---|---|---|---|---|---|")
    for source, target in (("bf16", None), ("fp8", None), ("f32", None), ("bf16", "bf16"), ("bf16", "f32"), ("bf16", "fp8"),
                           ("fp8", "bf16"), ("f32", "bf16")):
        reads = target is None
        larger = "f32" if reads else max((source, target), key=lambda dtype: size[dtype])
        ours, copies, of_it = [], [], []
        for _ in range(args.turns):
            copies.append(copied(larger, sync=not reads))
            of_it.append(copied(source, sync=not reads))
            ours.append(timed([args.read_policy, sources[source]]) if reads else convert(sources[source], target))
            shutil.rmtree(out, ignore_errors=True)
        (mine, cpu), (cp, cp_cpu), (it, _) = ([statistics.median(run[i] for run in runs) for i in (0, 1)]
                                              for runs in (ours, copies, of_it))
        print(f"| {'read ' + source if reads else source + ' to ' + target} | {mine:.2f} | {cp:.2f} | {mine / cp:.2f} | {it:.2f} "
              f"| {cpu:.2f} | {cp_cpu:.2f} | {max(run[2] for run in ours):.0f} |", flush=True)


if __name__ == "__main__":
    main()
