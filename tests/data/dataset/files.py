#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Dataset files as people make them: what datasets, pandas and pyarrow write by default, temper reads as they read it.

  dataset_files.py TEMPER
Rows with lists, records, chats, times, nulls, categories, whole numbers beyond 2^53 and decimals are written by each library's
own to_json, to_parquet or write_table. A judge (rule process) is sent each row as `temper eval` has read it, and keeps it; it must
be what the library gives back, a time as its text. Exits 77 (skipped) where a library is absent. Costs: 10 s.
"""
import datetime
import json
import os
import subprocess
import sys
import tempfile

python = os.environ.get("TEMPER_PEERS_PYTHON")
if python and "TEMPER_PARITY" not in os.environ:
    os.execve(python, [python, *sys.argv], {**os.environ, "TEMPER_PARITY": "1"})
try:
    import datasets
    import pandas
    import pyarrow
    import pyarrow.parquet
except ImportError as error:
    print(f"skipped: {error} (scripts/install --all)")
    sys.exit(77)

JUDGE = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    with open(sys.argv[1], "a") as kept:
        kept.write(json.dumps(asked["row"]) + "\\n")
    print(json.dumps({"id": asked["id"], "score": 1.0}), flush=True)
"""
TIME = datetime.datetime(2025, 1, 20, 12, 30, 1, 250000)
ROWS = [
    {"question": "2 + 3?", "answer": 5, "level": 1.0, "tags": ["a", "b"], "extra": {"source": "x", "index": 1}, "when": TIME, "hard": True,
     "options": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "5"}]},
    {"question": "1 + é 数?", "answer": 2**53 + 1, "level": 0.1, "tags": [], "extra": {"source": "y", "index": None}, "when": None, "hard": False,
     "options": [{"role": "user", "content": ""}]},
    {"question": "\"quoted\"\nlines", "answer": -7, "level": 1e20, "tags": ["c"], "extra": {"source": "", "index": 3}, "when": TIME, "hard": True,
     "options": []}]


def write_all(folder):
    """file -> its rows as the library that wrote it reads them."""
    read = {}

    def keep(name, rows):
        read[os.path.join(folder, name)] = rows
        return os.path.join(folder, name)

    def lines(path):
        with open(path) as file:
            return [json.loads(line) for line in file]

    def table(path):
        return pyarrow.parquet.read_table(path).to_pylist()

    data, frame = datasets.Dataset.from_list(ROWS), pandas.DataFrame(ROWS)
    for name, write, back in (
            ("datasets.jsonl", data.to_json, lines), ("datasets.parquet", data.to_parquet, table),
            ("pandas.jsonl", lambda path: frame.to_json(path, orient="records", lines=True), lines),
            ("pandas.json", lambda path: frame.to_json(path, orient="records"), lambda path: json.load(open(path))),
            ("pandas_indented.json", lambda path: frame.to_json(path, orient="records", indent=2), lambda path: json.load(open(path))),
            ("pandas.parquet", frame.to_parquet, table),
            ("categories.parquet", frame.astype({"question": "category"}).to_parquet, table)):
        path = keep(name, None)
        write(path)
        read[path] = back(path)
    wide = pyarrow.table({
        "question": pyarrow.array([row["question"] for row in ROWS], pyarrow.large_string()),
        "answer": pyarrow.array([0.5, 1e20, 0.1]),
        "options": pyarrow.array([["a", None], None, []], pyarrow.large_list(pyarrow.string())),
        "day": pyarrow.array([TIME.date()] * 3)})
    for codec in ("snappy", "gzip", "zstd", "none"):
        path = keep(f"{codec}.parquet", wide.to_pylist())
        pyarrow.parquet.write_table(wide, path, compression=codec)
    return read


def plain(value):
    """As JSON has it, keys that are null left out on both sides: a library may fill them in."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ", "microseconds")
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value


def main():
    program = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        model, judge = os.path.join(folder, "model"), os.path.join(folder, "judge.py")
        subprocess.run([program, "init", "configs/tiny/base", "--out", model], check=True, stdout=subprocess.DEVNULL)
        with open(judge, "w") as file:
            file.write(JUDGE)
        faults = 0
        for path, rows in write_all(folder).items():
            seen = path + ".seen"
            command = json.dumps([sys.executable, judge, seen])
            done = subprocess.run([program, "eval", "--model", model, "--data", path, "--k", "1", "--max-new-tokens", "1",
                                   "--rule", "process", "--set", f"process.command={command}"], capture_output=True, text=True)
            got = [json.loads(line) for line in open(seen)] if os.path.exists(seen) else []
            order = lambda row: row["question"]  # judges get the shortest prompts first
            equal = sorted(map(plain, got), key=order) == sorted(map(plain, rows), key=order)
            print(f"{os.path.basename(path)}: {len(got)} rows, {'as the library reads them' if equal else 'OTHERS than the library reads'}")
            if not equal:
                print(done.stderr[-2000:], *got, *map(plain, rows), sep="\n")
            faults += not equal
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
