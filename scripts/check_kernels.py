#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks how the kernels of kernels/cuda are written and compiled; prints FILE:LINE: and what is wrong, exits 1 if any.

1. Only sm90.h and sim.h know a compiler: elsewhere, in tests/kernels/gpu_check/device too, stand the words of device.h, no CUDA, no assembly, no intrinsic, no library's
   mathematics, and no number that has operators (float, double by value; .raw): what adds says how it rounds.
2. --compiled DIR, where nvcc left NAME.ptx and kept/NAME.fatbin (-keep) and NAME.log (-Xptxas -v): arithmetic on floats is add, sub, mul, div, rcp (which
   nvcc makes of 1 / x), fma and sqrt with .rn, the one step of a tensor core that is simulated, and nothing approximate; all is machine code for sm_90a, with no PTX beside it that
   a driver would compile again; no kernel spills; its registers, shared memory and local memory are no more, and the warps that a multiprocessor then has are no fewer, than
   resources.txt of the kernels' folder has for it, which has every kernel; and as many blocks as it asks for (kBlocks) fit. --write writes that file anew.
3. --self-test: made-up files with each fault, each of which must be found.

Usage: check_kernels.py [--root DIR] [--compiled DIR [--folder FOLDER] [--write]] | --self-test     Needs Python 3.9 and, for 2., c++filt. Takes a second.
"""
import argparse
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from check_layers import without_comments

FOLDER = Path("kernels/cuda")
FOLDERS = [FOLDER, Path("tests/kernels/gpu_check/device")]
COMPILER_FILES = {"sm90.h", "sim.h", "simulator.h", "simulator.cc", "stream.h", "device.h"}
SIMULATION = {"simulator", "memory"}  # .cc of the simulation's alone
FORBIDDEN = [
    (r"\b(?:threadIdx|blockIdx|blockDim|gridDim|warpSize)\b|<<<", "CUDA's own words"),
    (r"\b__\w+|\basm\b|\b_mm\w+", "an intrinsic, an attribute or assembly"),
    (r"\bcuda\w*(?=\s*\()|#\s*include\s*<(?:cuda|mma|cooperative)", "CUDA's library"),
    (r"\.\s*raw\b", "a number without its rounding"),
    (r"\b(?:float|double)\s+\w+\s*[=;,)({\[]", "a number that has operators: Float and Double have none"),
    (r"\b(?:std::)?(?:fmaf?|sqrtf?|expf?|logf?|powf?|rsqrtf?|sinf?|cosf?|tanhf?)\s*\(", "a library's mathematics"),
]
# Constants of both compilers.
PERMITTED = re.compile(r"\b__(?:builtin_(?:inff?|nan)|CUDACC__)\b|\boperator\b")
# What may stand on floats in PTX. setp, selp and mov do not compute.
OP = re.compile(r"^\s*(?:@\S+\s+)?([a-z]\w*(?:\.\w+)+)", re.M)
FLOAT = re.compile(r"\.(?:b?f16|b?f16x2|tf32|f32|f64)\b")
EXACT_OP = re.compile(r"(?:add|sub|mul|div|fma|sqrt|rcp)\.rn\.f(?:32|64)|(?:abs|neg)\.f(?:32|64)|"
                      r"mma\.sync\.aligned\.m16n8k16\.row\.col\.f32\.bf16\.bf16\.f32|cvt\.rn\.f(?:32|64)\.[su](?:32|64)|cvt\.rn\.f32\.f64|cvt\.f64\.[fsu]32|cvt\.rni\.(?:f32|f64|s32|s64)\.f(?:32|64)")
NOT_ARITHMETIC = re.compile(r"(?:setp|selp|slct|mov|ld|st|testp|shfl)\.")
KERNEL = re.compile(r"Compiling entry function '(\S+)' for '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads.*?"
                    r"Used (\d+) registers(?:.*?(\d+) bytes smem)?", re.S)


# Of a multiprocessor of sm_90 (CUDA C++ Programming Guide, compute capability 9.0).
REGISTERS, SHARED, WARPS, BLOCKS, SHARED_OF_SYSTEM = 65536, 228 * 1024, 64, 32, 1024


def source_faults(root):
    for path in sorted(path for folder in FOLDERS for path in (root / folder).glob("*")):
        if path.suffix not in (".cc", ".h") or path.name in COMPILER_FILES:
            continue
        code = without_comments(path.read_text(), strings=True)
        for pattern, what in FORBIDDEN:
            for match in re.finditer(pattern, code):
                if PERMITTED.match(match.group(0)):
                    continue
                yield f"{path.relative_to(root)}:{code.count(chr(10), 0, match.start()) + 1}: {match.group(0).strip()}: {what}"


def ptx_faults(path):
    text = path.read_text()
    for match in OP.finditer(text):
        op = match.group(1)
        if FLOAT.search(op) and not EXACT_OP.fullmatch(op) and not NOT_ARITHMETIC.match(op):
            yield f"{path.name}:{text.count(chr(10), 0, match.start()) + 1}: {op} is none of the operations whose bits a CPU has"
    for match in re.finditer(r"\b\w+\.approx[\w.]*|\b(?:ex2|lg2|tanh|sin|cos|rsqrt)\.[\w.]+|\brcp\.(?!rn\.)[\w.]+|\.ftz\b", text):
        yield f"{path.name}:{text.count(chr(10), 0, match.start()) + 1}: {match.group(0)} is an approximation"


def demangled(name):
    text = subprocess.run(["c++filt", name], capture_output=True, text=True, check=True).stdout.strip()
    text = re.sub(r"^void .*?Enter<|>\(.*$", "", text)
    return re.sub(r"temper::kernels::(?:sm90::)?|\(anonymous namespace\)::|(?<=\d)[uUlL]+", "", text).strip()


def sizes_of(ptx):
    """{mangled kernel: (threads of a block, blocks that shall fit on a multiprocessor)}"""
    text = ptx.read_text() if ptx.exists() else ""
    return {match.group(1): (int(match.group(2)), int(match.group(3)))
            for match in re.finditer(r"\.entry (\w+)\([^)]*\)\s*\.maxntid (\d+), 1, 1\s*\.minnctapersm (\d+)", text)}


def blocks_that_fit(threads, registers, shared):
    """On a multiprocessor: registers go to warps 256 at a time, shared memory to blocks 128 bytes at a time."""
    warps = threads // 32
    of_warp = (32 * registers + 255) // 256 * 256
    of_block = (shared + 127) // 128 * 128 + SHARED_OF_SYSTEM
    return min(BLOCKS, WARPS // warps, REGISTERS // of_warp // warps, SHARED // of_block)


def fatbin_faults(path):
    """Of what a program gets: a header (magic, version, its size, the size of all), then parts (kind, version, header's size, size, .., architecture)."""
    data = path.read_bytes()
    try:
        magic, _, at, size = struct.unpack_from("<IHHQ", data)
        end = at + size
        if magic != 0xBA55ED50 or len(data) < end:
            raise struct.error
        while at < end:
            kind, _, header, size = struct.unpack_from("<HHIQ", data, at)
            architecture = struct.unpack_from("<I", data, at + 28)[0]
            if header < 32:
                raise struct.error
            if kind != 2:
                yield f"{path.name}:1: holds PTX, which a driver would compile again"
            if architecture != 90:
                yield f"{path.name}:1: holds code for sm_{architecture}"
            at += header + size
    except struct.error:
        yield f"{path.name}:1: is no fatbin"


def resources_of(folder):
    """{(file, kernel): (registers, shared bytes, warps on a multiprocessor, local bytes)} and faults."""
    found, faults = {}, []
    for log in sorted(folder.glob("*.log")):
        blocks = log.read_text().split("ptxas info    : Compiling entry function ")[1:]
        sizes = sizes_of(log.with_suffix(".ptx"))
        for block in blocks:
            match = KERNEL.search("Compiling entry function " + block)
            if not match:
                faults.append(f"{log.name}:1: a kernel without its resources")
                continue
            name = demangled(match.group(1))
            if match.group(2) != "sm_90a":
                faults.append(f"{log.name}:1: {name} is compiled for {match.group(2)}, not for sm_90a")
            if match.group(4) != "0" or match.group(5) != "0":
                faults.append(f"{log.name}:1: {name} spills: {match.group(4)} bytes stored, {match.group(5)} loaded")
            local, registers, shared = int(match.group(3)), int(match.group(6)), int(match.group(7) or 0)
            if match.group(1) not in sizes:
                faults.append(f"{log.name}:1: {name} does not say how many threads it has")
                continue
            threads, wanted = sizes[match.group(1)]
            fit = blocks_that_fit(threads, registers, shared)
            if fit < wanted:
                faults.append(f"{log.name}:1: {name}: {fit} blocks fit on a multiprocessor, not {wanted}")
            found[log.stem, name] = (registers, shared, fit * threads // 32, local)
    return found, faults


def table_of(path):
    """Its kernels, and faults."""
    table, faults = {}, []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        try:
            file, kernel, *numbers = map(str.strip, line.split("|"))
            table[file, kernel] = tuple(map(int, numbers))
        except ValueError:
            faults.append(f"{path.name}:{number}: is no line of file | kernel | numbers: --write")
    return table, faults


def table_text(resources):
    head = ("# What each kernel takes on sm_90a: file | kernel | registers of a thread, at most | bytes of shared memory of a block, at most |\n"
            "# warps on a multiprocessor, of 64, at least | bytes of local memory of a thread, at most.\n"
            "# Written by scripts/check_kernels.py --compiled DIR --write (nvcc 13.0), which compares it in preset gpu.\n")
    return head + "".join(" | ".join(map(str, (*kernel, *numbers))) + "\n" for kernel, numbers in sorted(resources.items()))


def compiled_faults(root, folder, write, of=FOLDER):
    """Of what nvcc left in a folder of the kernels that are in `of`."""
    names = {path.stem for path in (root / of).rglob("*.cc")} - SIMULATION
    missing = [name for name in sorted(names) if not (folder / f"{name}.ptx").exists() or not (folder / f"{name}.log").exists()]
    faults = [f"{folder}:1: {name} was not compiled here" for name in missing]
    for ptx in sorted(folder.glob("*.ptx")):
        faults += ptx_faults(ptx)
    for name in sorted(names):
        fatbin = folder / "kept" / f"{name}.fatbin"
        faults += fatbin_faults(fatbin) if fatbin.exists() else [f"{fatbin}:1: was not kept"]
    found, more = resources_of(folder)
    faults += more
    table = root / of / "resources.txt"
    if write:
        table.write_text(table_text(found))
    limits, more = table_of(table) if table.exists() else ({}, [])
    faults += more
    for key, numbers in sorted(found.items()):
        if len(limits.get(key, ())) != len(numbers):
            faults.append(f"{of}/resources.txt:1: {key[0]} | {key[1]} is not in it whole: --write")
            continue
        for what, number, limit, is_worse in zip(("registers", "bytes of shared memory", "warps on a multiprocessor", "bytes of local memory"),
                                                 numbers, limits[key], (int.__gt__, int.__gt__, int.__lt__, int.__gt__)):
            if is_worse(number, limit):
                faults.append(f"{of}/resources.txt:1: {key[0]} | {key[1]} has {number} {what}, and {limit} there")
    faults += [f"{of}/resources.txt:1: {key[0]} | {key[1]} is no kernel: --write" for key in sorted(limits) if key not in found]
    return faults


BAD_SOURCES = ["int t = threadIdx.x;", "Float a = {__fmaf_rn(x.raw, y.raw, z.raw)};", "asm volatile(\"\");", "x.raw = 1;", "float x = a * b;",
               "void F(float x);", "y = expf(x);", "Enter<<<1, 32>>>(a);", "cudaMalloc(&p, 4);", "const double d = 1.0;"]
GOOD_SOURCES = ["const Global<const float> x = a.x.Row(0);  // float x = 1", "const float *cosines, *sines;", "Set(__builtin_inff());",
                "Float e = Exp(x);", "Float q = Sqrt(x);"]
BAD_PTX = ["\tex2.approx.f32 %f1, %f2;", "\tadd.f32 %f1, %f2, %f3;", "\tmad.f32 %f1, %f2, %f3, %f4;", "\tfma.rn.ftz.f32 %f1, %f2, %f3, %f4;",
           "\t@%p1 rsqrt.approx.f32 %f1, %f2;", "\tfma.rz.f32 %f1, %f2, %f3, %f4;", "\tmax.f32 %f1, %f2, %f3;", "\tcvt.rzi.s32.f32 %r1, %f2;",
           "\trcp.approx.f32 %f1, %f2;", "\trcp.rz.f32 %f1, %f2;",
           "\tmma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f1}, {%r1}, {%r2}, {%f1};"]
GOOD_PTX = ["\tfma.rn.f32 %f1, %f2, %f3, %f4;", "\tsetp.lt.f32 %p1, %f1, %f2;", "\tld.global.v4.f32 {%f1}, [%rd1];", "\tdiv.rn.f32 %f1, %f2, %f3;", "\trcp.rn.f64 %f1, %f2;",
            "\tcvt.rni.f32.f32 %f1, %f2;", "\tcvt.rni.s32.f32 %r1, %f2;",
            "\tmma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f1}, {%r1}, {%r2}, {%f1};"]
ENTRY = ".visible .entry _Z1fv(\n\t.param .u32 p\n)\n{entry}\n{{\n"
LOG = ("ptxas info    : Compiling entry function '_Z1fv' for '{arch}'\nptxas info    : Function properties for _Z1fv\n"
       "    {local} bytes stack frame, {spill} bytes spill stores, 0 bytes spill loads\nptxas info    : Used {registers} registers, {shared} bytes smem\n")
PART = struct.pack("<HHIQIII", 2, 0x101, 32, 4, 0, 0, 0) + struct.pack("<I", 90) + b"code"


def fatbin(*parts):
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, sum(map(len, parts))) + b"".join(parts)


FATBINS = [(fatbin(PART), False), (fatbin(PART, PART), False), (fatbin(PART, b"\1" + PART[1:]), True),
           (fatbin(PART, PART[:28] + struct.pack("<I", 80) + PART[32:]), True), (b"x" + fatbin(PART), True), (b"", True), (fatbin(PART)[:-1], True),
           (fatbin(PART[:20]), True), (fatbin(PART, bytes(32)), True)]


def self_test():
    failures = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / FOLDER).mkdir(parents=True)
        source, compiled = root / FOLDER / "made_up.cc", root / "compiled"
        (compiled / "kept").mkdir(parents=True)
        kept = compiled / "kept" / "made_up.fatbin"
        for text, bad in [(text, True) for text in BAD_SOURCES] + [(text, False) for text in GOOD_SOURCES]:
            source.write_text(text + "\n")
            if bool(list(source_faults(root))) != bad:
                failures.append(f"source, {'not found' if bad else 'found'}: {text}")
        source.write_text("")
        cases = [(text, {}, True) for text in BAD_PTX] + [(text, {}, False) for text in GOOD_PTX]
        cases += [("", {"arch": "sm_90"}, True), ("", {"spill": 8}, True), ("", {"registers": 41}, True), ("", {"registers": 40}, False),
                  ("", {"shared": 65}, True), ("", {"local": 17}, True), ("", {"entry": ".maxntid 512"}, True),
                  ("", {"entry": ".maxntid 256, 1, 1\n.minnctapersm 8"}, True), ("", {"entry": ".maxntid 1024, 1, 1\n.minnctapersm 1"}, True)]
        kept.write_bytes(FATBINS[0][0])
        for text, log, bad in cases:
            (compiled / "made_up.ptx").write_text(ENTRY.format(**{"entry": ".maxntid 256, 1, 1\n.minnctapersm 6", **log}) + text + "\n")
            (compiled / "made_up.log").write_text(LOG.format(**{"arch": "sm_90a", "spill": 0, "registers": 40, "shared": 64, "local": 16, **log}))
            (root / FOLDER / "resources.txt").write_text(table_text({("made_up", "f()"): (40, 64, 48, 16)}))
            if bool(compiled_faults(root, compiled, False)) != bad:
                failures.append(f"compiled, {'not found' if bad else 'found'}: {text.strip()} {log} {compiled_faults(root, compiled, False)}")
        for number, (data, bad) in enumerate(FATBINS):
            kept.write_bytes(data)
            if bool(list(fatbin_faults(kept))) != bad:
                failures.append(f"fatbin {number}, {'not found' if bad else 'found'}")
        kept.write_bytes(FATBINS[0][0])
        (root / FOLDER / "resources.txt").write_text(table_text({("made_up", "g()"): (40, 64, 48, 16)}))
        if len(compiled_faults(root, compiled, False)) != 2:
            failures.append("compiled: a kernel that is not in the table, and one that is there alone")
        (root / FOLDER / "resources.txt").write_text("made_up | f() | 40 | 64 | 32 | 16\nmade_up | f() | many\nmade_up\n")
        if len(compiled_faults(root, compiled, False)) != 2:
            failures.append("compiled: two lines of the table that are none")
        (root / FOLDER / "driver").mkdir()
        (root / FOLDER / "driver" / "left_out.cc").write_text("")
        if len(compiled_faults(root, compiled, False)) != 4:
            failures.append("compiled: a file of the driver that was not compiled, and whose fatbin was not kept")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--compiled", type=Path)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    args = parser.parse_args()
    faults = self_test() if args.self_test else list(source_faults(args.root))
    if args.compiled:
        faults += compiled_faults(args.root, args.compiled, args.write, args.folder)
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
