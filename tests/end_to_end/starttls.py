"""Has the clients of Python's library log in to servers that go on in TLS, and writes what they say to
each other as a capture file: SMTP, IMAP, POP3 and FTP, on their own ports and on others.

Arguments: the server's certificate, its key, the capture. The connections are real, over loopback,
through a relay that notes what passes; the packets of the capture are made of that.
"""

import ftplib
import imaplib
import poplib
import smtplib
import socket
import ssl
import struct
import sys
import threading
import time

HOST = "localhost"
SEGMENT = 1460
SYN, FIN, ACK = 2, 1, 16


class Capture:
    """Packets of IPv4 with what passed, in a file."""

    def __init__(self, path):
        self.file = open(path, "wb")
        self.file.write(struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101))
        self.lock = threading.Lock()
        self.next = {}

    def add(self, port, client_port, from_client, flags, data=b""):
        with self.lock:
            key = port, client_port, from_client
            sequence = self.next.get(key, 1000)
            self.next[key] = sequence + len(data) + (flags & (SYN | FIN) != 0)
            ends = [(bytes([192, 0, 2, 1]), client_port), (bytes([192, 0, 2, 2]), port)]
            (source, source_port), (target, target_port) = ends if from_client else ends[::-1]
            tcp = struct.pack(">HHIIBBHHH", source_port, target_port, sequence, 1, 0x50, flags, 65535, 0, 0)
            length = 20 + len(tcp) + len(data)
            ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, length, 0, 0, 64, 6, 0, source, target)
            now = time.time_ns() // 1000
            self.file.write(struct.pack("<IIII", now // 1_000_000, now % 1_000_000, length, length))
            self.file.write(ip + tcp + data)


def relay(client, server_port, port, capture):
    """Passes all on, both ways, and notes it as of a connection to `port`."""
    client_port = client.getpeername()[1]
    server = socket.create_connection(("127.0.0.1", server_port))
    capture.add(port, client_port, True, SYN)
    capture.add(port, client_port, False, SYN | ACK)

    def one_way(source, target, from_client):
        while data := source.recv(65536):
            for at in range(0, len(data), SEGMENT):
                capture.add(port, client_port, from_client, ACK, data[at : at + SEGMENT])
            target.sendall(data)
        capture.add(port, client_port, from_client, FIN | ACK)
        target.shutdown(socket.SHUT_WR)

    back = threading.Thread(target=one_way, args=(server, client, False))
    back.start()
    one_way(client, server, True)
    back.join()


def serve(connection, kind, context):
    """Answers as a server of a kind does, in the clear and then in TLS."""
    answers = {
        "smtp": {"EHLO": "250-localhost\r\n250 STARTTLS\r\n", "STARTTLS": "220 go on\r\n", "QUIT": "221 bye\r\n"},
        "imap": {"CAPABILITY": "* CAPABILITY IMAP4rev1 STARTTLS\r\n{} OK done\r\n", "STARTTLS": "{} OK go on\r\n", "LOGOUT": "* BYE\r\n{} OK bye\r\n"},
        "pop3": {"CAPA": "+OK\r\nSTLS\r\n.\r\n", "STLS": "+OK\r\n", "QUIT": "+OK\r\n"},
        "ftp": {"AUTH": "234 go on\r\n", "QUIT": "221 bye\r\n"},
    }[kind]
    greeting = {"smtp": "220 localhost ESMTP\r\n", "imap": "* OK ready\r\n", "pop3": "+OK ready\r\n", "ftp": "220 FTP ready\r\n"}
    connection.sendall(greeting[kind].encode())
    while line := read_line(connection):
        tag, words = "", line.split()
        if kind == "imap":
            tag, *words = words
        word = words[0].upper()
        connection.sendall(answers.get(word, "500 what\r\n").format(tag).encode())
        if word in ("STARTTLS", "STLS", "AUTH"):
            connection = context.wrap_socket(connection, server_side=True)
        elif word in ("QUIT", "LOGOUT"):
            break
    connection.close()


def read_line(connection):
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            break
        line += byte
    return line.decode()


def talk(kind, port, context):
    """What a client does: it greets, goes on in TLS, and leaves."""
    if kind == "smtp":
        with smtplib.SMTP(HOST, port) as client:
            client.starttls(context=context)
    elif kind == "imap":
        client = imaplib.IMAP4(HOST, port)
        client.starttls(context)
        client.logout()
    elif kind == "pop3":
        client = poplib.POP3(HOST, port)
        client.stls(context)
        client.quit()
    else:
        client = ftplib.FTP_TLS(context=context)
        client.connect(HOST, port)
        client.auth()
        client.quit()


def conversation(kind, port, version, certificate, key, capture):
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate, key)
    server_context.maximum_version = version
    context = ssl.create_default_context(cafile=certificate)
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [listener.getsockname()[1] for listener in listeners]
    run = [
        lambda: serve(listeners[0].accept()[0], kind, server_context),
        lambda: relay(listeners[1].accept()[0], ports[0], port, capture),
    ]
    threads = [threading.Thread(target=one) for one in run]
    for thread in threads:
        thread.start()
    talk(kind, ports[1], context)
    for thread in threads:
        thread.join()


def main():
    certificate, key, path = sys.argv[1:]
    socket.setdefaulttimeout(20)
    capture = Capture(path)
    old, new = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    own = {"smtp": 25, "imap": 143, "pop3": 110, "ftp": 21}
    for place, (kind, port) in enumerate(own.items()):
        conversation(kind, port, old, certificate, key, capture)
        conversation(kind, 10000 + place, new, certificate, key, capture)
    capture.file.close()


main()
