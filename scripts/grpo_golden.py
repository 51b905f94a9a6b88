#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/goldens/grpo/: whole GRPO updates of small models in f64, for tests/trainer/grpo_golden_test.cc.

Written from the papers alone: DeepSeekMath (arXiv 2402.03300) eq. 3 and section 4.1.2, DeepSeek-R1 (arXiv 2501.12948)
eq. 1-3, AdamW (arXiv 1711.05101). The models are those of scripts/goldens.py, run by Transformers; nothing is shared with
trainer/.

A file has the groups (tokens, rewards, logprobs of the sampler and of the reference; both are the policy's own with noise,
so that ratios are cut and the KL is not 0), and for each of two updates the loss, clip share, KL and gradient norm, and of
each parameter's change: its norm, its product with cos(0), cos(1), .. and up to 96 of its entries. The second update takes
the same groups, so that it shows the moments (the first AdamW step forgets its betas).

Usage: grpo_golden.py     Needs torch, transformers >= 5 and safetensors. Takes ten seconds.
"""
import json

import torch
import transformers
from safetensors.torch import save_file

from goldens import ROOT, VOCABULARY, in_f64

MODELS = ("qwen2", "deepseek_v3_q_lora")
UPDATES, ENTRIES, PRIME = 2, 96, 7919

# Three groups of four: one has no spread (only the KL moves it), one has rewards that are no 0 or 1.
REWARDS = [[1.0, 0.0, 0.0, 1.0], [0.5, 0.5, 0.5, 0.5], [0.1, 2.0, 0.7, 0.0]]
PROMPTS = [5, 1, 9]
COMPLETIONS = [[7, 12, 3, 1], [4, 9, 2, 6], [15, 8, 1, 11]]

# A large AdamW epsilon: with a small one the first step is the sign of the gradient, and the sign of a gradient that is
# almost 0 says nothing. A large rate, so that changes stand out from the rounding of f32 weights.
CONFIG = dict(temperature=1.3, clip_low=0.2, clip_high=0.3, kl_coef=0.04, advantage_epsilon=1e-4, learning_rate=0.02,
              beta1=0.8, beta2=0.9, epsilon=0.3, weight_decay=0.1, clip_norm=1.5)


def draw_sequences(generator):
    """Of each sample: its group, reward, tokens and how many of them are the prompt's."""
    samples = []
    for group, (rewards, prompt, completions) in enumerate(zip(REWARDS, PROMPTS, COMPLETIONS)):
        context = torch.randint(0, VOCABULARY, [prompt], generator=generator)
        for reward, length in zip(rewards, completions):
            completion = torch.randint(0, VOCABULARY, [length], generator=generator)
            samples.append((group, reward, torch.cat([context, completion]), prompt))
    return samples


def completion_logprobs(model, tokens, prompt):
    """log pi(o_t | q, o_<t) at the temperature, of the completion's tokens."""
    logits = model(tokens[None], use_cache=False).logits[0] / CONFIG["temperature"]
    return logits.log_softmax(-1)[prompt - 1:-1].gather(1, tokens[prompt:, None])[:, 0]


def group_advantages():
    advantages = []
    for rewards in REWARDS:
        r = torch.tensor(rewards, dtype=torch.float64)
        advantages += ((r - r.mean()) / (r.std(unbiased=False) + CONFIG["advantage_epsilon"])).tolist()
    return advantages


def grpo_loss(model, samples, old_logprobs, ref_logprobs):
    """The loss (its negative is the papers' objective), and what is told of it."""
    loss, clipped, kl_sum, tokens = 0.0, 0, 0.0, 0
    for (_, _, ids, prompt), advantage, old, ref in zip(samples, group_advantages(), old_logprobs, ref_logprobs):
        new = completion_logprobs(model, ids, prompt)
        ratio = torch.exp(new - old)
        cut = ratio.clamp(1 - CONFIG["clip_low"], 1 + CONFIG["clip_high"])
        surrogate = torch.minimum(ratio * advantage, cut * advantage)
        kl = torch.exp(ref - new) - (ref - new) - 1
        loss = loss - (surrogate - CONFIG["kl_coef"] * kl).mean() / len(samples)
        clipped += (cut * advantage < ratio * advantage).sum().item()
        kl_sum += kl.sum().item()
        tokens += len(new)
        for edge in (1 - CONFIG["clip_low"], 1 + CONFIG["clip_high"]):
            if (ratio - edge).abs().min() < 1e-4:
                raise SystemExit("a ratio is so near the clip that f32 may see it on the other side: take another seed")
    return loss, {"loss": loss.item(), "clip_share": clipped / tokens, "kl": kl_sum / tokens}


def checkpoint_tensors(model):
    """The parameters by their names in a checkpoint, where each expert has matrices of its own."""
    tensors = {}
    for name, value in model.named_parameters():
        value = value.detach()
        if name.endswith("experts.gate_up_proj"):
            for expert, both in enumerate(value):
                gate, up = both.chunk(2)
                tensors[name.replace("gate_up_proj", f"{expert}.gate_proj.weight")] = gate
                tensors[name.replace("gate_up_proj", f"{expert}.up_proj.weight")] = up
        elif name.endswith("experts.down_proj"):
            for expert, down in enumerate(value):
                tensors[name.replace("down_proj", f"{expert}.down_proj.weight")] = down
        else:
            tensors[name] = value
    return {name: value.clone().flatten() for name, value in tensors.items()}


def changes(before, after):
    told = {}
    for name in before:
        change = after[name] - before[name]
        indices = torch.arange(min(ENTRIES, len(change))) * PRIME % len(change)
        told[name + "/norm_and_product"] = torch.stack(
            [change.norm(), (change * torch.arange(len(change), dtype=torch.float64).cos()).sum()])
        told[name + "/entries"] = change[indices].float()
    return told


def run(name):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        ROOT / name, dtype=torch.float64, attn_implementation="sdpa", experts_implementation="eager").eval()
    generator = torch.Generator().manual_seed(12)
    samples = draw_sequences(generator)
    with torch.no_grad():
        true = [completion_logprobs(model, ids, prompt) for _, _, ids, prompt in samples]
    noisy = [[(t + scale * torch.randn(t.shape, generator=generator, dtype=torch.float64)).float() for t in true]
             for scale in (0.25, 0.4)]
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": CONFIG["weight_decay"]}, {"params": vectors, "weight_decay": 0.0}],
        lr=CONFIG["learning_rate"], betas=(CONFIG["beta1"], CONFIG["beta2"]), eps=CONFIG["epsilon"], foreach=False)
    old, ref = ([t.double() for t in each] for each in noisy)
    tensors = {
        "tokens": torch.cat([ids for _, _, ids, _ in samples]),
        "lengths": torch.tensor([len(ids) for _, _, ids, _ in samples]),
        "prompts": torch.tensor([prompt for _, _, _, prompt in samples]),
        "groups": torch.tensor([group for group, _, _, _ in samples]),
        "rewards": torch.tensor([reward for _, reward, _, _ in samples], dtype=torch.float64),
        "old_logprobs": torch.cat(noisy[0]), "ref_logprobs": torch.cat(noisy[1])}
    results = []
    for update in range(UPDATES):
        before = checkpoint_tensors(model)
        optimizer.zero_grad()
        loss, figures = grpo_loss(model, samples, old, ref)
        loss.backward()
        figures["gradient_norm"] = torch.nn.utils.clip_grad_norm_(model.parameters(), CONFIG["clip_norm"]).item()
        optimizer.step()
        results.append(figures)
        told = changes(before, checkpoint_tensors(model))
        tensors.update({f"{update}/{key}": value for key, value in told.items()})
    return tensors, results


def main():
    torch.set_num_threads(1)  # the same bytes each time
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    (ROOT / "grpo").mkdir(exist_ok=True)
    for name in MODELS:
        with in_f64(transformers.AutoModelForCausalLM.from_pretrained(ROOT / name)):
            tensors, results = run(name)
        path = ROOT / "grpo" / f"{name}.safetensors"
        save_file({key: value.contiguous() for key, value in tensors.items()}, path,
                  metadata={"golden": json.dumps({"config": CONFIG, "updates": results}, sort_keys=True)})
        print(f"{name}: {path.stat().st_size} bytes")
        for figures in results:
            print("  " + json.dumps(figures))


if __name__ == "__main__":
    main()
