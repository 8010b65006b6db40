"""Frames of pcap files as inputs of the fuzz target `decoder`: seeds.py FOLDER FILE..."""

import hashlib
import pathlib
import struct
import sys

# As in targets/decoder.rs: the link types by their place.
LINKS = [1, 0, 9, 12, 14, 50, 101, 104, 108, 113, 127, 105, 228, 229, 239, 276]
ORDERS = {
    b"\xd4\xc3\xb2\xa1": "<",
    b"\x4d\x3c\xb2\xa1": "<",
    b"\xa1\xb2\xc3\xd4": ">",
    b"\xa1\xb2\x3c\x4d": ">",
}
# Frames of one file, so that no protocol has all the seeds.
FRAMES, BYTES = 40, 512


def frames(data):
    """Link type and bytes of the first frames."""
    order = ORDERS.get(data[:4])
    if order is None or len(data) < 24:
        return
    link = struct.unpack(order + "I", data[20:24])[0] & 0xFFFF
    at = 24
    for _ in range(FRAMES):
        if at + 16 > len(data):
            return
        (length,) = struct.unpack(order + "I", data[at + 8 : at + 12])
        yield link, data[at + 16 : at + 16 + min(length, BYTES)]
        at += 16 + length


folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for file in sys.argv[2:]:
    for link, frame in frames(pathlib.Path(file).read_bytes()):
        if link not in LINKS:
            continue
        for opens_tunnels in (0, 16):
            seed = bytes([LINKS.index(link) | opens_tunnels]) + frame
            (folder / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
