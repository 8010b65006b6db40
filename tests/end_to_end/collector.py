"""Reads the files that nfcapd has written, by nfdump, or what it would have received, by tshark, or
what nfacctd has stored, and a JSON lines file of the run that sent the records, and compares them.

Arguments: nfcapd's folder, a capture (.pcap) or nfacctd's file (.json), the JSON lines; `first` if
that has the first direction of each record only. A record of nfcapd's has one direction, or with it
the packets and bytes of the other. Prints how many records of ours agree; exits with 1 if any does
not.
"""

import json
import os
import subprocess
import sys
import time

# No file beside this for it.
sys.dont_write_bytecode = True
from compare import compare, flows, leaves, tshark

# nfdump's letters, from the highest bit: CWR, ECE, URG, ACK, PSH, RST, SYN, FIN.
FLAGS = "CEUAPRSF"


def from_nfdump(flow):
    record = {
        "start": flow["first"],
        "end": flow["last"],
        "protocol": flow["proto"],
        "src_ip": flow.get("src4_addr") or flow.get("src6_addr"),
        "dst_ip": flow.get("dst4_addr") or flow.get("dst6_addr"),
        "src_packets": flow["in_packets"],
        "src_bytes": flow["in_bytes"],
        "src_tcp_flags": flags(flow.get("tcp_flags", "")),
    }
    if flow["proto"] in (6, 17, 132):
        record |= {"src_port": flow["src_port"], "dst_port": flow["dst_port"]}
    if "out_packets" in flow:
        record |= {"dst_packets": flow["out_packets"], "dst_bytes": flow["out_bytes"]}
    return record


def by_nfdump(folder):
    command = ["nfdump", "-R", folder, "-o", "json"]
    environment = os.environ | {"TZ": "UTC"}
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return [from_nfdump(flow) for flow in json.loads(run.stdout)]


def moment(text):
    """`Jan  1, 2026 00:00:08.958000000 UTC`, to a millisecond."""
    second, fraction = text.removesuffix(" UTC").split(".")
    second = time.strptime(second, "%b %d, %Y %H:%M:%S")
    return time.strftime("%Y-%m-%dT%H:%M:%S", second) + "." + fraction[:3]


def by_tshark(capture):
    for frame in tshark(capture):
        for name, text in leaves(frame):
            if name == "_ws.expert.message" and ("sequence" in text or "template" in text):
                sys.exit(text)
        for flow in map(dict, map(leaves, flows(frame))):
            get = lambda *names: next(flow[f"cflow.{it}"] for it in names if f"cflow.{it}" in flow)
            record = {
                "start": moment(get("abstimestart")),
                "end": moment(get("abstimeend")),
                "protocol": int(get("protocol")),
                "src_ip": get("srcaddr", "srcaddrv6"),
                "dst_ip": get("dstaddr", "dstaddrv6"),
                "src_packets": int(get("packets")),
                "src_bytes": int(get("octets")),
                "src_tcp_flags": int(flow.get("cflow.tcpflags", "0"), 0),
            }
            if record["protocol"] in (6, 17, 132):
                record |= {f"{side}_port": int(get(f"{side}port")) for side in ("src", "dst")}
            yield record


def by_nfacctd(path):
    with open(path, encoding="utf-8") as lines:
        for flow in map(json.loads, lines):
            record = {
                "start": flow["timestamp_start"][:23],
                "end": flow["timestamp_end"][:23],
                "protocol": int(flow["ip_proto"]),
                "src_ip": flow["ip_src"],
                "dst_ip": flow["ip_dst"],
                "src_packets": flow["packets"],
                "src_bytes": flow["bytes"],
                "src_mac": flow["mac_src"],
                "dst_mac": flow["mac_dst"],
                "vlan": flow["vlan"],
            }
            # It reads flags of one byte only, and IPFIX's have two.
            if flow["export_proto_version"] == 9:
                record["src_tcp_flags"] = int(flow["tcp_flags"])
            if record["protocol"] in (6, 17, 132):
                record |= {"src_port": flow["port_src"], "dst_port": flow["port_dst"]}
            yield record


def flags(text):
    return sum(1 << 7 - place for place, letter in enumerate(text) if letter == FLAGS[place])


def directions(record, are_both):
    """A record of ours as collectors have it, with the directions that sent anything."""
    sides = ("src", "dst")
    common = {
        # A millisecond is the finest that it has.
        "start": record["start"][:23],
        "end": record["end"][:23],
        "protocol": record["protocol"],
    }
    for side, other in (sides, sides[::-1]):
        if record[f"{side}_packets"] == 0:
            continue
        direction = common | {
            "src_ip": record[f"{side}_ip"],
            "dst_ip": record[f"{other}_ip"],
            "src_packets": record[f"{side}_packets"],
            "src_bytes": record[f"{side}_bytes"],
            "src_tcp_flags": record.get(f"{side}_tcp_flags", 0),
            "src_mac": record.get(f"{side}_mac", "00:00:00:00:00:00"),
            "dst_mac": record.get(f"{other}_mac", "00:00:00:00:00:00"),
            "vlan": record.get("vlan", [0])[0],
        }
        if record["protocol"] in (6, 17, 132):
            direction |= {"src_port": record[f"{side}_port"], "dst_port": record[f"{other}_port"]}
        if are_both:
            del direction["src_tcp_flags"]
            if record[f"{other}_packets"]:
                direction["dst_packets"] = record[f"{other}_packets"]
                direction["dst_bytes"] = record[f"{other}_bytes"]
            yield direction
            return
        yield direction


def main():
    read, ours, *which = sys.argv[1:]
    by = {".pcap": by_tshark, ".json": by_nfacctd}.get(os.path.splitext(read)[1], by_nfdump)
    theirs = list(by(read))
    with open(ours, encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    are_both = any("dst_packets" in record for record in theirs)
    if are_both:
        # It has room for the flags of one direction, and keeps those that it read last.
        for record in theirs:
            del record["src_tcp_flags"]
    most = 1 if which == ["first"] else 2
    ours = [it for record in records for it in list(directions(record, are_both))[:most]]
    # Not all of them tell of MAC addresses and VLANs, or of flags.
    told = set().union(*theirs)
    compare(theirs, [{name: it[name] for name in it if name in told} for it in ours])
    print(len(records))


main()
