#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/dataset/parquet_case.parquet and the rows that temper must read out of it (parquet_case.jsonl).

Usage: parquet_case.py     Needs: pyarrow (scripts/install --all; run it with that python). Costs: a second.
"""
import datetime
import decimal
import json
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

folder = pathlib.Path(__file__).parent
message = pa.struct([("role", pa.string()), ("content", pa.string())])
schema = pa.schema([
    ("problem", pa.string()), ("prompt", pa.list_(message)), ("extra_info", pa.struct([("index", pa.int64()), ("split", pa.string())])),
    ("level", pa.int8()), ("big", pa.uint64()), ("pass_rate", pa.float64()), ("score", pa.float32()), ("ok", pa.bool_()),
    ("raw", pa.binary()), ("tags", pa.large_list(pa.large_string())), ("source", pa.dictionary(pa.int32(), pa.string())),
    ("when", pa.timestamp("ms")), ("price", pa.decimal128(6, 2)), ("counts", pa.map_(pa.string(), pa.int32()))])
rows = [
    dict(problem='2 + "2"\n?', prompt=[dict(role="user", content="two")], extra_info=dict(index=0, split="test"), level=-3,
         big=2**64 - 1, pass_rate=0.1, score=0.25, ok=True, raw=b"a\x00b", tags=["x", None], source="gsm8k",
         when=datetime.datetime(2025, 1, 20, 12, 0, 1), price=decimal.Decimal("12.50"), counts=[("a", 1), ("b", 2)]),
    dict(problem="à 数 \U0001F600", prompt=[], extra_info=None, level=None, big=0, pass_rate=float("nan"), score=None, ok=False,
         raw=None, tags=[], source="math", when=None, price=None, counts=[]),
    dict(problem="", prompt=None, extra_info=dict(index=None, split=""), level=7, big=1, pass_rate=1e300, score=-0.5, ok=None,
         raw=b"\xff", tags=None, source="gsm8k", when=None, price=None, counts=None)]
table = pa.Table.from_pylist(rows, schema=schema)
pq.write_table(table, folder / "parquet_case.parquet", compression="zstd", row_group_size=2)


def plain(value, name):
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ", "milliseconds")
    if isinstance(value, decimal.Decimal):
        return str(value)
    if name == "counts" and value is not None:
        return dict(value)
    return value


with open(folder / "parquet_case.jsonl", "w", encoding="utf-8") as out:
    for row in table.to_pylist():
        out.write(json.dumps({k: plain(v, k) for k, v in row.items()}, ensure_ascii=False) + "\n")
