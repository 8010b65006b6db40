"""Computes the statistics of lengths and inter-arrival times from a capture, packet by packet,
and compares them with the records of a run.

Arguments: a classic pcap file of TCP and UDP over Ethernet, the JSON lines and the CSV of the
run. Which packets a record has is told by their order: flows of the same ends follow each
other, and so do the parts of a flow. Prints how many records agree; exits with 1 if any does not.
"""

import csv
import decimal
import ipaddress
import json
import struct
import sys

decimal.getcontext().prec = 60
EDGES = [16, 32, 64, 128, 256, 512, 1024]


def packets(path):
    """Time in ns, key of both ends, sender, and IP length of each packet."""
    data = open(path, "rb").read()
    unit = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}[struct.unpack_from("<I", data)[0]]
    at = 24
    while at < len(data):
        seconds, fraction, captured, _ = struct.unpack_from("<IIII", data, at)
        frame = data[at + 16 : at + 16 + captured]
        at += 16 + captured
        here, vlans = 12, []
        while (kind := struct.unpack_from(">H", frame, here)[0]) in (0x8100, 0x88A8):
            vlans.append(struct.unpack_from(">H", frame, here + 2)[0] & 0xFFF)
            here += 4
        here += 2
        if kind == 0x0800:
            length = struct.unpack_from(">H", frame, here + 2)[0]
            protocol, ends, above = frame[here + 9], frame[here + 12 : here + 20], here
            above += (frame[here] & 15) * 4
        elif kind == 0x86DD:
            length = 40 + struct.unpack_from(">H", frame, here + 4)[0]
            protocol, ends, above = frame[here + 6], frame[here + 8 : here + 40], here + 40
        else:
            continue
        if protocol not in (6, 17):
            continue
        ports = struct.unpack_from(">HH", frame, above)
        half = len(ends) // 2
        source, target = (
            (str(ipaddress.ip_address(end)), port)
            for end, port in zip((ends[:half], ends[half:]), ports)
        )
        key = (protocol, tuple(vlans), *sorted((source, target)))
        yield seconds * 10**9 + fraction * unit, key, source, length


def spread(values, unit=1):
    """Minimum, maximum, mean, standard deviation, histogram."""
    if not values:
        return [None] * 5
    count = decimal.Decimal(len(values))
    mean = sum(values) / count
    deviation = (sum((value - mean) ** 2 for value in values) / count).sqrt()
    bins = [0] * 8
    for value in values:
        bins[sum(value // unit >= edge for edge in EDGES)] += 1
    return [min(values), max(values), mean, deviation, bins]


def want(record, mine, latest):
    """The statistics of a record with these packets; `latest` is the flow's latest time by sender."""
    fields = {}
    for side in ("src", "dst"):
        end = (record[f"{side}_ip"], record[f"{side}_port"])
        lengths, gaps = [], []
        for time, _, sender, length in mine:
            if sender == end:
                lengths.append(length)
                if end in latest:
                    gaps.append(max(0, time - latest[end]))
                latest[end] = max(time, latest.get(end, time))
        for name, ns, values, unit in (
            ("length", "", lengths, 1),
            ("interarrival", "_ns", gaps, 10**6),
        ):
            names = [f"{side}_{name}_{what}{ns}" for what in ("min", "max", "mean", "stddev")]
            fields.update(zip(names + [f"{side}_{name}_histogram"], spread(values, unit)))
    return fields


def agrees(got, wanted):
    """Means and deviations have three decimals."""
    if not isinstance(wanted, decimal.Decimal):
        return got == wanted
    # Half of the last decimal, and what 53 bits have of a large number.
    return isinstance(got, decimal.Decimal) and abs(got - wanted) <= max(
        decimal.Decimal("0.000501"), wanted / 10**15
    )


def main():
    capture, lines, table = sys.argv[1:]
    by_key = {}
    for packet in packets(capture):
        by_key.setdefault(packet[1], []).append(packet)
    records = [json.loads(line, parse_float=decimal.Decimal) for line in open(lines)]
    rows = {(row["flow_id"], row["part"]): row for row in csv.DictReader(open(table))}
    records = [record for record in records if record["protocol"] in (6, 17)]
    records.sort(key=lambda record: record["part"])
    starts = {}
    for record in records:
        starts.setdefault(record["flow_id"], record["start"])
    records.sort(key=lambda record: (starts[record["flow_id"]], record["flow_id"], record["part"]))
    latest, wrong = {}, 0
    for record in records:
        ends = sorted((record[f"{side}_ip"], record[f"{side}_port"]) for side in ("src", "dst"))
        mine = by_key[(record["protocol"], tuple(record.get("vlan", ())), *ends)]
        count = record["src_packets"] + record["dst_packets"]
        taken, mine[:count] = mine[:count], []
        row = rows[(record["flow_id"], str(record["part"]))]
        for name, value in want(record, taken, latest.setdefault(record["flow_id"], {})).items():
            got = record.get(name)
            shown = ";".join(map(str, got)) if isinstance(got, list) else got
            shown = "" if shown is None else str(shown)
            if not agrees(got, value) or row[name] != shown:
                wrong += 1
                print(f"{name}: {got} ({row[name]}), not {value}: {record}", file=sys.stderr)
    left = sum(map(len, by_key.values()))
    if left:
        print(f"{left} packets are in no record", file=sys.stderr)
    print(len(records))
    sys.exit(1 if wrong or left else 0)


main()
