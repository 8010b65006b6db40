#!/usr/bin/env python3
"""baselines.py zeek|ndpi BASELINES.json CAPTURE RECORDS.jsonl...

Holds flow records against what Zeek or nDPI themselves expect of a capture, as far as they can
agree: packets and bytes of each direction, and of TCP which ends sent SYN, FIN and RST. Several
files of records are several views of the capture (inner and outer): a flow must be in one of
them. Rows of one pair of endpoints are added up, as all of them cut flows at other times.

nDPI drops later fragments, and packets whose headers it cannot parse: the former are taken off
what is here, and of captures with the latter it may have less, or take a broken packet for a
flow of its own.

Prints each difference; exit 0 if there is none.
"""

import collections
import ipaddress
import json
import sys

PORTED = {6, 17, 33, 132, 136}
TCP, FIN, SYN, RST = 6, 1, 2, 4
# Letters of Zeek's history, as the originator's, by what they say was sent.
HISTORY = {"S": SYN, "H": SYN, "F": FIN, "R": RST, "I": SYN | RST, "Q": SYN | FIN}
HAS_BROKEN_HEADERS = {"ndpi-fuzz-2006-06-26-2594.pcap"}


class Flow:
    """What both ends sent, in the order of the endpoints."""

    def __init__(self):
        self.packets, self.bytes, self.fragments, self.flags = ([0, 0] for _ in range(4))

    def __repr__(self):
        return f"{self.packets} packets, {self.bytes} bytes, flags {self.flags}"

    def is_of_zeek(self, want, _):
        return (self.packets, self.bytes, self.flags) == (want.packets, want.bytes, want.flags)

    def is_of_ndpi(self, want, capture):
        packets = [packets - later for packets, later in zip(self.packets, self.fragments)]
        if capture in HAS_BROKEN_HEADERS:
            here, there = self.packets + self.bytes, want.packets + want.bytes
            return all(ours >= theirs for ours, theirs in zip(here, there))
        # How long the fragments were that it dropped is not in a record.
        same = (
            ours == theirs if later == 0 else ours > theirs
            for ours, theirs, later in zip(self.bytes, want.bytes, self.fragments)
        )
        return packets == want.packets and all(same)


def endpoint(ip, port, protocol):
    return ipaddress.ip_address(ip).packed, (port or 0) if protocol in PORTED else 0


def add_up(rows):
    """Rows of (protocol, both endpoints, and of both: packets, bytes, fragments, flags)."""
    flows = collections.defaultdict(Flow)
    for protocol, ends, *counts in rows:
        turn = 1 if ends[0] <= ends[1] else -1
        flow = flows[protocol, *ends[::turn]]
        packets, octets, fragments, flags = (count[::turn] for count in counts)
        for i in range(2):
            flow.packets[i] += packets[i]
            flow.bytes[i] += octets[i]
            flow.fragments[i] += fragments[i]
            flow.flags[i] |= flags[i] & (FIN | SYN | RST)
    return flows


def records(path, octets):
    for line in open(path):
        r = json.loads(line)
        protocol = r["protocol"]
        ends = [endpoint(r[f"{end}_ip"], r.get(f"{end}_port"), protocol) for end in ("src", "dst")]
        counts = (
            [r.get(f"{end}_{count}", 0) for end in ("src", "dst")]
            for count in ("packets", octets, "fragments", "tcp_flags")
        )
        yield protocol, ends, *counts


def zeek(baselines, capture):
    rows = next(trace["rows"] for trace in baselines["traces"] if trace["file"] == capture)
    for r in rows:
        protocol = r["ip_proto"]
        ends = [endpoint(r[f"{end}_h"], r[f"{end}_p"], protocol) for end in ("orig", "resp")]
        counts = [[r[f"{end}_{count}"] for end in ("orig", "resp")] for count in ("pkts", "ip_bytes")]
        flags = [0, 0]
        for letter in (r["history"] or "") if protocol == TCP else "":
            flags[letter.islower()] |= HISTORY.get(letter.upper(), 0)
        yield protocol, ends, *counts, [0, 0], flags


def ndpi(baselines, capture):
    for r in baselines["files"][capture]:
        ends = [endpoint(*r[end], r["proto"]) for end in "ab"]
        yield r["proto"], ends, r["pkts"], r["bytes"], [0, 0], [0, 0]


def main(whose, baselines, capture, *views):
    rows, octets, agree = {
        "zeek": (zeek, "bytes", Flow.is_of_zeek),
        "ndpi": (ndpi, "frame_bytes", Flow.is_of_ndpi),
    }[whose]
    views = [add_up(records(view, octets)) for view in views]
    wanted = add_up(rows(json.load(open(baselines)), capture))
    differences = 0
    for flow, want in wanted.items():
        found = [view[flow] for view in views if flow in view]
        is_broken = capture in HAS_BROKEN_HEADERS and not found and sum(want.packets) == 1
        if not is_broken and not any(agree(here, want, capture) for here in found):
            differences += 1
            protocol, *ends = flow
            ends = " - ".join(f"{ipaddress.ip_address(ip)} {port}" for ip, port in ends)
            print(f"{capture}: {protocol} {ends}: {whose} has {want}, here {found}")
    if not wanted:
        print(f"{capture}: {whose} has no flow")
    sys.exit(1 if differences or not wanted else 0)


main(*sys.argv[1:])
