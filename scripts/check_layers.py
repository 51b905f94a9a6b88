#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks what the rooms may know of each other and of LibTorch; prints FILE:LINE: and what is wrong, exits 1 if any.

1. Includes go down only: a room includes itself and the DEPS of its temper_library line in CMakeLists.txt, and those
   stand above it. Paths start at the root. LibTorch's headers only where the line says TORCH; MPI's and NCCL's in comm.
2. A folder has one door: files elsewhere include only its headers in DOORS, else the one that is named after it. Two folders
   side by side do not include each other. A folder holds at most 30 files, and their names do not begin with its own.
3. Of LibTorch, source names only what allocates, views, copies and casts (SOURCE_NAMES), but for EXEMPT.
4. With --objects BUILD_DIR: the same for what was compiled, where methods and operators of a Tensor are calls of
   at::_ops (OPERATORS). Needs readelf and addr2line.
   And what changes the disk (DISK_CALLS) is called in core/files/disk.cc alone, but for ONLY_SCRATCH.
5. --self-test: made-up trees with each fault, each of which must be found.

Usage: check_layers.py [--root DIR] [--objects BUILD_DIR] | --self-test     Needs Python 3.9. Takes a second.
"""
import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# The files of trainer that drive rollouts; all others see trajectories only.
TRAINER_ABOVE_ROLLOUT = ("rl", "rl_metrics", "collect", "recipe", "evaluation", "sampling", "plan/plan", "plan/cluster_plan", "plan/exercise")
ONLY_IN_COMM = {"mpi.h", "nccl.h"}
LIBTORCH_HEADER = re.compile(r"(ATen|torch|c10|caffe2)/")
# What other folders may include of a folder; a folder in it stands for its doors.
DOORS = {
    "core": "check.h deal.h host.h huge_pages.h log.h memory.h metrics.h one_of.h progress.h random.h status.h stop.h terminal.h text.h thread_pool.h trace.h version.h "
            "config/ files/ json/",
    "core/config": "config.h fields.h redact.h text.h",
    "core/files": "crc32c.h disk.h file.h folder_link.h held_file.h leftovers.h lines.h regular_file.h rows_source.h sealed.h staged.h",
    "core/json": "json.h python.h",
    "data": "trajectory.h record_file.h tokenizer/ dataset/dataset.h dataset/mixture.h tasks/",
    "data/chat/jinja": "jinja.h",
    "data/dataset": "dataset.h mixture.h split.h",
    "data/tasks": "procedural.h tiny/",
    "data/tokenizer": "tokenizer.h folder.h",
    "kernels": "attention.h backend.h convert.h isa.h matrix.h peak.h sample.h backends/",
    "kernels/backends": "counting.h cpu.h device.h",
    "kernels/cpu": "adamw.h attention.h convert.h exponential.h gemm.h gradient_sum.h peak.h route.h row_ops.h token_logprob.h",
    "kernels/cuda": "adamw.h attention.h driver/ gradient_sum.h products.h route.h row_ops.h sample.h simulator.h stream.h token_logprob.h",
    "kernels/cuda/driver": "driver.h graph.h memory.h",
    "comm": "check.h communicator.h device_ranks.h gather.h mesh.h message_log.h mpi.h parcels.h reduce.h watchdog.h",
    "model": "causal_lm.h device.h kv_cache.h parameters.h policy.h share_out.h config/ decode/step_rows.h files/",
    "model/blocks": "blocks.h mtp.h rope.h shared_sequence.h",
    "model/decode": "pass.h step_rows.h",
    "model/config": "config.h quantization.h",
    "model/files": "fp8.h hugging_face.h safetensors.h shared_tensors.h weight_conversion.h weight_files.h",
    "rollout": "engine.h exchange.h replay.h worker.h",
    "trainer": "measure.h plan/ recipe.h sampling.h update_batch.h config/cluster.h config/recipe.h inputs/problems.h run_directory/checkpoint.h "
               "run_directory/journal.h run_directory/model_directory.h run_directory/run_directory.h run_directory/supervision.h update/advantage.h update/loss.h update/optimizer.h update/step.h weight_sync.h",
    "trainer/config": "cluster.h recipe.h",
    "trainer/plan": "cluster.h cluster_plan.h exercise.h footprint.h plan.h",
    "trainer/inputs": "documents.h inputs.h problems.h",
    "trainer/run_directory": "checkpoint.h corrections.h files.h intact.h journal.h keep_best.h model_directory.h run_directory.h stage_model.h sums.h supervision.h",
    "trainer/update": "advantage.h leaf_gradients.h loss.h optimizer.h packing.h pipeline.h schedule.h step.h",
    "cli/bench": "options.h",
    "cli/inspect": "inspect.h records.h",
    "cli/job": "launch.h script.h state.h status.h stop.h supervise.h",
    "cli/line": "command.h options.h policy.h prompts.h rows.h",
    "cli/recipe": "plan.h run.h",
    "cli/program": "program.h",
    "cli/report": "report.h run.h",
    "rewards": "rule.h rules.h pool.h score.h statistics.h answer/answer.h sandbox/sandbox.h",
    "rewards/answer": "accuracy.h answer.h",
    "rewards/completion": "tags.h words.h",
    "rewards/math/algebra": "algebra.h ball.h exact.h expand.h names.h polynomial.h proof.h",
    "rewards/math": "math.h number.h latex/latex.h latex/unicode.h",
    "rewards/math/latex": "latex.h commands.h quantity_words.h unicode.h",
    "rewards/text": "format.h harmless.h instructions.h language.h shape.h",
}
MOST_FILES = 30
# The files that let LibTorch compute: CUDA's twin of the kernels, which says `not exact`, and the benchmark whose other side
# it is.
EXEMPT = {"model/torch_backend.cc", "cli/bench/product.cc"}

# First name after at::, torch:: or c10::. Types and constants; then functions.
SOURCE_NAMES = set("""
    Tensor TensorOptions ScalarType Device DeviceType DeviceIndex IntArrayRef ArrayRef Layout MemoryFormat Error
    kCPU kCUDA kPrivateUse1 kFloat kDouble kHalf kBFloat16 kFloat8_e4m3fn kByte kChar kInt kLong kBool
    Half BFloat16 Float8_e4m3fn InferenceMode NoGradGuard
    empty empty_like empty_strided zeros zeros_like from_blob for_blob elementSize toString
    set_num_threads set_num_interop_threads hasCUDA getNumGPUs
""".split())
# Structs of at::_ops, without the overload's name: empty stands for empty_memory_format too.
OPERATORS = set("""
    empty empty_like empty_strided zeros zeros_like resize_
    view reshape narrow slice select split unbind as_strided expand t transpose permute squeeze unsqueeze flatten
    alias detach contiguous copy_ _to_copy clone to item _local_scalar_dense fill_ zero_ is_pinned pin_memory
""".split())


# What changes a disk goes through core/files/disk.h: the C library's calls, std::filesystem's and streams'. write() is also that of
# standard output and of pipes; to open a file for it is looked for in the source (WRITING_FLAGS).
DISK_CALLS = re.compile(r"(?:p?writev?64|pwrite|pwritev|pwritev2|fsync|fdatasync|syncfs|sync_file_range|f?truncate(?:64)?|posix_fallocate(?:64)?|fallocate(?:64)?|"
                        r"rename|renameat2?|(?:un)?link(?:at)?|symlink(?:at)?|rmdir|mkdir(?:at)?|creat(?:64)?|mknod(?:at)?|mko?stemps?(?:64)?|mkdtemp|tmpfile(?:64)?|fopen(?:64)?|remove|"
                        r"_ZNSt10filesystem\d+(?:remove|remove_all|rename|create_\w*?|copy|copy_file|copy_symlink|resize_file|permissions|last_write_time)(?:RK|E|ER).*|"
                        r"_Z(?:N|T[TV])St1[34]basic_(?:of|f)streamIcSt11char_traitsIcEE.*)")
WRITING_FLAGS = re.compile(r"\bO_(?:CREAT|WRONLY|RDWR|APPEND|TRUNC|TMPFILE)\b")
# Not the run's disk: control groups and memory of the sandbox, a nameless file for rows that can be read only once.
ONLY_SCRATCH = ("rewards/sandbox/", "rewards/process/", "data/dataset/row_file.cc")


def rooms_of(root):
    """{room: (deps, uses LibTorch)} in the order of CMakeLists.txt, and faults in that order."""
    text = (root / "CMakeLists.txt").read_text()
    rooms, faults = {}, []
    for call in re.finditer(r"^\s*temper_(?:library|kernels)\(([^)]*)\)", text, re.M):
        words = re.sub(r"#.*", "", call.group(1)).split()
        room, deps, reading = words[0], [], False
        for word in words[1:]:
            if re.fullmatch(r"[A-Z]+", word):
                reading = word == "DEPS"
            elif reading:
                deps.append(word)
        line = text.count("\n", 0, call.start(1)) + 1
        for dep in deps:
            if dep not in rooms:
                faults.append(f"CMakeLists.txt:{line}: room {room} depends on {dep}, which is not above it in the list")
        rooms[room] = (set(deps), "TORCH" in words)
    return rooms, faults


def without_comments(text, strings):
    """The text with comments, and if asked string literals, blanked; lines stay where they are."""
    def blank(match):
        piece = match.group(0)
        if piece.startswith(("//", "/*")) or strings:
            return re.sub(r"[^\n]", " ", piece)
        return piece
    return re.sub(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9A-Fa-f])\'(?:\\.|[^\'\\\n])+\'', blank, text,
                  flags=re.S)


def include_fault(root, rooms, path, included):
    room, deps = path.parts[0], rooms[path.parts[0]][0]
    first = included.split("/")[0]
    if LIBTORCH_HEADER.match(included):
        return None if rooms[room][1] else f"room {room} must do without LibTorch"
    if included in ONLY_IN_COMM:
        return None if room == "comm" else f"only comm may include {included}"
    if "/" not in included or included.startswith("."):
        if (root / path.parent / included).exists():
            return f'"{included}" does not start at the root'
        return None
    if first == "tests":
        return f"room {room} must not include tests"
    if first not in rooms or first == room:
        return None
    if first not in deps:
        return f"room {room} must not include {first}/: below it are {' '.join(sorted(deps)) or 'no rooms'}"
    if room == "trainer" and first == "rollout" and path.with_suffix("").as_posix().removeprefix("trainer/") not in TRAINER_ABOVE_ROLLOUT:
        return f"of trainer only {', '.join(TRAINER_ABOVE_ROLLOUT)} may include rollout/"
    return None


def door_fault(rooms, path, included):
    """What is wrong with an include of a folder's header from outside of the folder; None if nothing is."""
    header = Path(included)
    if header.parts[0] not in rooms:
        return None
    for folder in reversed(header.parents[:-1]):
        if path.is_relative_to(folder):
            continue
        doors = DOORS.get(folder.as_posix(), folder.name + ".h").split()
        inside = header.relative_to(folder)
        if inside.as_posix() not in doors and f"{inside.parts[0]}/" not in doors:
            return f"{included} is not seen from outside of {folder}/: its doors are {' '.join(doors)}"
    return None


def folder_faults(root, room):
    """Faults of the folders of a room: too many files, names that say the folder's again, and two that include each other."""
    crossings = {}  # (folder, another beside it): where the one includes the other
    for folder in [root / room, *sorted(path for path in (root / room).glob("**/*") if path.is_dir())]:
        files = sorted(path for path in folder.iterdir() if path.is_file())
        name = folder.relative_to(root)
        if len(files) > MOST_FILES:
            yield f"{name}:1: {len(files)} files are in it: {MOST_FILES} is the limit"
        for path in files:
            if path.name.startswith(folder.name + "_"):
                yield f"{path.relative_to(root)}:1: its name begins with that of its folder"
            for match in re.finditer(rf'^#include "({room}/[^"]+)"', path.read_text(errors="replace"), re.M):
                ours, theirs = path.relative_to(root).parts[:-1], Path(match.group(1)).parts[:-1]
                same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(ours, theirs)))
                if same < min(len(ours), len(theirs)):
                    crossings.setdefault(("/".join(ours[:same + 1]), "/".join(theirs[:same + 1])), path.relative_to(root))
    for (one, other), path in sorted(crossings.items()):
        if one < other and (other, one) in crossings:
            yield f"{path}:1: {one}/ and {other}/ include each other, the other way in {crossings[other, one]}"


def source_faults(root, rooms, path):
    text = (root / path).read_text(errors="replace")

    def line_of(match, source):
        return source.count("\n", 0, match.start()) + 1

    code = without_comments(text, strings=False)
    for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*["<]([^">]+)[">]', code, re.M):
        fault = include_fault(root, rooms, path, match.group(1)) or door_fault(rooms, path, match.group(1))
        if fault:
            yield f"{path}:{line_of(match, code)}: {fault}"
    if not path.as_posix().startswith(("core/files/", *ONLY_SCRATCH)):
        for match in re.finditer(WRITING_FLAGS, code):
            if not re.search(r'"/dev/null"|TheDisk\(\)\.Open\(', code.splitlines()[line_of(match, code) - 1]):
                yield f"{path}:{line_of(match, code)}: opens a file to write: what changes a disk goes through core/files/disk.h"
    if path.as_posix() in EXEMPT or not rooms[path.parts[0]][1]:
        return
    code = without_comments(text, strings=True)
    for match in re.finditer(r"\b(?:using\s+namespace\s+|namespace\s+\w+\s*=\s*)(?:::)?(?:at|torch|c10)\b", code):
        yield f"{path}:{line_of(match, code)}: LibTorch's names are written out (at::Tensor), or this check is blind"
    for match in re.finditer(r"(?<![\w:])(?:::)?(at|torch|c10)\s*::\s*(\w+)", code):
        if match.group(2) not in SOURCE_NAMES:
            yield (f"{path}:{line_of(match, code)}: {match.group(1)}::{match.group(2)} is not among the names of LibTorch that only "
                   "allocate, view, copy or cast: use kernels/, or model/torch_backend.cc for CUDA")


def operator_of(symbol):
    """The struct of at::_ops in a mangled name: _ZN2at4_ops3mmx4callE... -> mmx; None if it is none."""
    match = re.match(r"_ZN2at4_ops(\d+)", symbol)
    return symbol[match.end():match.end() + int(match.group(1))] if match else None


def permitted(operator):
    return any(operator == name or operator.startswith(name + "_") for name in OPERATORS)


def compiled_faults(root, rooms, build):
    """Faults of the objects in a build directory, by relocation; None if there is not one object of a LibTorch room."""
    commands = build / "compile_commands.json"
    faults, seen = [], 0
    for entry in json.loads(commands.read_text()) if commands.exists() else []:
        output = re.search(r" -o (CMakeFiles/temper_(\w+)\.dir/\S+)", entry["command"])
        room = output and ("cli" if output.group(2) == "bench" else output.group(2))  # temper_bench is the room's second program
        if not output or room not in rooms or not (build / output.group(1)).exists():
            continue
        seen += rooms[room][1]
        source = os.path.relpath(entry["file"], root)  # or several of a room, but none of EXEMPT (cmake/Temper.cmake)
        faults += object_faults(root, source, build / output.group(1), rooms[room][1] and source not in EXEMPT)
    return faults if seen else None


def object_faults(root, source, obj, looks_at_libtorch):
    listing = subprocess.run(["readelf", "-rW", str(obj)], capture_output=True, text=True, check=True).stdout
    section, found = "", set()
    for line in listing.splitlines():
        heading = re.match(r"Relocation section '\.rela?(\.text[^']*)'", line)
        if line.startswith("Relocation section"):
            section = heading.group(1) if heading else ""
        words = line.split()
        if section and len(words) >= 5 and DISK_CALLS.fullmatch(words[4]):
            where = place(root, obj, section, words[0]) or source
            if not where.startswith(("core/files/disk.cc", *ONLY_SCRATCH)):
                found.add(f"{where}: calls {words[4]}: what changes a disk goes through core/files/disk.h")
        if not looks_at_libtorch or not section or len(words) < 5 or not words[4].startswith("_ZN2at"):
            continue
        operator = operator_of(words[4])
        direct = re.match(r"_ZN2at(6native|3cpu|4cuda4blas)", words[4])
        if direct or (operator is not None and not permitted(operator)):
            where = place(root, obj, section, words[0]) or source
            found.add(f"{where}: calls LibTorch's {operator or words[4]}, which is not among the operators that only allocate, view, "
                      "copy or cast")
    return sorted(found)


def place(root, obj, section, offset):
    """FILE:LINE of our own code at an offset: the innermost inlined frame that lies in the tree."""
    frames = subprocess.run(["addr2line", "-i", "-e", str(obj), "-j", section, hex(max(int(offset, 16) - 1, 0))], capture_output=True,
                            text=True).stdout.splitlines()
    for frame in frames:
        file, _, line = frame.partition(":")
        try:
            return f"{Path(os.path.normpath(file)).relative_to(root.resolve())}:{line.split()[0]}"
        except (ValueError, IndexError):
            continue
    return None


def check(root, build=None):
    rooms, faults = rooms_of(root)
    if not rooms:
        faults.append("CMakeLists.txt:1: no temper_library in it")
    files = 0
    for room in rooms:
        faults += folder_faults(root, room) if (root / room).is_dir() else []
        for path in sorted((root / room).glob("**/*")):
            if path.suffix in (".h", ".c", ".cc", ".cu", ".cuh", ".inc"):
                files += 1
                faults += source_faults(root, rooms, path.relative_to(root))
    if not files:
        faults.append("CMakeLists.txt:1: the rooms hold no source")
    if build is not None:
        compiled = compiled_faults(root, rooms, build)
        if compiled is None:
            faults.append(f"{build}:1: holds no object of a room that uses LibTorch: build first")
        faults += compiled or []
    return faults


GOOD = {
    "CMakeLists.txt": "temper_library(core LINK x)\ntemper_library(data DEPS core)\ntemper_kernels(kernels DEPS core)\ntemper_library(comm DEPS core TORCH)\n"
                      "temper_library(model DEPS kernels comm data core TORCH)\ntemper_library(rollout DEPS model core TORCH\n  LINK core_x)\n"
                      "temper_library(trainer DEPS rollout model core TORCH)\ntemper_library(cli DEPS trainer core TORCH)\n",
    "core/a.h": '#include "absl/strings/str_cat.h"\n#include <vector>\n#include "core/b.h"\n',
    "comm/mpi.cc": "#include <mpi.h>\n",
    "data/zebra/a.cc": '#include "data/chat/chat.h"\n',
    "data/trajectory.cc": '#include "data/chat/chat.h"\n',
    "data/chat/chat.cc": '#include "data/tokenizer/tokenizer.h"\n#include "data/chat/other.h"\n#include "data/trajectory.h"\n',
    "data/chat/jinja/parser.cc": '#include "data/chat/other.h"\n#include "data/chat/jinja/lexer.h"\n',
    "model/a.cc": '#include "kernels/backend.h"\n#include "data/tokenizer/tokenizer.h"\n#include "ATen/core/Tensor.h"\n// at::matmul would not do; include "trainer/x.h"\n'
                  'at::Tensor x = at::empty({1}, at::kFloat); const char* s = "at::sum"; char q = \'"\'; // at::mm\n'
                  "int64_t n = 1'000'000; ::at::Tensor y;\n",
    "model/torch_backend.cc": "at::Tensor y = at::matmul(a, b);\n",
    "cli/bench/product.cc": "at::Tensor y = at::linear(a, b);\n",
    "trainer/rl.cc": '#include "rollout/engine.h"\n',
    "trainer/update/step.cc": '#include "model/causal_lm.h"\n',
}
# file, its text, the line and a part of what must be said of it.
BAD = [
    ("core/bad.h", '\n#include "kernels/gemm.h"\n', 2, "room core must not include kernels/"),
    ("core/bad.h", "#include <ATen/ATen.h>\n", 1, "room core must do without LibTorch"),
    ("kernels/cpu/bad.cc", '#include "torch/types.h"\n', 1, "room kernels must do without LibTorch"),
    ("comm/bad.h", '# include "model/a.h"\n', 1, "room comm must not include model/"),
    ("model/bad.cc", '/* two\nlines */ int x;\n#include "trainer/update/step.h"\n', 3, "room model must not include trainer/"),
    ("model/bad.cc", "#include <mpi.h>\n", 1, "only comm may include mpi.h"),
    ("model/bad.cc", '\n#include "data/tokenizer/json.h"\n', 2, "data/tokenizer/json.h is not seen from outside of data/tokenizer/: "),
    ("model/bad.cc", '#include "data/chat/chat.h"\n', 1, "data/chat/chat.h is not seen from outside of data/: "),
    ("model/bad.cc", '#include "kernels/gemm.h"\n', 1, "kernels/gemm.h is not seen from outside of kernels/: "),
    ("data/bad.h", '#include "data/tokenizer/json.h"\n', 1, "is not seen from outside of data/tokenizer/: its doors are tokenizer.h"),
    ("data/tasks/bad.cc", '#include "data/chat/jinja/jinja.h"\n', 1, "is not seen from outside of data/chat/: its doors are chat.h"),
    ("data/tokenizer/tokenizer_json.h", "", 1, "begins with that of its folder"),
    ("data/chat/bad.cc", '#include "data/tokenizer/tokenizer.h"\n#include "data/zebra/zebra.h"\n', 1,
     "data/chat/ and data/zebra/ include each other"),
    ("model/bad.cc", '#include "a.cc"\n', 1, "does not start at the root"),
    ("model/bad.cc", '#include "tests/model/x.h"\n', 1, "must not include tests"),
    ("trainer/update/step.h", '#include "rollout/engine.h"\n', 1, "of trainer only rl, rl_metrics, collect, recipe, evaluation, sampling, plan/plan, plan/cluster_plan, plan/exercise"),
    ("model/bad.cc", 'int i;  // "\nauto y = at::matmul(a, b);\n', 2, "at::matmul is not among"),
    ("rollout/bad.h", "auto y = ::torch::softmax(x);\n", 1, "torch::softmax is not among"),
    ("trainer/bad.cc", "auto y =\n    at::native::sum(x);\n", 2, "at::native is not among"),
    ("cli/bench/model.cc", "auto y = at::linear(a, b);\n", 1, "at::linear is not among"),
    ("trainer/bad.cc", "\nint f = open(path, O_CREAT | O_RDWR);\n", 2, "opens a file to write: what changes a disk goes through"),
    ("trainer/bad.cc", "using namespace at;\n", 1, "names are written out"),
    ("trainer/bad.cc", "namespace t = torch;\n", 1, "names are written out"),
    ("CMakeLists.txt", "temper_library(core DEPS kernels)\ntemper_kernels(kernels)\n", 1, "room core depends on kernels"),
    ("CMakeLists.txt", "project(x)\n", 1, "no temper_library"),
]
# A stand-in for LibTorch's header, so that the self-test needs no LibTorch; the object of model/b.cc is looked at.
LIBTORCH = """
namespace at { struct Tensor {}; namespace _ops {
struct mul_Tensor { static Tensor call(const Tensor&, const Tensor&); };
struct empty_memory_format { static Tensor call(); };
} inline Tensor operator*(const Tensor& a, const Tensor& b) { return _ops::mul_Tensor::call(a, b); }
inline Tensor empty() { return _ops::empty_memory_format::call(); } }
"""
COMPILED_GOOD = "\nat::Tensor F() { return at::empty(); }\n"
COMPILED_BAD = "\nat::Tensor F(at::Tensor a) {\n  return a * a;\n}\n"
COMPILED_WRITING = '\nextern "C" int rename(const char*, const char*);\nint F() { return rename("a", "b"); }\n'


def self_test():
    def tree(files):
        folder = tempfile.TemporaryDirectory()
        for name, text in files.items():
            path = Path(folder.name, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return folder

    wrong = []
    with tree(GOOD) as folder:
        wrong += [f"a good tree has faults: {fault}" for fault in check(Path(folder))]
    for name, text, line, message in BAD:
        with tree({**GOOD, name: text}) as folder:
            faults = check(Path(folder))
        if not any(fault.startswith(f"{name}:{line}: ") and message in fault for fault in faults):
            wrong.append(f"{name}: '{message}' was not found at line {line}, only: {faults}")
    with tree({**GOOD, **{f"data/zebra/{i}.h": "" for i in range(MOST_FILES)}}) as folder:
        if check(Path(folder)) != [f"data/zebra:1: {MOST_FILES + 1} files are in it: {MOST_FILES} is the limit"]:
            wrong.append("a folder with too many files passes")
    for operator, answer in (("empty_memory_format", True), ("copy_", True), ("fill__Scalar", True), ("to_dtype", True), ("sum", False),
                             ("matmul", False), ("tanh", False), ("transpose_int", True), ("copy", False), ("zeros_like", True)):
        if permitted(operator) != answer:
            wrong.append(f"operator {operator} must {'' if answer else 'not '}be permitted")
    for body, expected in ((COMPILED_GOOD, None), (COMPILED_BAD, "model/b.cc:3: calls LibTorch's mul_Tensor"),
                           (COMPILED_WRITING, "model/b.cc:3: calls rename: what changes a disk goes through core/files/disk.h")):
        with tree({**GOOD, "model/b.cc": body}) as folder, tree({"ops.h": LIBTORCH}) as outside:
            root = Path(folder).resolve()
            objects = root / "build/CMakeFiles/temper_model.dir/model"
            objects.mkdir(parents=True)
            subprocess.run([os.environ.get("CXX", "g++"), "-O2", "-g1", "-include", f"{outside}/ops.h", "-c", str(root / "model/b.cc"),
                            "-o", str(objects / "b.cc.o")], check=True)
            (root / "build/compile_commands.json").write_text(
                json.dumps([{"file": str(root / "model/b.cc"), "command": "c++ -o CMakeFiles/temper_model.dir/model/b.cc.o"}]))
            faults = check(root, root / "build")
        if [fault.split(",")[0] for fault in faults] != ([expected] if expected else []):
            wrong.append(f"of an object was expected: {expected}; found: {faults}")
    with tree(GOOD) as folder:
        if not check(Path(folder), Path(folder) / "build"):
            wrong.append("a build directory without objects passes")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--objects", type=Path, metavar="BUILD_DIR")
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    faults = self_test() if arguments.self_test else check(arguments.root.resolve(), arguments.objects)
    for fault in faults:
        print(fault)
    if arguments.self_test and not faults:
        print(f"self-test: {len(BAD)} bad trees and two bad objects were found out, good ones passed")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
