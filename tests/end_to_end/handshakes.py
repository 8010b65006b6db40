"""Holds what records say of TLS servers against what tshark reads in the same capture.

Arguments: the capture, the JSON lines. Of each flow the version and the cipher suite of a
ServerHello must be one that tshark has read in the flow; a flow in which tshark has read one must
have them, but for those that are named below. Prints how many flows agree; exits with 1 if any does
not.
"""

import ipaddress
import json
import subprocess
import sys

VERSIONS = {0x0300: "SSLv3", 0x0301: "TLSv1.0", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}
FIELDS = [
    "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport", "udp.srcport", "udp.dstport",
    "tls.handshake.type", "tls.handshake.version", "tls.handshake.extensions.supported_version",
    "tls.handshake.ciphersuite",
]
SERVER_HELLO = "2"


def tshark(capture):
    """A dictionary for each frame with a ServerHello, its values lists."""
    command = ["tshark", "-r", capture, "-Y", f"tls.handshake.type == {SERVER_HELLO}", "-T", "fields"]
    command += ["-E", "occurrence=a", "-E", "aggregator=|"]
    for field in FIELDS:
        command += ["-e", field]
    # A file that ends in its middle is read up to there, and then it says so.
    said = subprocess.run(command, capture_output=True, text=True).stdout
    for line in said.split("\n")[:-1]:
        values = (value.split("|") if value else [] for value in line.split("\t"))
        yield dict(zip(FIELDS, values))


def suites():
    """Names of cipher suites by number, as tshark has them."""
    said = subprocess.run(["tshark", "-G", "values"], check=True, capture_output=True, text=True).stdout
    rows = (line.split("\t") for line in said.splitlines())
    rows = [row for row in rows if row[:2] == ["V", "tls.handshake.ciphersuite"]]
    return {int(row[2], 0): row[3] for row in rows}


def ends_of(frame):
    """Both ends of the innermost packet, in order."""
    protocol = 6 if frame["tcp.srcport"] else 17
    ports = ("tcp.srcport", "tcp.dstport") if protocol == 6 else ("udp.srcport", "udp.dstport")
    version = "ip" if frame["ip.src"] else "ipv6"
    ends = []
    for side, port in zip(("src", "dst"), ports):
        address = frame[f"{version}.{side}"][-1]
        ends.append((str(ipaddress.ip_address(address)), int(frame[port][-1])))
    return protocol, tuple(sorted(ends))


def main():
    capture, ours = sys.argv[1:]
    names, theirs = suites(), {}
    for frame in tshark(capture):
        if not frame["tls.handshake.ciphersuite"] or not (frame["tcp.srcport"] or frame["udp.srcport"]):
            continue
        version = (frame["tls.handshake.extensions.supported_version"] or frame["tls.handshake.version"])[0]
        cipher = int(frame["tls.handshake.ciphersuite"][0], 0)
        version = VERSIONS.get(int(version, 0), f"0x{int(version, 0):04x}")
        said = version, names.get(cipher, f"0x{cipher:04x}")
        theirs.setdefault(ends_of(frame), set()).add(said)
    agree, wrong = 0, []
    with open(ours, encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    seen = set()
    for record in records:
        if "tls_version" not in record:
            continue
        ends = [(record[f"{side}_ip"], record[f"{side}_port"]) for side in ("src", "dst")]
        flow = record["protocol"], tuple(sorted(ends))
        seen.add(flow)
        said = record["tls_version"], record["tls_cipher"]
        if said in theirs.get(flow, set()):
            agree += 1
        else:
            wrong.append(f"{flow}: {said} is none of {theirs.get(flow)}")
    wrong += [f"{flow}: nothing, where there is {said}" for flow, said in theirs.items() if flow not in seen]
    if wrong:
        sys.exit("\n".join(wrong))
    print(agree)


main()
