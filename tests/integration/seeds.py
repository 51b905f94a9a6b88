#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The bars of the miniature on one seed: runs configs/tiny/r1.yaml and configs/tiny/controls.yaml and says of each bar by how much it holds.

Usage: seeds.py TEMPER SEED [--keep DIR]     Takes about four minutes on two quiet cores.
"""
import json
import math
import os
import subprocess
import sys
import tempfile


def run(temper, recipe, seed, directory):
    subprocess.run([temper, "run", recipe, "--run-dir", directory, "--set", f"seed={seed}"], check=True, stdout=subprocess.DEVNULL)
    with open(os.path.join(directory, "summary.json")) as file:
        return {row["stage"]: row for row in json.load(file)}


def apart(better, worse, key):
    """By how many standard errors over problems one is above the other."""
    error = math.hypot(better[key + "_error"], worse[key + "_error"])
    return (better[key] - worse[key]) / error


def main():
    temper, seed = sys.argv[1], sys.argv[2]
    keep = sys.argv[sys.argv.index("--keep") + 1] if "--keep" in sys.argv else None
    with tempfile.TemporaryDirectory() as scratch:
        folder = keep or scratch
        r1 = run(temper, "configs/tiny/r1.yaml", seed, os.path.join(folder, f"r1-{seed}"))
        controls = run(temper, "configs/tiny/controls.yaml", seed, os.path.join(folder, f"controls-{seed}"))
    base, zero, final, distill = (r1[name] for name in ("base", "zero", "final", "distill"))
    alone = max((r1["student_rl"], r1["student_rl_fast"]), key=lambda row: row["pass@1"])
    shuffled, plain, plain_zero = controls["shuffled_rewards"], controls["plain_base"], controls["plain_zero"]
    bars = [
        ("base pass@1, at least 0.05", base["pass@1"], 0.05, 1),
        ("base pass@1, at most 0.35", base["pass@1"], 0.35, -1),
        ("zero pass@1", zero["pass@1"], 0.70, 1),
        ("zero over base, pass@1", zero["pass@1"] / base["pass@1"], 2.5, 1),
        ("zero over base, format ignored", zero["pass@1_lenient"] / base["pass@1_lenient"], 2.0, 1),
        ("zero over base, length", zero["length_mean"] / base["length_mean"], 1.5, 1),
        ("final above zero on the harder level, standard errors", apart(final, zero, "hard/pass@1"), 2.0, 1),
        ("distill above RL alone, standard errors", apart(distill, alone, "pass@1"), 2.0, 1),
        ("shuffled rewards above their base, standard errors", apart(shuffled, controls["base"], "pass@1"), 2.0, -1),
        ("RL on a base without reasoning, pass@1", plain_zero["pass@1"], max(0.25, 2 * plain["pass@1"]), -1),
    ]
    missed = 0
    for name, value, bar, sign in bars:
        holds = (value - bar) * sign >= 0
        missed += not holds
        print(f"seed {seed}: {'ok    ' if holds else 'MISSED'} {name}: {value:.3f} ({'at least' if sign > 0 else 'at most'} {bar:.3f})")
    minutes = sum(row["seconds"] for row in r1.values()) / 60
    print(f"seed {seed}: {len(bars) - missed} of {len(bars)} bars hold; the recipe took {minutes:.1f} minutes")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
