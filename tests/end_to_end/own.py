"""Reads an IPFIX file with own elements and a JSON lines file of the same run, and compares what
has no element of IANA's.

It knows of the elements what the file's type information records say (RFC 5610). Arguments: the
IPFIX file, the JSON lines. Prints how many records have a name, how many a tunnel, and how many
agree; exits with 1 if any does not.
"""

import ipaddress
import json
import re
import struct
import sys

# No file beside this for it.
sys.dont_write_bytecode = True
from compare import compare

REVERSE_PEN, REVERSE = 29305, 0x4000
TCP_STATES = {1: "established", 2: "half_open", 3: "closed", 4: "reset", 5: "midstream"}
# RFC 5610: data types that there are.
STRING, IPV6 = 13, 19
INTEGERS = (1, 3, 4)
IN_NS = {"rtt_server", "rtt_client", "name_age"}
BOTH = {"retransmits", "out_of_order", "zero_windows", "fragments"}


def messages(data):
    while data:
        version, length = struct.unpack_from(">HH", data)
        assert version == 10, version
        yield data[16:length]
        data = data[length:]


def sets(message):
    while message:
        number, length = struct.unpack_from(">HH", message)
        yield number, message[4:length]
        message = message[length:]


def template(body, head):
    """Number and fields of the template or options template at the beginning, and the rest."""
    number, count = struct.unpack_from(">HH", body)
    body, fields = body[head:], []
    for _ in range(count):
        element, length = struct.unpack_from(">HH", body)
        body, pen = body[4:], 0
        if element & 0x8000:
            (pen,), body, element = struct.unpack_from(">I", body), body[4:], element & 0x7FFF
        fields.append((pen, element, length))
    return number, fields, body


def records(body, fields):
    while body:
        record = {}
        for pen, element, length in fields:
            if length == 65535:
                length, body = body[0], body[1:]
                if length == 255:
                    (length,), body = struct.unpack_from(">H", body), body[2:]
            record[pen, element], body = body[:length], body[length:]
        yield record


def number(value):
    return int.from_bytes(value, "big")


def value_of(raw, kind):
    """`None` is what is not known."""
    if kind == STRING:
        return raw.decode() or None
    if kind == IPV6:
        address = ipaddress.IPv6Address(raw)
        return None if address == ipaddress.IPv6Address("::") else str(address.ipv4_mapped or address)
    assert kind in INTEGERS, kind
    return None if raw == b"\xff" * len(raw) else number(raw)


def from_ipfix(record, types):
    shown = {"tunnel": {}, "interface": record[0, 82].decode() or None}
    if (0, 96) in record:
        shown["app"] = record[0, 96].decode() or None
    if (0, 148) in record:
        shown["flow_id"] = f"{number(record[0, 148]):016x}"
    for (pen, element), raw in record.items():
        if pen in (0, REVERSE_PEN):
            continue
        name, kind = types[pen, element]
        is_reverse = element & REVERSE != 0
        assert name.startswith("reverseFlowtap" if is_reverse else "flowtap"), name
        name = re.sub("(?<!^)([A-Z])", r"_\1", name.removeprefix("reverse")).lower()
        name, value = name.removeprefix("flowtap_"), value_of(raw, kind)
        if name in BOTH:
            name = f"{'dst' if is_reverse else 'src'}_{name}"
        elif name in IN_NS:
            name += "_ns"
        elif name == "tcp_state":
            value = TCP_STATES.get(value)
        elif name == "ech":
            value = {1: True}.get(value)
        elif name == "app_source":
            value = {1: "payload", 2: "port"}.get(value)
        if name.startswith("tunnel_"):
            name = {"source": "src_ip", "destination": "dst_ip"}.get(name[7:], name[7:])
            if value is not None:
                shown["tunnel"][name] = value
        elif name == "device":
            if value is not None:
                parts = zip(("mac", "vendor", "hostname", "source"), value.split(";"))
                device = {part: text.replace("\\u{3b}", ";") for part, text in parts if text}
                shown["dst_device" if is_reverse else "src_device"] = device
        else:
            shown[name] = value
    return {name: value for name, value in shown.items() if value is not None and value != {}}


def from_ours(line):
    both = {f"{side}_{name}" for side in ("src", "dst") for name in BOTH}
    names = {"sni", "alpn", "ja4", "http_host", "http_user_agent", "name", "name_source", "name_age_ns", "name_doubt"}
    names |= {"tls_version", "tls_cipher", "ech", "app", "app_source", "cert_subject", "cert_name"}
    names |= {"src_device", "dst_device"}
    wanted = {"flow_id", "part", "interface", "tcp_state", "rtt_server_ns", "rtt_client_ns", "tunnel"}
    record = json.loads(line)
    # What a responder who sent nothing counts is left out.
    if record["dst_packets"] == 0:
        record = {name: value for name, value in record.items() if name not in both or name[0] == "s"}
    return {name: value for name, value in record.items() if name in wanted | names | both}


def main():
    ipfix, ours = sys.argv[1:]
    templates, options, types, theirs = {}, {}, {}, []
    for message in messages(open(ipfix, "rb").read()):
        for set_number, body in sets(message):
            if set_number == 2:
                while body:
                    name, fields, body = template(body, 4)
                    templates[name] = fields
            elif set_number == 3:
                name, fields, body = template(body, 6)
                assert not body
                options[name] = fields
            elif set_number in options:
                for record in records(body, options[set_number]):
                    if (0, 341) in record:
                        key = number(record[0, 346]), number(record[0, 303])
                        types[key] = record[0, 341].decode(), number(record[0, 339])
            else:
                found = records(body, templates[set_number])
                theirs += [from_ipfix(record, types) for record in found]
    with open(ours, encoding="utf-8") as lines:
        ours = [from_ours(line) for line in lines]
    compare(theirs, ours)
    count = lambda name: sum(name in record for record in theirs)
    print(count("name"), count("tunnel"), len(theirs))


main()
