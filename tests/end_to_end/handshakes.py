"""Holds what records say of TLS servers, and of encrypted ClientHellos, against what tshark reads in
the same captures.

Arguments: a folder with the JSON lines of each capture under its name, and the captures. Of each flow
in which tshark has read a ServerHello, version and cipher suite must be those of one; and so with the
certificate's names. tshark wants whole records, and ports that it knows: in some flows it reads
nothing where a record has something. Prints how many flows have a ServerHello, a certificate and an
encrypted ClientHello, and in how many of them tshark reads none; exits with 1 if any differs.
"""

import ipaddress
import json
import pathlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

VERSIONS = {0x0300: "SSLv3", 0x0301: "TLSv1.0", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}
CLIENT_HELLO, SERVER_HELLO, CERTIFICATE = "1", "2", "11"
ENCRYPTED_HELLO = "65037"
TEXTS = [f"x509sat.{kind}String" for kind in ("uTF8", "printable", "teletex", "bmp", "universal")]
ENDS = ["ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport", "udp.srcport", "udp.dstport"]
FIELDS = ENDS + [
    "tls.handshake.type", "tls.handshake.version", "tls.handshake.extensions.supported_version",
    "tls.handshake.ciphersuite", "tls.handshake.extension.type", "x509ce.dNSName", *TEXTS,
]
# What separates values of a field that a frame has more than once; in no name that is compared.
MORE = "\x1e"


def tshark(capture):
    """A dictionary for each frame with a handshake message, its values lists."""
    command = ["tshark", "-o", "tcp.reassemble_out_of_order:TRUE", "-r", capture, "-Y", "tls.handshake.type", "-T", "fields"]
    command += ["-E", "occurrence=a", "-E", f"aggregator={MORE}"]
    for field in FIELDS:
        command += ["-e", field]
    # A file that ends in its middle is read up to there, and then it says so.
    said = subprocess.run(command, capture_output=True, text=True).stdout
    for line in said.split("\n")[:-1]:
        values = (value.split(MORE) if value else [] for value in line.split("\t"))
        yield dict(zip(FIELDS, values))


def suites():
    """Names of cipher suites by number, as tshark has them."""
    said = subprocess.run(["tshark", "-G", "values"], check=True, capture_output=True, text=True).stdout
    rows = (line.split("\t") for line in said.splitlines())
    rows = [row for row in rows if row[:2] == ["V", "tls.handshake.ciphersuite"]]
    return {int(row[2], 0): row[3] for row in rows}


def ends_of(frame):
    """Both ends of the innermost packet, in order; and who sent it."""
    protocol = 6 if frame["tcp.srcport"] else 17
    ports = ("tcp.srcport", "tcp.dstport") if protocol == 6 else ("udp.srcport", "udp.dstport")
    version = "ip" if frame["ip.src"] else "ipv6"
    ends = []
    for side, port in zip(("src", "dst"), ports):
        address = frame[f"{version}.{side}"][-1]
        ends.append((str(ipaddress.ip_address(address)), int(frame[port][-1])))
    return protocol, tuple(sorted(ends))


def number(text):
    return int(text, 0)


def truth(capture, names):
    """Of each flow what its ServerHellos chose, names in its certificates, and encrypted hellos."""
    flows = {}
    for frame in tshark(capture):
        if not (frame["tcp.srcport"] or frame["udp.srcport"]):
            continue
        flow = flows.setdefault(ends_of(frame), {"chosen": set(), "named": [], "ech": False})
        kinds = frame["tls.handshake.type"]
        if SERVER_HELLO in kinds and frame["tls.handshake.ciphersuite"]:
            versions = frame["tls.handshake.extensions.supported_version"] or frame["tls.handshake.version"]
            version, cipher = number(versions[0]), number(frame["tls.handshake.ciphersuite"][0])
            shown = VERSIONS.get(version, f"0x{version:04x}"), names.get(cipher, f"0x{cipher:04x}")
            flow["chosen"].add(shown)
        if CERTIFICATE in kinds:
            texts = [text for field in TEXTS for text in frame[field]]
            flow["named"].append((frame["x509ce.dNSName"], texts))
        flow["ech"] |= CLIENT_HELLO in kinds and ENCRYPTED_HELLO in frame["tls.handshake.extension.type"]
    return flows


def differs(record, flow):
    """What of a record is not as tshark has it."""
    said = record.get("tls_version"), record.get("tls_cipher")
    if flow["chosen"] and said not in flow["chosen"]:
        yield f"{said} of {flow['chosen']}"
    if record.get("ech", False) != flow["ech"]:
        yield f"ech {record.get('ech')}"
    name = record.get("cert_name")
    if name is None and any(dns or texts for dns, texts in flow["named"]):
        yield f"no certificate of {flow['named']}"
    if name is not None and flow["named"]:
        is_first = any(name == dns[0] if dns else name in texts for dns, texts in flow["named"])
        subject = record.get("cert_subject", "CN=").split("CN=")[-1].split(", ")[0]
        is_said = any(not subject or subject in texts for _, texts in flow["named"])
        if not (is_first and is_said):
            yield f"{name}, {record.get('cert_subject')} of {flow['named']}"


def check(records, flows):
    """Counts, and what differs."""
    counts, wrong = [0, 0, 0, 0], []
    nothing = {"chosen": set(), "named": [], "ech": False}
    for record in records:
        ends = [(record.get(f"{side}_ip"), record.get(f"{side}_port")) for side in ("src", "dst")]
        if None in ends[0] + ends[1]:
            continue
        key = record["protocol"], tuple(sorted(ends))
        flow = flows.get(key, nothing)
        wrong += [f"{key}: {text}" for text in differs(record, flow)]
        is_more = "tls_version" in record and not flow["chosen"] or "cert_name" in record and not flow["named"]
        counts[3] += is_more
        for place, name in enumerate(("tls_version", "cert_name", "ech")):
            counts[place] += name in record
    return counts, wrong


def main():
    folder, captures = pathlib.Path(sys.argv[1]), sys.argv[2:]
    names = suites()
    with ThreadPoolExecutor(2) as pool:
        truths = list(pool.map(lambda capture: truth(capture, names), captures))
    counts, wrong = [0, 0, 0, 0], []
    for capture, flows in zip(captures, truths):
        name = pathlib.Path(capture).name
        with open(folder / f"{name}.jsonl", encoding="utf-8") as lines:
            found, differ = check([json.loads(line) for line in lines], flows)
        counts = [one + other for one, other in zip(counts, found)]
        wrong += [f"{name}: {text}" for text in differ]
    if wrong:
        sys.exit("\n".join(wrong))
    print(*counts)


main()
