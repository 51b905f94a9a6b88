#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""E3 through the program: configs/tiny/short.yaml with five gradient leaves on every layout of ranks under mpirun ends with one digest, and the first
rank put no more than its share of the tokens through the model: 1/n of them plus one gradient leaf, n the ranks that share the samples; weights
went to a second policy where rollout.mesh asks for one, and nowhere else; each rank's trace (--trace) has all that it did, and the report its timeline. The same from a
Qwen3 MoE with 3 heads, 10 experts and a vocabulary of 711, whose softmax router has no selection bias, on the first two of these layouts; and where sequences of 40 tokens are long, on some.

Usage: layouts.py TEMPER [--all | LAYOUT...]     A layout is a number of ranks, or keys of the mesh: dp_shard=2,dp_replicate=2; behind a
slash those of rollout.mesh. Without one: each axis once. Needs mpirun. Takes about ten seconds for each layout.
"""
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile

# As root and on few cores, as in a container; there one process may not read another's memory (vader).
ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                   OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_btl_vader_single_copy_mechanism="none")
RECIPE = "configs/tiny/short.yaml"
LEAVES = 5
EACH_AXIS = ["1", "3", "tp=2,sequence_parallel=true", "dp_shard=2,pp=2/tp=2,dp_replicate=2", "ep=2,dp_shard=2"]
ALL = EACH_AXIS + ["2", "4", "5", "tp=2", "dp_shard=3", "pp=2,dp_replicate=2", "dp_shard=2,tp=2", "tp=2,dp_replicate=2", "tp=2,pp=2", "pp=3", "ep=2",
                   "ep=2,tp=2", "ep=2,pp=2", "dp_shard=2,pp=2,ep=2", "cp=2", "tp=2,cp=2", "pp=2,tp=2,sequence_parallel=true", "dp_shard=2,pp=2",
                   "tp=2/pp=2", "ep=2/dp_shard=2", "4/ep=2,tp=2"]
LONG = ["1", "tp=2,cp=2,sequence_parallel=true"]
ALL_LONG = LONG + ["cp=2", "cp=4", "dp_replicate=2,cp=2", "ep=2,cp=2", "dp_shard=2", "pp=2"]
BASE = "configs/tiny/base"
QWEN3_MOE = dict(model_type="qwen3_moe", architectures=["Qwen3MoeForCausalLM"], vocab_size=711, hidden_size=100, num_hidden_layers=3,
                 intermediate_size=90, num_attention_heads=3, num_key_value_heads=1, head_dim=34, num_experts=10,
                 num_experts_per_tok=3, moe_intermediate_size=27, mlp_only_layers=[0], norm_topk_prob=True, tie_word_embeddings=True,
                 rope_theta=10000.0)


def qwen3_moe(directory):
    """The tiny base's directory with another config."""
    shutil.copytree(BASE, directory)
    path = os.path.join(directory, "config.json")
    with open(path) as file:
        base = json.load(file)
    kept = ("vocab_size", "max_position_embeddings", "bos_token_id", "eos_token_id", "rms_norm_eps")
    with open(path, "w") as file:
        json.dump(dict({key: base[key] for key in kept}, **QWEN3_MOE), file)
    return directory


def axes(layout):
    """{axis: size}; a number of ranks alone is of dp_replicate."""
    return {key: int(value) for key, value in keys(layout).items() if value.isdigit()}


def keys(layout):
    """The same of all keys of the mesh."""
    trains = layout.split("/")[0]
    return dict(part.split("=") for part in trains.split(",")) if "=" in trains else {"dp_replicate": trains}


def settings(layout):
    """What --set is to say."""
    samples = layout.split("/")[1:]
    return [f"mesh.{key}={value}" for key, value in keys(layout).items()] + [
        "rollout.mesh={%s}" % each.replace("=", ": ").replace(",", ", ") for each in samples]


def ranks_of(layout):
    return math.prod(axes(layout).values())


def data_ranks(layout):
    return math.prod(size for axis, size in axes(layout).items() if axis in ("dp_replicate", "dp_shard", "ep", "cp"))


def run(temper, layout, directory, init, long_tokens):
    command = [temper, "run", RECIPE, "--trace", "--run-dir", directory, "--set", f"stages.base.pretrain.init.directory={init}"]
    for updates in ("rl", "stages.base.pretrain", "stages.cold_start.sft", "stages.sft.sft"):
        command += ["--set", f"{updates}.gradient_leaves={LEAVES}", "--set", f"{updates}.long_sequence_tokens={long_tokens}"]
    for setting in settings(layout):
        command += ["--set", setting]
    if ranks_of(layout) > 1:
        command = ["mpirun", "-n", str(ranks_of(layout))] + command
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr}")
    return subprocess.run([temper, "inspect", directory, "--digest"], capture_output=True, text=True, check=True).stdout.strip()


def tokens(directory):
    """Tokens of the first rank, by (stage, step), of updates in which no rank took over another's leaf."""
    with open(os.path.join(directory, "metrics.jsonl")) as lines:
        rows = [json.loads(line) for line in lines]
    return {(row["stage"], row["step"]): row["system/local_tokens"] for row in rows if row["system/leaves_taken_over"] == 0}


def published(directory):
    """Bytes of weights that the first rank sent to a policy that samples on another mesh."""
    with open(os.path.join(directory, "metrics.jsonl")) as lines:
        return sum(json.loads(line).get("system/published_bytes", 0) for line in lines)


def trace_faults(directory, layout):
    """What is wrong with the traces of a run: one of each rank, of spans of which one is inside the other or behind it, with all that each rank does in an
    update; in a pipeline, its actions, and the report's waits."""
    pipeline, samples = axes(layout).get("pp", 1) > 1, "/" in layout
    for rank in range(ranks_of(layout)):
        with open(os.path.join(directory, f"trace-{rank:04}.json")) as file:
            events = [event for event in json.load(file)["traceEvents"] if event["ph"] == "X"]
        if not events or any(event["pid"] != rank or event["tid"] not in (0, 1) or event["dur"] < 0 for event in events):
            return f"layout {layout}: trace-{rank:04}.json has no spans, or strange ones"
        open_ends = []
        for event in sorted((event for event in events if event["tid"] == 0), key=lambda event: (event["ts"], -event["dur"])):
            while open_ends and open_ends[-1] <= event["ts"]:
                open_ends.pop()
            if open_ends and event["ts"] + event["dur"] > open_ends[-1]:
                return f"layout {layout}: in trace-{rank:04}.json {event} begins in a span and ends behind it"
            open_ends.append(event["ts"] + event["dur"])
        there = {(event["cat"], event["name"]) for event in events}
        wanted = {("phase", name) for name in ("rollout", "update", "optimizer", "checkpoint") + (("publish",) if samples else ())}
        if pipeline:
            first = rank < ranks_of(layout) // axes(layout)["pp"]
            wanted |= {("pipeline", "Forward"), ("pipeline", "ReceiveGradients" if first else "ReceiveActivations")}
        if not wanted <= there:
            return f"layout {layout}: trace-{rank:04}.json lacks {wanted - there}"
    with open(os.path.join(directory, "report.html")) as file:
        timeline = json.loads(re.search(r'<script id=data type="application/json">(.*?)</script>', file.read(), re.DOTALL)[1])["timeline"]
    if [row["rank"] for row in timeline["ranks"]] != list(range(ranks_of(layout))):
        return f"layout {layout}: the report's timeline has not every rank"
    if pipeline and not all(0 < row["waits"] < 1 for row in timeline["ranks"]):
        return f"layout {layout}: no waits of a pipeline in the report's timeline"
    return None


def refusals(temper, folder):
    """Yields what is wrong: two ranks of which one was given nothing to read, another recipe or another model, both end with 2."""
    other = os.path.join(folder, "other")
    shutil.copytree(BASE, other)
    path = os.path.join(other, "config.json")
    with open(path) as file:
        config = json.load(file)
    with open(path, "w") as file:
        json.dump(dict(config, rope_theta=1001), file)
    for arguments, message in [("/nothing.yaml", "error: on rank 1: /nothing.yaml: cannot read"),
                               (f"{RECIPE} --set seed=3", "error: the recipe's seed of rank 1 differs from rank 0's: 3, not 0: start"),
                               (f"{RECIPE} --set stages.base.pretrain.init.directory={other}",
                                "error: config.json in stages.base.pretrain.init.directory of rank 1 differs from rank 0's: " + path)]:
        directory = os.path.join(folder, "refused")
        line = f'[ "$OMPI_COMM_WORLD_RANK" = 0 ] && set -- {RECIPE} || set -- {arguments}; exec {temper} run "$@" --run-dir {directory}'
        done = subprocess.run(["mpirun", "-n", "2", "bash", "-c", line], env=ENVIRONMENT, capture_output=True, text=True, timeout=100)
        if done.returncode != 2 or message not in done.stderr or os.path.exists(os.path.join(directory, "config.yaml")):
            yield f"{arguments} on rank 1: exit code {done.returncode}, {done.stderr[-400:]}"


def layouts(temper, names, folder, init, long_tokens=8192):
    """Yields what is wrong. A long sequence's only span is of one rank, so that shares are told of short ones alone."""
    digests, work = {}, {}
    for name in names:
        directory = os.path.join(folder, f"{os.path.basename(init)}-{name.replace('/', '-')}-{long_tokens}")
        digests[name], work[name] = run(temper, name, directory, init, long_tokens), tokens(directory)
        if (published(directory) > 0) != ("/" in name):
            yield f"layout {name}: the first rank sent {published(directory):.0f} bytes of weights to what samples"
        if fault := trace_faults(directory, name):
            yield fault
        print(f"{init}, long from {long_tokens} tokens, layout {name}: {digests[name]}, {sum(work[name].values()):.0f} tokens on the first rank")
    if len(set(digests.values())) != 1:
        yield f"long from {long_tokens} tokens: the digests differ"
    if long_tokens < 1024:
        return
    for name in names:
        mine, alone = sum(work[name].values()), sum(work[names[0]][step] for step in work[name])
        if mine > alone / data_ranks(name) + alone / LEAVES:
            yield f"layout {name}: the first rank did {mine:.0f} of {alone:.0f} tokens"


def main():
    temper, names = sys.argv[1], sys.argv[2:] or EACH_AXIS
    long = LONG
    if names == ["--all"]:
        names, long = ALL, ALL_LONG
    with tempfile.TemporaryDirectory() as folder:
        faults = [*layouts(temper, names, folder, BASE),
                  *layouts(temper, names[:2], folder, qwen3_moe(os.path.join(folder, "qwen3_moe"))),
                  *layouts(temper, long, folder, BASE, long_tokens=40),
                  *refusals(temper, folder)]
    print(*faults, sep="\n")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
