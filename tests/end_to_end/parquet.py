"""Reads Parquet or Arrow files by readers that are not ours, and a JSON lines file of the same run,
and compares them.

Arguments: the JSON lines, the files, which have the records together. Parquet is read twice, by
pyarrow and by DuckDB. Prints how many records agree; exits with 1 if any does not.
"""

import json
import sys
import time

import duckdb
import pyarrow
import pyarrow.ipc
import pyarrow.parquet

TIMES = ("start", "end")


def written(nanoseconds):
    """As JSON lines have a time."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{fraction:09d}Z"


def present(value):
    """Without what is absent."""
    if isinstance(value, dict):
        return {name: present(inner) for name, inner in value.items() if inner is not None}
    return value


def record(row):
    row = present(row)
    return {name: written(value) if name in TIMES else value for name, value in row.items()}


def by_pyarrow(path):
    if path.endswith(".parquet"):
        table = pyarrow.parquet.read_table(path)
    else:
        table = pyarrow.ipc.open_file(path).read_all()
    table.validate(full=True)
    for name, kind in {
        "start": pyarrow.timestamp("ns", "UTC"),
        "src_ip": pyarrow.string(),
        "src_packets": pyarrow.uint64(),
        "src_port": pyarrow.uint64(),
    }.items():
        if table.schema.field(name).type != kind:
            sys.exit(f"{name} is {table.schema.field(name).type}")
    for name in TIMES:
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, table.column(name).cast(pyarrow.int64()))
    return [record(row) for row in table.to_pylist()]


def by_duckdb(path):
    times = ", ".join(f'epoch_ns("{name}") as "{name}"' for name in TIMES)
    said = duckdb.execute(f"select * replace ({times}) from read_parquet(?)", [path])
    names = [column[0] for column in said.description]
    return [record(dict(zip(names, row))) for row in said.fetchall()]


def order(record):
    return json.dumps(record, sort_keys=True)


def compare(reader, theirs, ours):
    theirs = sorted(theirs, key=order)
    for one, other in zip(theirs, ours):
        if one != other:
            sys.exit(f"{reader} reads {order(one)}\nours is {order(other)}")
    if len(theirs) != len(ours):
        sys.exit(f"{reader} reads {len(theirs)} records of {len(ours)}")


def main():
    with open(sys.argv[1], encoding="utf-8") as lines:
        ours = sorted((json.loads(line) for line in lines), key=order)
    files = sys.argv[2:]
    compare("pyarrow", [row for path in files for row in by_pyarrow(path)], ours)
    if files[0].endswith(".parquet"):
        compare("duckdb", [row for path in files for row in by_duckdb(path)], ours)
    print(len(ours))


main()
