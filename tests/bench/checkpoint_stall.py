#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long checkpoints hold training up (`time/checkpoint_stall`), written while training stands still and in the background, and which share
that is of the interval that `checkpoint_minutes: auto` makes of it. The policy has 63 million parameters (Qwen2's form, 8 layers of 768, f32), its
checkpoint 755 MB. Fails where one in the background takes more than --at-most of the interval.

With --slow-sync SECONDS it is the tiny policy on a disk of which each sync of a checkpoint's file takes so long: fails where one in the background
holds training up for more than half as long as one that training waits for.

Usage: checkpoint_stall.py TEMPER [--ranks 1] [--scratch FOLDER] [--at-most 0.01] [--slow-sync SECONDS]     In the repository's root. On a quiet
machine, with 3 GB of disk, two minutes; with --slow-sync, which wants cc, some ten seconds.
"""
import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile

BASE = "configs/tiny/base"
CONFIG = dict(model_type="qwen2", architectures=["Qwen2ForCausalLM"], hidden_size=768, num_hidden_layers=8, intermediate_size=2400, num_attention_heads=12,
              num_key_value_heads=12, rope_theta=10000.0, tie_word_embeddings=True)
KEPT = ("vocab_size", "max_position_embeddings", "bos_token_id", "eos_token_id", "rms_norm_eps")
EVERY = 6  # updates
RECIPE = """
evaluation: {problems: 0, hard_problems: 0}
stages:
  base:
    kind: pretrain
    pretrain:
      init: {directory: %s}
      documents: [{kind: corpus, count: %d}]
      prompts_per_step: 16
      gradient_leaves: 2
      checkpoint_minutes: 0
      checkpoint_every: %d
"""
SLOW_SYNC = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int slowly(const char* name, int file) {
  char link[64], path[PATH_MAX] = "";
  snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
  if (readlink(link, path, sizeof(path) - 1) > 0 && strstr(path, "step-")) usleep(atoi(getenv("SLOW_SYNC_US")));
  return ((int (*)(int))dlsym(RTLD_NEXT, name))(file);
}
int fsync(int file) { return slowly("fsync", file); }
int fdatasync(int file) { return slowly("fdatasync", file); }
"""


def interval(seconds, ranks):
    """Seconds between checkpoints of which one costs so many (BetweenCheckpoints)."""
    return min(max(math.sqrt(2 * seconds * 8000 * 3600 / ranks), 60), 600)


class Bench:
    def __init__(self, arguments, folder):
        self.arguments, self.folder, self.environment = arguments, folder, dict(os.environ)
        self.updates = 2 * EVERY - 1 if arguments.slow_sync else 4 * EVERY + 1  # one checkpoint, or four
        model = BASE if arguments.slow_sync else self.model()
        self.recipe = os.path.join(folder, "recipe.yaml")
        with open(self.recipe, "w") as file:
            file.write(RECIPE % (os.path.abspath(model), 16 * self.updates, EVERY))
        if arguments.slow_sync:
            library = os.path.join(folder, "slow_sync.so")
            subprocess.run([os.environ.get("CC", "cc"), "-O1", "-shared", "-fPIC", "-x", "c", "-o", library, "-", "-ldl"], input=SLOW_SYNC, text=True, check=True)
            self.environment.update(LD_PRELOAD=library, SLOW_SYNC_US=str(int(arguments.slow_sync * 1e6)))

    def model(self):
        model = os.path.join(self.folder, "model")
        shutil.copytree(BASE, model)
        with open(os.path.join(BASE, "config.json")) as file:
            base = json.load(file)
        with open(os.path.join(model, "config.json"), "w") as file:
            json.dump(dict({key: base[key] for key in KEPT}, **CONFIG), file)
        return model

    def stalls(self, background):
        """Seconds for each checkpoint but the last, which is the stage's end."""
        run = os.path.join(self.folder, "run")
        command = [self.arguments.temper, "run", self.recipe, "--run-dir", run, "--set", f"stages.base.pretrain.checkpoint_in_background={background}"]
        if self.arguments.ranks > 1:
            command = ["mpirun", "-n", str(self.arguments.ranks)] + command
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr}")
        with open(os.path.join(run, "metrics.jsonl")) as lines:
            held_up = [json.loads(line)["time/checkpoint_stall"] for line in lines]
        shutil.rmtree(run)
        # A checkpoint after update n is told of by the lines n + 1 and later.
        return [sum(held_up[first:first + EVERY]) for first in range(EVERY, self.updates, EVERY)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("temper")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--scratch")
    parser.add_argument("--at-most", type=float, default=0.01)
    parser.add_argument("--slow-sync", type=float, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
        bench, most = Bench(arguments, folder), {}
        print("| checkpoint_in_background | seconds of each | seconds between two (auto) | share |")
        print("|---|---|---|---|")
        for background in ("false", "true"):
            seconds = bench.stalls(background)
            most[background] = max(seconds)
            between = interval(max(seconds), arguments.ranks)
            share = max(seconds) / between
            print(f"| {background} | {', '.join(f'{one:.2f}' for one in seconds)} | {between:.0f} | {share:.2%} |", flush=True)
    if arguments.slow_sync:
        sys.exit("in the background a checkpoint holds training up for more than half as long" if most["true"] > most["false"] / 2 else 0)
    sys.exit(f"training is held up for more than {arguments.at_most:.0%} of the interval" if share > arguments.at_most else 0)


if __name__ == "__main__":
    main()
