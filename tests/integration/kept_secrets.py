#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Canaries where people put keys: in a judge's command line, in URLs, and in what the judge says when it fails. None is in a file
of the run, its report or either output; the run goes on after a key was changed, and a config.yaml without its keys runs nothing.

Usage: kept_secrets.py TEMPER
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

CANARY = "c4n4ry"
JUDGE = """import json, sys
calls = 0
for line in sys.stdin:
    calls += 1
    if calls == 3:  # as argparse complains
        sys.exit("error: unrecognized arguments: " + " ".join(sys.argv[1:]))
    print(json.dumps({"id": json.loads(line)["id"], "score": 0.5}), flush=True)
"""
RECIPE = """seed: 0
stages:
  base:
    kind: pretrain
    pretrain:
      init: {directory: configs/tiny/base, embedding_std: 0.7, head_gain: 0.3}
      documents: [{kind: corpus, count: 160}]
      prompts_per_step: 80
  zero:
    kind: rl
    from: base
    rl:
      steps: 1
      prompts_per_step: 4
      samples_per_prompt: 2
      checkpoint_every: 1
      sampling: {max_new_tokens: 16}
      problems: {generator: tiny}
      reward: {rules: [{rule: process, name: judge, command: %s}]}
"""


def main():
    temper, faults = sys.argv[1], 0

    def run(folder, key, *more):
        command = ["python3", str(folder / "judge.py"), "--api-key", key + "1", f"--token={key}2", f"OPENAI_API_KEY={key}3 x",
                   f"https://me:{key}4@judge/score?access_token={key}5&n=1", "-H", f"X-Api-Key: {key}6",
                   json.dumps({"password": key + "7"}), "hf_" + key + "8ABCDEFGHIJKLMNOPQRST"]
        (folder / "recipe.yaml").write_text(RECIPE % json.dumps(command))
        done = subprocess.run([temper, "run", str(folder / "recipe.yaml"), "--run-dir", str(folder / "run"), *more],
                              env=dict(os.environ, HF_TOKEN=key + "9"), capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def leaks(folder, said, what):
        files = [path for path in (folder / "run").rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
        if files or CANARY in said:
            print(f"{what}: the canary is in {[str(path.relative_to(folder)) for path in files]}, outputs: {CANARY in said}")
        return len(files) + (CANARY in said)

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "judge.py").write_text(JUDGE)
        code, said = run(folder, CANARY)
        faults += leaks(folder, said, "a run") + (code != 0)
        print(f"a run: {code}", said if code else "")
        written = (folder / "run/config.yaml").read_text()
        if written.count("[redacted]") < 8 or str(folder / "judge.py") not in written:
            print(f"config.yaml does not have the command without its keys:\n{written}")
            faults += 1
        code, said = run(folder, CANARY + "new", "--set", "stages.zero.rl.steps=2")
        faults += leaks(folder, said, "with another key") + (code != 0)
        print(f"with another key: {code}", said if code else "")
        for wrong in (["--set", f"stages.zero.rl.reward.api_key={CANARY}"], ["--set", f"seed=--password={CANARY}"],
                      ["--set", f"stages.base.from=https://me:{CANARY}@host/model"]):
            code, said = run(folder, CANARY, *wrong)
            faults += leaks(folder, said, str(wrong)) + (code != 2)
            print(f"{wrong[1].replace(CANARY, '..')}: {code}")
        again = subprocess.run([temper, "run", str(folder / "run/config.yaml"), "--run-dir", str(folder / "again")],
                               capture_output=True, text=True)
        if again.returncode != 2 or "a key was left out where this recipe was written" not in again.stderr:
            print(f"config.yaml without its keys was run: {again.returncode}\n{again.stderr}")
            faults += 1
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
