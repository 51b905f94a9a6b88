#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs scripts/real_input from end to end and reads what it prints; TEMPER names the program.

Needs the network on its first run, 12 GB of memory and 8 GB of disk; takes 3 minutes on 2 cores.
"""
import json
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMIT_GB = 16
VOCABULARY = 129280


def main():
    script = subprocess.run([ROOT / "scripts/real_input"], stdout=subprocess.PIPE, text=True, timeout=3000)
    print(script.stdout, flush=True)
    assert script.returncode == 0, f"exit code {script.returncode}"
    rows = [json.loads(line) for line in script.stdout.splitlines() if line.startswith("{")]

    figures = [row for row in rows if "pass@1" in row]
    assert len(figures) == 1 and figures[0]["n"] == 100 and figures[0]["samples"] == 200, figures
    samples = [row for row in rows if "tokens" in row]
    assert len(samples) == 2 and samples[0]["tokens"] != samples[1]["tokens"], samples
    for sample in samples:
        assert len(sample["tokens"]) == 16 == len(sample["logprobs"])
        assert all(0 <= token < VOCABULARY for token in sample["tokens"])

    peaks = re.findall(r"^(.*): [\d.]+ s, [\d.]+ s of all cores, peak memory ([\d.]+) GB$", script.stdout, re.M)
    assert len(peaks) == 5, peaks
    for name, peak in peaks:
        assert 0 < float(peak) <= LIMIT_GB, (name, peak)
    assert "one GRPO update" in peaks[-1][0] and float(peaks[-1][1]) > 4, peaks  # it did hold the model
    update = re.search(r"tokens trained (\d+), gradient norm (\S+), unequal logprobs (\d+)", script.stdout)
    assert update and int(update[1]) > 0 and float(update[2]) > 0 and int(update[3]) == 0, update


if __name__ == "__main__":
    main()
