#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""E4 across meshes through the program: configs/tiny/short.yaml, killed (SIGKILL) on two ranks that share each product (mesh.tp), goes on with pp where it trains
and tp where it samples, with dp_shard and on one rank, and each ends with the digest of an undisturbed run; of the tiny base (MLA and experts) and of a dense model. And what no mesh can
be, or no ranks can run together, is refused in one line, after which all ranks end.

Usage: meshes.py TEMPER [--all]     Needs cc and mpirun. Takes a minute or two, with --all (every phase, more meshes to begin with) some ten.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from layouts import BASE, ENVIRONMENT, RECIPE, ranks_of, settings as mesh_of

DENSE = dict(model_type="qwen3", architectures=["Qwen3ForCausalLM"], hidden_size=100, num_hidden_layers=3, intermediate_size=90,
             num_attention_heads=4, num_key_value_heads=2, head_dim=34, tie_word_embeddings=True, rope_theta=10000.0)
ENDS = ("pp=2/tp=2", "dp_shard=2", "1")  # of what was killed


def dense(directory):
    """The tiny base's directory with a dense model's config."""
    shutil.copytree(BASE, directory)
    base = json.loads((directory / "config.json").read_text())
    kept = ("vocab_size", "max_position_embeddings", "bos_token_id", "eos_token_id", "rms_norm_eps")
    (directory / "config.json").write_text(json.dumps(dict({key: base[key] for key in kept}, **DENSE)))
    return directory


def start(temper, directory, layout, settings=(), kill=None):
    command = [temper, "run", RECIPE, "--run-dir", str(directory)]
    for setting in [*settings, *mesh_of(layout)]:
        command += ["--set", setting]
    if kill:
        command = ["env"] + [f"{key}={value}" for key, value in kill.items()] + command
    if ranks_of(layout) > 1:
        command = ["mpirun", "-n", str(ranks_of(layout))] + command
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)


def digest(temper, directory):
    return subprocess.run([temper, "inspect", str(directory), "--digest"], capture_output=True, text=True, check=True).stdout.strip()


def kills(temper, folder, init, begins, moments):
    """Yields what is wrong."""
    settings, name = [f"stages.base.pretrain.init.directory={init}"], os.path.basename(init)
    shim, log = folder / "kill_at.so", folder / "kills"
    done = start(temper, folder / "undisturbed", "1", settings)
    if done.returncode != 0:
        sys.exit(f"{name}: exit code {done.returncode}, {done.stderr[-1000:]}")
    expected = digest(temper, folder / "undisturbed")
    shutil.rmtree(folder / "undisturbed")
    for begin in begins:
        for phase, count in moments:
            killed = folder / "killed"
            log.write_text("")
            start(temper, killed, begin, settings, dict(LD_PRELOAD=shim, KILL_PHASE=phase, KILL_COUNT=count, KILL_DELAY_US=3000, KILL_LOG=log))
            words = log.read_text().splitlines()
            if not words or words[0].split()[0] != phase:
                yield f"{name} on {begin} was not killed in its {phase} {count}: {words}"
            for end in ENDS:
                directory = folder / "resumed"
                shutil.copytree(killed, directory, symlinks=True)
                done = start(temper, directory, end, settings)
                got = digest(temper, directory) if done.returncode == 0 else f"exit code {done.returncode}, {done.stderr[-400:]}"
                print(f"{name}: killed on {begin} in {phase} {count}, ended on {end}: {got}", flush=True)
                if got != expected:
                    yield f"{name}: killed on {begin} in {phase} {count}, ended on {end}: {got}, undisturbed {expected}"
                shutil.rmtree(directory)
            shutil.rmtree(killed)


def refusals(temper, folder):
    """Yields what is wrong: each is refused with 2 and one line that has these words, before anything is written."""
    ten = folder / "ten"
    shutil.copytree(BASE, ten)
    config = json.loads((ten / "config.json").read_text())
    (ten / "config.json").write_text(json.dumps(dict(config, n_routed_experts=10, n_group=1, topk_group=1)))
    three = folder / "three"
    shutil.copytree(BASE, three)
    (three / "config.json").write_text(json.dumps(dict(config, num_attention_heads=3, num_key_value_heads=3)))
    for ranks, settings, words in [
            (2, ["mesh.tp=3"], ["mesh.tp is 3", "2 ranks were started"]),
            (3, ["mesh.tp=3"], ["mesh.tp is 3", "heads", "the nearest that works is"]),
            (2, ["mesh.tp=2", f"stages.base.pretrain.init.directory={three}"], ["mesh.tp is 2", "3 heads", "the nearest that works is 1"]),
            (3, ["mesh.ep=3", f"stages.base.pretrain.init.directory={ten}"], ["mesh.ep is 3", "10 experts", "the nearest that works is"]),
            (2, ["mesh.dp_replicate=2", "mesh.tp=2"], ["mesh.dp_replicate is 2", "mesh.tp is 2", "2 ranks were started"])]:
        directory = folder / "refused"
        command = ["mpirun", "-n", str(ranks), temper, "run", RECIPE, "--run-dir", str(directory)]
        for setting in settings:
            command += ["--set", setting]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=100)
        lines = [line for line in done.stderr.splitlines() if "error: " in line]
        if done.returncode != 2 or len(lines) != 1 or not all(word in lines[0] for word in words) or (directory / "config.yaml").exists():
            yield f"{ranks} ranks, {settings}: exit code {done.returncode}, {done.stderr[-600:]}"
    line = f'[ "$OMPI_COMM_WORLD_RANK" = 0 ] && set -- tp || set -- pp; exec {temper} run {RECIPE} --set mesh.$1=2 --run-dir {folder / "refused"}'
    done = subprocess.run(["mpirun", "-n", "2", "bash", "-c", line], env=ENVIRONMENT, capture_output=True, text=True, timeout=100)
    if done.returncode != 2 or "error: the recipe's mesh." not in done.stderr:
        yield f"ranks that disagree about the mesh: exit code {done.returncode}, {done.stderr[-600:]}"


def main():
    temper, everything = sys.argv[1], "--all" in sys.argv
    moments = [("rollout", 25), ("update", 2), ("checkpoint", 30), ("stage", 3)] if everything else [("rollout", 25)]
    begins = ("tp=2", "tp=2,dp_replicate=2", "ep=2", "dp_shard=2/tp=2") if everything else ("tp=2",)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        folder = pathlib.Path(name)
        subprocess.run([os.environ.get("CC", "cc"), "-O1", "-shared", "-fPIC", "-pthread", "-o", folder / "kill_at.so",
                        pathlib.Path(__file__).with_name("kill_at.c"), "-ldl"], check=True)
        faults = [*refusals(temper, folder), *kills(temper, folder, BASE, begins, moments),
                  *kills(temper, folder, dense(folder / "dense"), begins[:2], [("checkpoint", 30)])]
    print(*faults, sep="\n")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
