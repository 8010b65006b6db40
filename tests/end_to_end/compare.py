"""What the scripts beside this share: what tshark reads, and records beside records."""

import json
import subprocess
import sys


def tshark(path):
    """What tshark reads in a file: trees of pairs, one for each message or frame."""
    # Records with names and labels have more than the 60 fields that it takes unasked.
    command = ["tshark", "-o", "cflow.max_template_fields:0", "-r", path, "-T", "json"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # A tree may have one name twice.
    return json.loads(said, object_pairs_hook=list)


def flows(pairs):
    """All flows in a tree."""
    for name, value in pairs:
        if isinstance(value, list) and value and isinstance(value[0], tuple):
            if name.startswith("Flow "):
                yield value
            else:
                yield from flows(value)


def leaves(pairs):
    for name, value in pairs:
        if isinstance(value, list):
            yield from leaves(value)
        else:
            yield name, value


def compare(theirs, ours):
    """Exits with 1 if there is a record that the others have not."""
    order = lambda record: json.dumps(record, sort_keys=True)
    theirs, ours = sorted(theirs, key=order), sorted(ours, key=order)
    for one, other in zip(theirs, ours):
        if one != other:
            sys.exit(f"it reads {order(one)}\nours is  {order(other)}")
    if len(theirs) != len(ours):
        sys.exit(f"it reads {len(theirs)} records of {len(ours)}")
