"""Packets of pcap files as inputs of a fuzz target: seeds.py decoder|names FOLDER FILE...

`decoder` takes frames; `names` scripts of the payloads of flows.
"""

import hashlib
import pathlib
import struct
import sys

# As in targets/decoder.rs: the link types by their place.
LINKS = [1, 0, 9, 12, 14, 50, 101, 104, 108, 113, 127, 105, 228, 229, 239, 276, 51, 192, 204, 219, 226]
# As in targets/names.rs: protocols and ports, then announcements by their type of Ethernet frame.
UDP, TCP = 17, 6
FLOWS = [
    (UDP, 53), (UDP, 5353), (UDP, 5355), (UDP, 137), (UDP, 67), (UDP, 547), (UDP, 1900), (UDP, 443),
    (TCP, 53), (TCP, 80), (TCP, 443), (TCP, 22), (TCP, 25),
]
ANNOUNCED = {0x0806: 13, 0x88CC: 14}
FROM_SERVER = 16
ORDERS = {
    b"\xd4\xc3\xb2\xa1": "<",
    b"\x4d\x3c\xb2\xa1": "<",
    b"\xa1\xb2\xc3\xd4": ">",
    b"\xa1\xb2\x3c\x4d": ">",
}
# Frames of one file, so that no protocol has all the seeds.
FRAMES, BYTES = 40, 512
PAYLOADS, PAYLOAD_BYTES = 6, 1500


def frames(data, most, most_bytes):
    """Link type and bytes of the first frames."""
    order = ORDERS.get(data[:4])
    if order is None or len(data) < 24:
        return
    link = struct.unpack(order + "I", data[20:24])[0] & 0xFFFF
    at = 24
    for _ in range(most):
        if at + 16 > len(data):
            return
        (length,) = struct.unpack(order + "I", data[at + 8 : at + 12])
        yield link, data[at + 16 : at + 16 + min(length, most_bytes)]
        at += 16 + length


def of_decoder(data):
    for link, frame in frames(data, FRAMES, BYTES):
        if link in LINKS:
            for opens_tunnels in (0, 32):
                yield bytes([LINKS.index(link) | opens_tunnels]) + frame


def payload(frame):
    """Flow, kind and payload of a packet or an announcement in an Ethernet frame."""
    kind, packet = struct.unpack(">H", frame[12:14])[0], frame[14:]
    if kind in ANNOUNCED:
        return None, ANNOUNCED[kind], packet
    if kind == 0x0800:
        header, protocol, ends = (packet[0] & 15) * 4, packet[9], packet[12:20]
    elif kind == 0x86DD:
        header, protocol, ends = 40, packet[6], packet[8:40]
    else:
        return None
    if len(packet) <= header + 12:
        return None
    ports = struct.unpack(">HH", packet[header : header + 4])
    behind = {UDP: 8, TCP: (packet[header + 12] >> 4) * 4}.get(protocol)
    if behind is None or not packet[header + behind :]:
        return None
    for way, port in ((0, ports[1]), (FROM_SERVER, ports[0])):
        if (protocol, port) in FLOWS:
            flow = protocol, frozenset((ends[: len(ends) // 2], ends[len(ends) // 2 :])), frozenset(ports)
            return flow, FLOWS.index((protocol, port)) | way, packet[header + behind :]
    return None


def of_names(data):
    scripts = {}
    for link, frame in frames(data, 50 * FRAMES, PAYLOAD_BYTES + 100):
        found = payload(frame) if link == 1 and len(frame) > 34 else None
        if found:
            flow, kind, content = found
            scripts.setdefault(flow, []).append((kind, content[:PAYLOAD_BYTES]))
    for steps in list(scripts.values())[:FRAMES]:
        steps = (bytes([kind]) + struct.pack(">H", len(content)) + content for kind, content in steps[:PAYLOADS])
        yield b"\x01" + b"".join(steps)


makers = {"decoder": of_decoder, "names": of_names}
make, folder = makers[sys.argv[1]], pathlib.Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
for file in sys.argv[3:]:
    for seed in make(pathlib.Path(file).read_bytes()):
        (folder / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
