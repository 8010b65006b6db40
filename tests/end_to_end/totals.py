"""Reads by tshark what a collector was told of totals, and compares that with what it was sent.

Arguments: all that it was sent, the ledger of the run. Exits with 1 if they differ.
"""

import json
import sys

# No file beside this for it.
sys.dont_write_bytecode = True
from compare import leaves, tshark


def main():
    ipfix, ledger = sys.argv[1:]
    ledger = json.load(open(ledger, encoding="utf-8"))
    frames = [list(leaves(frame)) for frame in tshark(ipfix)]
    messages = octets = flows = 0
    told = []
    for frame in frames:
        fields = dict(frame)
        if "cflow.flowsexp" in fields:
            told.append(messages)
            totals = [int(fields[f"cflow.{name}"]) for name in ("packetsexp", "octetsexp", "flowsexp")]
            if totals != [messages, octets, flows]:
                sys.exit(f"told {totals} of {messages} messages, {octets} octets, {flows} flows")
            ignored, lost = int(fields["cflow.ignore_packets"]), int(fields["cflow.notsent_flows"])
            if fields["cflow.flow_exporter"] == "0" or lost != 0:
                sys.exit(f"{fields}")
        messages, octets = messages + 1, octets + int(fields["cflow.len"])
        flows += sum(name == "cflow.protocol" for name, _ in frame)
    if told[0] > 1 or told[-1] != messages - 1 or len(told) < 2:
        sys.exit(f"of {messages} messages these told totals: {told}")
    if flows != ledger["flows"]["exported"]:
        sys.exit(f"{flows} flows, of {ledger['flows']}")
    if ignored != sum(ledger["packets"]["undecodable"].values()):
        sys.exit(f"{ignored} ignored, of {ledger['packets']}")
    print(messages, flows, ignored)


main()
