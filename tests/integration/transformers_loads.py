#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What temper writes is what Transformers reads, and the other way round.

The tiny policy and its student, drawn at random by `temper init`, give the same ids for a text and the same logprobs there, to
1e-4. So do a V3 and a Qwen3 mixture of experts in every form that `temper convert` writes: BF16, sharded, experts stacked, FP8.
FP8 is dequantised to the same bits by both (there to BF16, always). A checkpoint that Transformers saves with stacked experts, in shards, gives the
same bits in temper. (Sizes of the FP8 model are multiples of 128 or below it: Transformers 5.23 takes other blocks for equal ones.)

For every family, and with every tokenizer of which a directory can be made here without a download, what `save_pretrained` writes with nothing
changed serves temper: the same ids, logprobs to 1e-4 and greedy tokens there and here. A stage that trains on it for an update leaves a
checkpoint that both read, with generation_config.json and the tokenizer's files as they were. The habits of those who prepare models are
tried on one family: tokens added with and without rows for them, Qwen2.5's recipe for long texts, named templates, shards.

Usage: transformers_loads.py TEMPER     Needs TEMPER_PEERS_PYTHON, a Python with torch and transformers; without it exits 77 (skip).
"""
import json
import os
import subprocess
import sys
import tempfile

V3 = dict(
    model_type="deepseek_v3", architectures=["DeepseekV3ForCausalLM"], vocab_size=320, hidden_size=256, num_hidden_layers=3,
    first_k_dense_replace=1, intermediate_size=384, moe_intermediate_size=128, n_routed_experts=8, n_shared_experts=1,
    num_experts_per_tok=2, n_group=2, topk_group=1, routed_scaling_factor=2.5, norm_topk_prob=True, num_attention_heads=4,
    num_key_value_heads=4, q_lora_rank=96, kv_lora_rank=96, qk_nope_head_dim=32, qk_rope_head_dim=32, v_head_dim=32,
    num_nextn_predict_layers=0, max_position_embeddings=512, rms_norm_eps=1e-6, rope_theta=10000.0, bos_token_id=0, eos_token_id=1)
QWEN3_MOE = dict(
    model_type="qwen3_moe", architectures=["Qwen3MoeForCausalLM"], vocab_size=320, hidden_size=256, num_hidden_layers=2,
    intermediate_size=384, moe_intermediate_size=128, num_experts=8, num_experts_per_tok=2, norm_topk_prob=True,
    num_attention_heads=4, num_key_value_heads=2, head_dim=32, max_position_embeddings=512, rms_norm_eps=1e-6,
    rope_theta=10000.0, bos_token_id=0, eos_token_id=1)
SMALL = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=96,
             initializer_range=0.2)
LATENT = dict(SMALL, num_key_value_heads=4, moe_intermediate_size=32, n_routed_experts=8, num_experts_per_tok=2, n_group=2, topk_group=1,
              q_lora_rank=24, kv_lora_rank=24, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16, first_k_dense_replace=1)
# Everything that is not a size is what the family's class has by default.
FAMILIES = {"llama": SMALL, "mistral": SMALL, "qwen2": SMALL, "qwen3": SMALL, "deepseek_v2": LATENT, "deepseek_v3": LATENT,
            "qwen3_moe": dict(SMALL, num_experts=8, num_experts_per_tok=2, moe_intermediate_size=32)}
TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
FORMS = {"bf16 in shards": ["--dtype", "bf16", "--shard-size", "300000"], "f32 stacked": ["--experts", "stacked"],
         "fp8": ["--dtype", "fp8"], "fp8 in shards": ["--dtype", "fp8", "--shard-size", "300000"]}
TOKENS = [7, 300, 12, 55, 98, 201, 0, 7, 19, 150, 149, 42]
TEXT = "Q 7 a -3 b *2 c +5 ? <think> 7 a -3 4 b *2 8 c +5 3 </think> <answer> 3 </answer>"


def temper(program, *arguments, row=None):
    done = subprocess.run([program, *arguments], input=None if row is None else json.dumps(row) + "\n", capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"temper {' '.join(arguments)}: exit status {done.returncode}\n{done.stderr}")
    return done.stdout


def logprobs_of(program, directory, ids):
    return json.loads(temper(program, "logprobs", "--model", directory, row={"tokens": ids}))["logprobs"]


def error_of(model, ids, logprobs):
    import torch

    with torch.no_grad():
        rows = model(torch.tensor([ids])).logits.log_softmax(-1)[0]
    return max(abs(ours - rows[i, ids[i + 1]].item()) for i, ours in enumerate(logprobs[1:]))


def check_text(program, name, folder):
    """Whether the tiny policy `name` has the same ids and logprobs there."""
    import torch
    import transformers

    directory = os.path.join(folder, name)
    temper(program, "init", f"configs/tiny/{name}", "--out", directory, "--seed", "3")
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    ids = json.loads(temper(program, "tokenize", "--tokenizer", directory, row=TEXT))["ids"]
    same = ids == tokenizer(TEXT).input_ids
    error = error_of(model, ids, logprobs_of(program, directory, ids))
    print(f"{name}: {type(model).__name__}, ids {'equal' if same else 'differ'}, logprobs within {error:.1e}")
    return same and error < 1e-4


def check_forms(program, config, folder):
    """How many forms of a random model of the config are not the same model there."""
    import torch
    import transformers

    def load(directory, dtype=torch.float32):
        return transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=dtype).float()

    name, faults = config["model_type"], 0
    os.mkdir(os.path.join(folder, name))
    with open(os.path.join(folder, name, "config.json"), "w") as file:
        json.dump(config, file)
    first = os.path.join(folder, f"{name}-f32")
    temper(program, "init", os.path.join(folder, name), "--out", first, "--linear-gain", "2", "--embedding-std", "1")
    for number, (form, options) in enumerate(FORMS.items()):
        dtype = "bf16" if "fp8" in form else "f32"
        directory, plain = (os.path.join(folder, f"{name}-{number}{end}") for end in ("", "-plain"))
        temper(program, "convert", "--model", first, "--output", directory, *options)
        temper(program, "convert", "--model", directory, "--output", plain, "--dtype", dtype)
        model = load(directory, torch.bfloat16 if dtype == "bf16" else torch.float32)
        same = load(plain).state_dict()
        bits = all(torch.equal(value, same[key]) for key, value in model.state_dict().items())
        error = error_of(model, TOKENS, logprobs_of(program, plain, TOKENS))
        print(f"{name}, {form}: weights {'equal' if bits else 'differ'}, logprobs within {error:.1e}")
        faults += not (bits and error < 1e-4)
    saved = os.path.join(folder, f"{name}-saved")
    load(first).save_pretrained(saved, save_original_format=False, max_shard_size="300KB")
    equal = logprobs_of(program, saved, TOKENS) == logprobs_of(program, first, TOKENS)
    print(f"{name}, saved there with stacked experts: logprobs {'equal' if equal else 'differ'}")
    return faults + (not equal)


def tokenizers():
    """name -> a tokenizer as people make them: of the library's parts, or a family's own class trained anew."""
    import tokenizers as library
    import transformers

    corpus = [open(f"docs/{name}.md").read() for name in ("chat", "architecture", "tokenizer")]

    def plain(model, split, decoder, special, **more):
        tokenizer = library.Tokenizer(model)
        tokenizer.pre_tokenizer, tokenizer.decoder = split, decoder
        tokenizer.train_from_iterator(corpus, library.trainers.BpeTrainer(vocab_size=600, special_tokens=special, show_progress=False, **more))
        return tokenizer

    split = library.pre_tokenizers
    made = {
        "of bytes": transformers.PreTrainedTokenizerFast(tokenizer_object=plain(
            library.models.BPE(), split.ByteLevel(add_prefix_space=False), library.decoders.ByteLevel(), ["<s>", "</s>"],
            initial_alphabet=split.ByteLevel.alphabet())),
        "of words": transformers.PreTrainedTokenizerFast(tokenizer_object=plain(
            library.models.BPE(unk_token="[UNK]"), split.Whitespace(), None, ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]),
            unk_token="[UNK]", pad_token="[PAD]")}
    for name in ("Qwen2Tokenizer", "LlamaTokenizer"):
        made[name] = getattr(transformers, name)().train_new_from_iterator(corpus, 600, show_progress=False)
    return made


def greedy_of(model, ids, count):
    """The likeliest tokens, up to the first that another f32 run may choose otherwise."""
    import torch

    tokens = []
    for _ in range(count):
        with torch.no_grad():
            best = model(torch.tensor([ids + tokens])).logits[0, -1].topk(2)
        if best.values[0] - best.values[1] < 1e-3:
            break
        tokens.append(best.indices[0].item())
    return tokens


def same_model(program, directory, model, tokenizer):
    """What is wrong with temper's view of the directory, in words."""
    text = "Tokens: 12 of a chat's \n\n  lines {x} <s>"
    ids = tokenizer(text, add_special_tokens=False).input_ids
    ours = json.loads(temper(program, "tokenize", "--tokenizer", directory, row=text))["ids"]
    if ours != ids:
        return f"ids {ours}, not {ids}"
    error = error_of(model, ids, logprobs_of(program, directory, ids))
    theirs = greedy_of(model, ids, 16)
    row = temper(program, "sample", "--model", directory, "--temperature", "0", "--ignore-eos", "--max-new-tokens", "16", row={"tokens": ids})
    drawn = json.loads(row)["tokens"][:len(theirs)]
    return "" if error < 1e-4 and drawn == theirs else f"logprobs within {error:.1e}, greedy {drawn}, not {theirs}"


def check_saved(program, name, directory, model, tokenizer, trained=False):
    """Whether a directory as it is saved serves, and so does the checkpoint of a stage that starts from it."""
    import filecmp
    import transformers

    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    wrong = same_model(program, directory, model.eval(), tokenizer)
    if trained and not wrong:
        rows, run = directory + ".jsonl", directory + "-run"
        with open(rows, "w") as file:
            file.writelines(json.dumps({"prompt": f"{i} and", "completion": f" {i + 1} lines"}) + "\n" for i in range(8))
        with open(directory + ".yaml", "w") as file:
            json.dump({"evaluation": {"problems": 0, "hard_problems": 0}, "stages": {"go": {"kind": "sft", "from": directory, "sft": {
                "documents": [{"kind": "file", "file": rows}], "prompts_per_step": 8, "gradient_leaves": 1}}}}, file)
        temper(program, "run", directory + ".yaml", "--run-dir", run)
        [step] = os.listdir(run + "/go/checkpoints")
        checkpoint = f"{run}/go/checkpoints/{step}"
        wrong = same_model(program, run, transformers.AutoModelForCausalLM.from_pretrained(checkpoint).float().eval(),
                           type(tokenizer).from_pretrained(checkpoint))  # AutoTokenizer takes Qwen2's splitting for any qwen2
        for file in (os.path.join(at, name)[len(directory) + 1:] for at, _, names in os.walk(directory) for name in names):
            carried = f"{checkpoint}/{file}"
            if file.split(".")[0] not in ("config", "model") and not (
                    os.path.isfile(carried) and filecmp.cmp(f"{directory}/{file}", carried, shallow=False)):
                wrong = wrong or f"{file} is another in the checkpoint"
    print(f"saved there, {name}: {wrong or 'the same'}", flush=True)
    return not wrong


def check_families(program, folder):
    """How many of the directories that save_pretrained writes do not serve."""
    import torch
    import transformers

    faults, made = 0, tokenizers()

    def model_of(family, size, **more):
        torch.manual_seed(len(family))
        return transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(family, vocab_size=size, **FAMILIES[family], **more))

    for family in FAMILIES:
        model = model_of(family, 600)
        for number, (name, tokenizer) in enumerate(made.items()):
            faults += not check_saved(program, f"{family}, {name}", f"{folder}/saved-{family}-{number}", model, tokenizer, trained=number == 0)

    tokenizer = made["of bytes"]
    model = model_of("qwen2", 600)
    tokenizer.add_special_tokens({"eos_token": "<|im_end|>", "pad_token": "<|pad|>", "extra_special_tokens": ["<think>", "</think>"]})
    faults += not check_saved(program, "tokens without rows", f"{folder}/habit-0", model, tokenizer)
    model.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=64)
    tokenizer.chat_template = {"default": TEMPLATE, "tool_use": "tools" + TEMPLATE}
    model.generation_config.update(temperature=0.6, top_p=0.95, do_sample=True, pad_token_id=tokenizer.pad_token_id,
                                   eos_token_id=[tokenizer.eos_token_id, 1])
    faults += not check_saved(program, "tokens with rows, sampling, templates", f"{folder}/habit-1", model, tokenizer, trained=True)
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "rope_theta": 10000.0}
    faults += not check_saved(program, "yarn beyond the positions", f"{folder}/habit-2", model_of(
        "qwen2", 605, rope_parameters=yarn, max_position_embeddings=32), tokenizer)
    return faults


def main():
    peers = os.environ.get("TEMPER_PEERS_PYTHON")
    if not peers:
        print("skipped: TEMPER_PEERS_PYTHON names no Python")
        sys.exit(77)
    if "TEMPER_IN_PEERS" not in os.environ:
        os.execve(peers, [peers, *sys.argv], dict(os.environ, TEMPER_IN_PEERS="1"))
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        faults = sum(not check_text(sys.argv[1], name, folder) for name in ("base", "student"))
        faults += check_families(sys.argv[1], folder)
        faults += sum(check_forms(sys.argv[1], config, folder) for config in (V3, QWEN3_MOE))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
