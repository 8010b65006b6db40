"""Reads Zeek's conn.log or Suricata's events by readers that are not ours, and a JSON lines file of
the same run, and compares them.

Arguments: `zeek`, `zeek-json` or `eve`; the JSON lines; the files, which have the records together.
Lines of text are read by Python's csv and its header as zeek-cut does, JSON by jq. Prints how many
records agree; exits with 1 if any does not.
"""

import csv
import gzip
import io
import json
import re
import subprocess
import sys
from decimal import Decimal

TRANSPORTS = {1: "icmp", 58: "icmp", 6: "tcp", 17: "udp"}
PROTOCOLS = {1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 58: "IPv6-ICMP", 132: "SCTP", 136: "UDPLite"}
REASONS = {"idle": "timeout", "end": "timeout", "forced": "shutdown", "resources": "forced"}
FIN, SYN, RST, ACK = 1, 2, 4, 16
NUMBERS = {"count", "int", "port"}


def content(path):
    opened = gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb")
    with opened as file:
        return file.read().decode()


def by_csv(text):
    """Lines under their header, with Zeek's types."""
    lines = text.split("\n")
    if lines.pop() != "":
        sys.exit("the last line has no end")
    header = {}
    rows = []
    for line in lines:
        if line.startswith("#separator "):
            header["separator"] = line.removeprefix("#separator ").encode().decode("unicode_escape")
        elif line.startswith("#"):
            name, _, value = line[1:].partition(header["separator"])
            header[name] = value
        else:
            rows.append(line)
    for name in ("open", "close"):
        if not re.fullmatch(r"20\d\d-\d\d-\d\d-\d\d-\d\d-\d\d", header[name]):
            sys.exit(f"#{name} is {header[name]}")
    if not lines[-1].startswith("#close") or header["path"] != "conn":
        sys.exit("header or end is not as Zeek has it")
    names, kinds = (header[name].split(header["separator"]) for name in ("fields", "types"))
    reader = csv.reader(
        io.StringIO("\n".join(rows)), delimiter=header["separator"], quoting=csv.QUOTE_NONE
    )
    for row in reader:
        if not len(row) == len(names) == len(kinds):
            sys.exit(f"{len(row)} columns of {len(names)}: {row}")
        yield {
            name: typed(kind, value, header)
            for name, kind, value in zip(names, kinds, row)
            if value != header["unset_field"]
        }


def typed(kind, value, header):
    if kind in NUMBERS:
        return int(value)
    if kind in ("time", "interval"):
        return Decimal(value)
    if value == header["empty_field"]:
        return ""
    escaped = re.sub(rb"\\x(..)", lambda it: bytes([int(it[1], 16)]), value.encode())
    return escaped.decode()


def by_jq(text):
    """Each line as jq gives it back."""
    run = subprocess.run(["jq", "-c", "."], input=text, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"jq: {run.stderr}")
    for line in run.stdout.splitlines():
        yield json.loads(line)


def micros(time):
    """`2026-01-01T00:00:00.123456789Z` as microseconds' text without a zone."""
    return time.removesuffix("Z")[:-3]


def epoch(time):
    import calendar
    import time as clock

    moment, fraction = time.removesuffix("Z").split(".")
    seconds = calendar.timegm(clock.strptime(moment, "%Y-%m-%dT%H:%M:%S"))
    return Decimal(f"{seconds}.{fraction[:6]}")


def without_absent(record):
    return {name: value for name, value in record.items() if value is not None}


def is_tls(ours):
    return any(name in ours for name in ("sni", "alpn", "ja4", "tls_version"))


def is_quic(ours):
    return is_tls(ours) and ours["protocol"] == 17


# What Zeek and Suricata call what was seen in a flow, and where they call it something.
SERVICES = {
    "dns": "dns", "mdns": "dns", "llmnr": "dns", "nbns": "dns", "dhcp": "dhcp", "ssh": "ssh",
    "smtp": "smtp", "imap": "imap", "pop3": "pop3", "ftp": "ftp", "http": "http",
    "tls": "ssl", "https": "ssl", "quic": "quic",
}
APPLICATIONS = {
    "dns": "dns", "mdns": "mdns", "dhcp": "dhcp", "ssh": "ssh", "smtp": "smtp", "imap": "imap",
    "pop3": "pop3", "ftp": "ftp", "http": "http", "tls": "tls", "https": "tls", "quic": "quic",
    "gquic": "quic",
}


def seen(ours):
    return ours.get("app") if ours.get("app_source") == "payload" else None


def services(ours):
    service = SERVICES.get(seen(ours))
    if seen(ours) == "gquic":
        return None
    if is_tls(ours) and service not in ("ssl", "dns", "dhcp", "ssh"):
        return service + ",ssl" if service else "ssl"
    return service


def applications(ours):
    app = APPLICATIONS.get(seen(ours))
    if is_tls(ours) and app not in ("tls", "quic"):
        return "tls", app
    return app, None


def state(ours):
    protocol, overflow = ours["protocol"], ours["kind"] == "overflow"
    sent = [ours["src_packets"] > 0, ours["dst_packets"] > 0]
    if overflow or protocol not in (6, 17):
        return "OTH"
    if protocol == 17:
        return {(1, 1): "SF", (1, 0): "S0", (0, 1): "SHR"}.get(tuple(map(int, sent)), "OTH")
    orig, resp = ours["src_tcp_flags"], ours["dst_tcp_flags"]
    if resp & RST:
        return ("RSTR" if resp & SYN else "REJ") if orig & SYN else "RSTRH"
    if orig & RST:
        return "RSTO" if resp & SYN else "RSTOS0"
    if orig & FIN and resp & FIN:
        return "SF"
    if orig & FIN:
        return "S2" if resp & SYN else "SH"
    if resp & FIN:
        return "S3" if orig & SYN else "SHR"
    if orig & SYN and not resp:
        return "S0"
    return "S1" if orig & SYN and resp & SYN and ours["tcp_state"] == "established" else "OTH"


def history(ours):
    def flags(side):
        return ours.get(f"{side}_tcp_flags", 0)

    def times(side, what):
        return len(str(ours[f"{side}_{what}"])) if ours.get(f"{side}_{what}") else 0

    text = "S" if flags("src") & SYN else ""
    if flags("dst") & SYN:
        text += "h" if flags("dst") & ACK else "s"
    for side, case in (("src", str.upper), ("dst", str)):
        text += case("d" if ours[f"{side}_payload_bytes"] else "")
        text += case("t") * times(side, "retransmits") + case("w") * times(side, "zero_windows")
    for letter, flag in (("f", FIN), ("r", RST)):
        text += letter.upper() if flags("src") & flag else ""
        text += letter if flags("dst") & flag else ""
    return text or None


def as_zeek(ours):
    overflow = ours["kind"] == "overflow"
    port = None if overflow else 0
    vlans = ours.get("vlan", []) + [None, None]
    return without_absent({
        "ts": epoch(ours["start"]) if "start" in ours else None,
        "uid": None if overflow else "C" + ours["flow_id"],
        "id.orig_h": ours.get("src_ip"),
        "id.orig_p": ours.get("icmp_type", ours.get("src_port", port)),
        "id.resp_h": ours["dst_ip"],
        "id.resp_p": ours.get("icmp_code", ours.get("dst_port", port)),
        "proto": TRANSPORTS.get(ours["protocol"], "unknown_transport"),
        "service": services(ours),
        "duration": Decimal(ours["duration_ns"] // 1000) / 1_000_000 if "start" in ours else None,
        "orig_bytes": ours["src_payload_bytes"],
        "resp_bytes": ours["dst_payload_bytes"],
        "conn_state": state(ours),
        "history": history(ours),
        "orig_pkts": ours["src_packets"],
        "orig_ip_bytes": ours["src_bytes"],
        "resp_pkts": ours["dst_packets"],
        "resp_ip_bytes": ours["dst_bytes"],
        "ip_proto": ours["protocol"],
        "community_id": ours.get("community_id"),
        "vlan": vlans[0],
        "inner_vlan": vlans[1],
        "orig_l2_addr": ours.get("src_mac"),
        "resp_l2_addr": ours.get("dst_mac"),
        "part": ours.get("part"),
        "resp_name": ours.get("name"),
        "resp_name_source": ours.get("name_source"),
    })


def as_eve(ours):
    def time(name):
        return micros(ours[name]) + "+0000" if name in ours else None

    both = ours["src_packets"] > 0 and ours["dst_packets"] > 0
    states = {"closed": "closed", "reset": "closed", "half_open": "new"}
    tcp_state = ours.get("tcp_state")
    application, before_tls = applications(ours)
    event = {
        "timestamp": time("end"),
        "flow_id": int(ours["flow_id"], 16) % 2**53 if "flow_id" in ours else None,
        "in_iface": ours.get("interface"),
        "event_type": "flow",
        "vlan": ours.get("vlan"),
        "src_ip": ours.get("src_ip"),
        "src_port": ours.get("src_port"),
        "dest_ip": ours["dst_ip"],
        "dest_port": ours.get("dst_port"),
        "proto": PROTOCOLS.get(ours["protocol"], f"{ours['protocol']:03}"),
        "icmp_type": ours.get("icmp_type"),
        "icmp_code": ours.get("icmp_code"),
        "app_proto": application,
        "app_proto_orig": before_tls,
        "flow": without_absent({
            "pkts_toserver": ours["src_packets"],
            "pkts_toclient": ours["dst_packets"],
            "bytes_toserver": ours["src_frame_bytes"],
            "bytes_toclient": ours["dst_frame_bytes"],
            "start": time("start"),
            "end": time("end"),
            "age": int(epoch(ours["end"])) - int(epoch(ours["start"])) if "end" in ours else None,
            "state": states.get(tcp_state, "established")
            if tcp_state
            else ("established" if both else "new"),
            "reason": REASONS.get(ours["end_reason"]),
        }),
        "community_id": ours.get("community_id"),
        "flowtap": {
            name: ours[name]
            for name in ("kind", "part", "dst_prefix_length", "end_reason", "name", "name_source")
            if name in ours
        },
    }
    if "src_mac" in ours:
        event["ether"] = {"src_macs": [ours["src_mac"]], "dest_macs": [ours["dst_mac"]]}
    if "src_tcp_flags" in ours:
        sides = [ours["src_tcp_flags"], ours["dst_tcp_flags"]]
        flags = sides[0] | sides[1]
        event["tcp"] = {"tcp_flags": f"{flags:02x}"}
        event["tcp"] |= {"tcp_flags_ts": f"{sides[0]:02x}", "tcp_flags_tc": f"{sides[1]:02x}"}
        names = ("fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr")
        event["tcp"] |= {name: True for bit, name in enumerate(names) if flags >> bit & 1}
        if tcp_state == "half_open":
            event["tcp"]["state"] = "syn_recv" if sides[1] & SYN else "syn_sent"
        elif tcp_state not in (None, "midstream"):
            event["tcp"]["state"] = "established" if tcp_state == "established" else "closed"
    if "tunnel" in ours:
        names = {"type": "type", "src_ip": "src_ip", "dst_ip": "dest_ip", "id": "id"}
        event["tunnel"] = {names[name]: value for name, value in ours["tunnel"].items()}
    if is_tls(ours):
        named = {name: ours[name] for name in ("sni", "ja4") if name in ours}
        if "tls_version" in ours and not is_quic(ours):
            version = ours["tls_version"]
            named["version"] = "TLSv1" if version == "TLSv1.0" else version.replace("TLSv", "TLS ")
        if "cert_subject" in ours:
            named["subject"] = ours["cert_subject"]
        event["quic" if is_quic(ours) else "tls"] = named
    http = {"hostname": ours.get("http_host"), "http_user_agent": ours.get("http_user_agent")}
    if any(http.values()):
        event["http"] = {name: value for name, value in http.items() if value is not None}
    return without_absent(event)


def order(record):
    return json.dumps(record, sort_keys=True, default=str)


def rounded(record):
    """Seconds of JSON as whole microseconds."""
    for name in ("ts", "duration"):
        if name in record:
            record[name] = round(Decimal(str(record[name])) * 1_000_000)
    return record


def main():
    kind, jsonl, *files = sys.argv[1:]
    read = by_csv if kind == "zeek" else by_jq
    wanted = as_eve if kind == "eve" else as_zeek
    ours = sorted(
        (rounded(wanted(json.loads(line))) for line in content(jsonl).split("\n")[:-1]), key=order
    )
    theirs = sorted((rounded(row) for path in files for row in read(content(path))), key=order)
    for one, other in zip(theirs, ours):
        if one != other:
            sys.exit(f"{kind}: it reads {order(one)}\nours is {order(other)}")
    if len(theirs) != len(ours):
        sys.exit(f"{kind}: it reads {len(theirs)} records of {len(ours)}")
    print(len(ours))


main()
