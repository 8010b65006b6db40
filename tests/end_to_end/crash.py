"""Reads all files of a folder by readers that are not ours, and says how many records each format
has in all: a JSON object. Fails if a file is not whole, or a record is there twice in a format.

Argument: the folder.
"""

import csv
import gzip
import json
import pathlib
import struct
import subprocess
import sys

import pyarrow.ipc
import pyarrow.parquet


def lines(text):
    if text and not text.endswith("\n"):
        sys.exit("half a line")
    return text.splitlines()


def json_keys(text):
    return [(row["flow_id"], row["part"]) for row in map(json.loads, lines(text))]


def csv_keys(text):
    return [(row["flow_id"], row["part"]) for row in csv.DictReader(lines(text))]


def table_keys(table):
    table.validate(full=True)
    columns = (table.column(name).to_pylist() for name in ("flow_id", "part"))
    return list(zip(*columns))


def ipfix_keys(data):
    """Numbers of data records, by the sequence numbers: there is one more message than counted."""
    place, sequence, keys = 0, 0, []
    while place < len(data):
        version, length, _, sequence = struct.unpack_from("!HHII", data, place)
        if version != 10 or place + length > len(data):
            sys.exit("half a message")
        place += length
        keys = list(range(sequence))
    return keys


def keys(path):
    name = path.name
    if name.endswith(".jsonl"):
        return json_keys(path.read_text())
    if name.endswith(".jsonl.zst"):
        run = subprocess.run(["zstd", "-dcq", path], check=True, stdout=subprocess.PIPE)
        return json_keys(run.stdout.decode())
    if name.endswith(".csv.gz"):
        return csv_keys(gzip.open(path, "rt", newline="").read())
    if name.endswith(".ipfix"):
        return ipfix_keys(path.read_bytes())
    if name.endswith(".parquet"):
        return table_keys(pyarrow.parquet.read_table(path))
    if name.endswith(".arrow"):
        return table_keys(pyarrow.ipc.open_file(path).read_all())
    sys.exit(f"what is {name}?")


counts = {}
seen = {}
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    kind = path.name.split(".", 1)[1]
    try:
        found = keys(path)
    except Exception as error:
        sys.exit(f"{path.name}: {error!r}")
    counts[kind] = counts.get(kind, 0) + len(found)
    if kind != "ipfix":
        before = seen.setdefault(kind, set())
        if len(before | set(found)) != counts[kind]:
            sys.exit(f"{path.name}: a record is there twice")
        before.update(found)
print(json.dumps(counts))
