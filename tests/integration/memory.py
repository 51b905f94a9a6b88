#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What ranks take under mpirun is what `temper plan` says: of a policy of 53 million weights (MLA, experts), first pretrained and then trained by rl with a
reference, the most that a rank's process had in memory at once (VmHWM), less what the program takes beside a policy, is within a tenth of the plan's sum on
each mesh. What the program takes (libraries, threads, MPI's buffers) is what as many ranks take of the tiny policy beyond that one's plan. Activations are few,
since layers run again: those are told apart in tests/trainer/plan.

Usage: memory.py TEMPER [LAYOUT...]     A layout as in layouts.py. Needs mpirun, and 5 GB of memory. Takes half a minute for each.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from layouts import BASE, ENVIRONMENT, ranks_of
from layouts import settings as settings_of

LAYOUTS = ["1", "2", "dp_shard=2", "tp=2", "tp=2,sequence_parallel=true", "pp=2", "ep=2", "cp=2", "dp_shard=2,tp=2", "pp=2,ep=2", "dp_shard=2/tp=2",
           "dp_shard=2/dp_replicate=2"]
LARGE = dict(hidden_size=512, num_hidden_layers=8, intermediate_size=1408, num_attention_heads=8, num_key_value_heads=8, q_lora_rank=192, kv_lora_rank=128,
             qk_nope_head_dim=32, qk_rope_head_dim=16, v_head_dim=32, n_routed_experts=8, n_shared_experts=1, num_experts_per_tok=2,
             moe_intermediate_size=512, n_group=2, topk_group=1, first_k_dense_replace=1, num_nextn_predict_layers=0)
UPDATES = "gradient_leaves: 4, tokens_per_microbatch: 64, recompute: true, checkpoint_in_background: false"
PRETRAIN = "{init: {directory: %s}, documents: [{kind: corpus, count: 32}], prompts_per_step: 32, " + UPDATES + "}"
RL = ("{steps: 1, prompts_per_step: 4, samples_per_prompt: 4, kl_coef: 0.01, skip_groups_without_spread: false, problems: {generator: tiny}, "
      "sampling: {max_new_tokens: 16, max_batch: 16, cache_mib: 16}, reward: {rules: [{rule: accuracy}]}, " + UPDATES + "}")
# Runs the rest of the command line and writes what its process had in memory at most, in KiB, into a folder, a file a rank.
MEASURE = """
import os, resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
with open(os.path.join(sys.argv[1], os.environ.get("OMPI_COMM_WORLD_RANK", "0")), "w") as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""


def set_by(layout):
    return [word for setting in settings_of(layout) for word in ("--set", setting)]


def planned(temper, recipe, layout):
    """Bytes of the stage, pool by pool: of a sum the plan says no more than three figures."""
    command = [temper, "plan", recipe, "--ranks", str(ranks_of(layout))] + set_by(layout)
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr}")
    pools, = (re.sub(r", sum .*", "", line) for line in done.stdout.splitlines() if "memory a rank: " in line)
    unit = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    return sum(float(number) * unit[name] for number, name in re.findall(r"([\d.]+) ([KMG]iB)", pools))


def taken(temper, recipe, layout, run):
    """Bytes of the rank that took most."""
    with tempfile.TemporaryDirectory() as peaks:
        command = [sys.executable, "-c", MEASURE, peaks, temper, "run", recipe, "--run-dir", run] + set_by(layout)
        if ranks_of(layout) > 1:
            command = ["mpirun", "-n", str(ranks_of(layout))] + command
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=900)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr[-2000:]}")
        all_peaks = [int(peak.read_text()) * 1024 for peak in pathlib.Path(peaks).iterdir()]
    assert len(all_peaks) == ranks_of(layout), all_peaks
    return max(all_peaks)


def stages(temper, layout, config):
    """(planned, taken) of each stage of a policy with this config."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        base = folder / "base"
        shutil.copytree(BASE, base)
        path = base / "config.json"
        path.write_text(json.dumps(dict(json.loads(path.read_text()), **config)))
        figures = []
        for kind, fields in [("pretrain", PRETRAIN % base), ("rl", f"{RL}\n    from: {folder / 'pretrain'}")]:
            recipe = str(folder / f"{kind}.yaml")
            pathlib.Path(recipe).write_text(f"evaluation: {{problems: 0}}\nstages:\n  {kind}:\n    kind: {kind}\n    {kind}: {fields}\n")
            figures.append((planned(temper, recipe, layout), taken(temper, recipe, layout, str(folder / kind))))
    return figures


def main():
    temper, names = os.path.abspath(sys.argv[1]), sys.argv[2:] or LAYOUTS
    wrong, of_program = 0, {}
    for layout in names:
        ranks = ranks_of(layout)
        if ranks not in of_program:
            of_program[ranks] = [tiny - plan for plan, tiny in stages(temper, str(ranks), {})]
        for kind, program, (plan, large) in zip(("pretrain", "rl"), of_program[ranks], stages(temper, layout, LARGE)):
            share = (large - program) / plan
            print(f"{layout}, {kind}: a rank took {(large - program) / 2**20:.0f} MiB beside the program's {program / 2**20:.0f}, "
                  f"{share:.3f} of the planned {plan / 2**20:.0f}", flush=True)
            wrong += not 0.9 <= share <= 1.1
    sys.exit(f"{wrong} stages took another amount than planned" if wrong else 0)


main()
