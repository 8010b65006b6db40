"""Reads an IPFIX file by tshark and a JSON lines file of the same run, and compares them.

Arguments: the IPFIX file, the JSON lines. Prints how many records agree; exits with 1 if any
does not.
"""

import calendar
import json
import sys
import time

# No file beside this for it.
sys.dont_write_bytecode = True
from compare import compare, flows, leaves, tshark

END_REASONS = {1: "idle", 2: "active", 3: "end", 4: "forced", 5: "resources"}
# Both directions have these, the initiator's first (RFC 5103).
BOTH = {
    "cflow.packets": "packets",
    "cflow.octets": "bytes",
    "cflow.layer2_octet_delta_count": "frame_bytes",
    "cflow.transport_octet_delta_count": "payload_bytes",
    "cflow.tcpflags": "tcp_flags",
    "cflow.ttl_min": "ttl_min",
    "cflow.ttl_max": "ttl_max",
    "cflow.ip_dscp": "dscp",
}
# Of these who sent nothing has none, and of the others 0.
HEADERS = {"ttl_min", "ttl_max", "dscp"}
ONCE = {
    "cflow.protocol": ("protocol", int),
    "cflow.flow_id": ("flow_id", lambda text: f"{int(text):016x}"),
    "cflow.flow_end_reason": ("end_reason", lambda text: END_REASONS[int(text)]),
    "cflow.srcaddr": ("src_ip", str),
    "cflow.srcaddrv6": ("src_ip", str),
    "cflow.dstaddr": ("dst_ip", str),
    "cflow.dstaddrv6": ("dst_ip", str),
    "cflow.dstprefix": ("dst_ip", str),
    "cflow.dstnetv6": ("dst_ip", str),
    "cflow.dstmask": ("dst_prefix_length", int),
    "cflow.dstmaskv6": ("dst_prefix_length", int),
    "cflow.srcport": ("src_port", int),
    "cflow.dstport": ("dst_port", int),
    "cflow.srcmac": ("src_mac", str),
    "cflow.dstmac": ("dst_mac", str),
    "cflow.icmp_ipv6_type": ("icmp_type", int),
    "cflow.icmp_ipv6_code": ("icmp_code", int),
    "cflow.abstimestart": ("start", lambda text: nanoseconds(text)),
    "cflow.abstimeend": ("end", lambda text: nanoseconds(text)),
}
# What has no element of IANA's, or follows from what has (own.py reads own elements).
LEFT_OUT = {
    "kind", "part", "community_id", "interface", "duration_ns", "ip_version", "tcp_state",
    "src_fragments", "dst_fragments", "sampling_unit", "tunnel", "rtt_server_ns", "rtt_client_ns",
    *(f"{side}_{what}" for side in ("src", "dst") for what in ("retransmits", "out_of_order", "zero_windows")),
    # Names and devices are not exported by IPFIX.
    "sni", "alpn", "ja4", "http_host", "http_user_agent", "name", "name_source", "name_age_ns", "name_doubt", "src_device", "dst_device",
    "tls_version", "tls_cipher", "ech", "app", "app_source", "cert_subject", "cert_name",
}


def nanoseconds(text):
    """`Jan  1, 2026 00:00:08.958562407 UTC`"""
    moment, fraction = text.removesuffix(" UTC").split(".")
    seconds = calendar.timegm(time.strptime(moment, "%b %d, %Y %H:%M:%S"))
    return seconds * 1_000_000_000 + int(fraction)


def from_tshark(flow):
    record, seen, vlans, labels, is_bottom = {}, {}, [], [], False
    for name, text in leaves(flow):
        if name in ONCE:
            field, convert = ONCE[name]
            record[field] = convert(text)
        elif name in BOTH:
            is_first = seen.setdefault(name, 0) == 0
            is_alone = BOTH[name] in HEADERS and record["src_packets"] == 0
            side = "src" if is_first and not is_alone else "dst"
            seen[name] += 1
            record[f"{side}_{BOTH[name]}"] = int(text, 0)
        elif name in ("cflow.sampling_packet_space", "cflow.sampling_flow_spacing"):
            record["sampling"] = int(text) + 1
        elif name == "cflow.icmp_type_code_ipv4":
            record["icmp_type"], record["icmp_code"] = divmod(int(text, 0), 256)
        elif name in ("cflow.dot1q_vlan_id", "cflow.dot1q_customer_vlan_id"):
            vlans.append(int(text))
        elif name == "cflow.mpls_label" and not is_bottom:
            labels.append(int(text))
        elif name == "cflow.mpls_bos":
            is_bottom = is_bottom or text == "1"
    if labels:
        record["mpls"] = labels
    if vlans:
        record["vlan"] = vlans
    # Who sent nothing is not in the record.
    for name in set(BOTH.values()) - HEADERS:
        if f"src_{name}" in record:
            record.setdefault(f"dst_{name}", 0)
    return record


def from_ours(line):
    record = {name: value for name, value in json.loads(line).items() if name not in LEFT_OUT}
    for name in ("start", "end"):
        if name in record:
            moment, fraction = record[name].removesuffix("Z").split(".")
            seconds = calendar.timegm(time.strptime(moment, "%Y-%m-%dT%H:%M:%S"))
            record[name] = seconds * 1_000_000_000 + int(fraction)
    return record


def main():
    ipfix, ours = sys.argv[1:]
    frames = tshark(ipfix)
    # A stream begins at 0; else each message has the number that follows from the one before.
    for name, text in (leaf for frame in frames for leaf in leaves(frame)):
        if name == "_ws.expert.message" and "sequence" in text and "got 0)" not in text:
            sys.exit(text)
    theirs = [flow for frame in frames for flow in flows(frame)]
    # What options say is of no flow.
    is_flow = lambda flow: any(name == "cflow.protocol" for name, _ in leaves(flow))
    theirs = [from_tshark(flow) for flow in theirs if is_flow(flow)]
    with open(ours, encoding="utf-8") as lines:
        ours = [from_ours(line) for line in lines]
    compare(theirs, ours)
    print(len(ours))


main()
