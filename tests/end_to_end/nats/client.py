"""Makes and reads streams of a NATS server, by NATS's own client for Python.

    client.py URL make '{"name": "FLOWS", "subjects": ["flows"], …}'
    client.py URL read FLOWS
    client.py - operator FOLDER

`read` prints all messages that the stream has, each as a JSON object: `subject`, `id` (the header
Nats-Msg-Id) and `text`. `operator` makes what nsc would: `server.conf`, by which a server trusts an
operator of ours, and `user.creds` for a user of an account of it. With NATS_CREDS in the environment
the client is who that file says.
"""

import asyncio
import base64
import json
import os
import ssl
import sys

import nats
import nkeys
from nats.errors import TimeoutError as Nothing
from nats.js.api import StreamConfig


async def make(stream, config):
    await stream.add_stream(StreamConfig.from_response(json.loads(config)))


async def read(stream, name):
    left = (await stream.stream_info(name)).state.messages
    reader = await stream.pull_subscribe("", stream=name)
    while left > 0:
        try:
            messages = await reader.fetch(min(left, 500), timeout=5)
        except Nothing:
            sys.exit(f"{left} messages do not come")
        for message in messages:
            headers = message.headers or {}
            line = {"subject": message.subject, "id": headers.get("Nats-Msg-Id")}
            print(json.dumps(line | {"text": message.data.decode()}))
            await message.ack()
        left -= len(messages)


def key(prefix):
    seed = nkeys.encode_seed(os.urandom(32), prefix)
    pair = nkeys.from_seed(seed)
    return seed.decode(), pair.public_key.decode(), pair


def encode(text):
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def token(name, subject, issuer, by, claims):
    """A JWT as NATS has them (nats-io/jwt, version 2)."""
    header = {"typ": "JWT", "alg": "ed25519-nkey"}
    who = {"jti": name, "iat": 1700000000, "iss": issuer, "name": name, "sub": subject}
    claims = who | {"nats": claims | {"version": 2}}
    signed = ".".join(encode(json.dumps(part).encode()) for part in (header, claims))
    return signed + "." + encode(by.sign(signed.encode()))


def operator(folder):
    _, operator, by = key(nkeys.PREFIX_BYTE_OPERATOR)
    _, system, _ = key(nkeys.PREFIX_BYTE_ACCOUNT)
    _, account, of = key(nkeys.PREFIX_BYTE_ACCOUNT)
    seed, user, _ = key(nkeys.PREFIX_BYTE_USER)
    anything = dict.fromkeys(("subs", "data", "payload"), -1)
    kept = ("mem_storage", "disk_storage", "streams", "consumer")
    names = ("imports", "exports", "conn", "leaf")
    limits = anything | {"wildcards": True} | dict.fromkeys(names, -1)
    trust = token("O", operator, operator, by, {"type": "operator", "system_account": system})
    its = token("SYS", system, operator, by, {"type": "account", "limits": limits})
    limits = limits | dict.fromkeys(kept, -1)
    ours = token("A", account, operator, by, {"type": "account", "limits": limits})
    who = token("U", user, account, of, {"type": "user"} | anything)
    with open(os.path.join(folder, "server.conf"), "w", encoding="utf-8") as file:
        preload = f"{{ {system}: {its}, {account}: {ours} }}"
        file.write(f"operator: {trust}\nresolver: MEMORY\nresolver_preload: {preload}\n")
    with open(os.path.join(folder, "user.creds"), "w", encoding="utf-8") as file:
        file.write(f"-----BEGIN NATS USER JWT-----\n{who}\n------END NATS USER JWT------\n\n")
        file.write(f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n")


async def main():
    url, verb, argument = sys.argv[1:]
    if verb == "operator":
        return operator(argument)
    tls = None
    if url.startswith("tls://"):
        # Who the server is is not what is tested here.
        tls = ssl._create_unverified_context()
    creds = os.environ.get("NATS_CREDS")
    who = {"tls": tls, "user_credentials": creds}
    client = await nats.connect(url, **who, allow_reconnect=False, max_reconnect_attempts=1)
    await {"make": make, "read": read}[verb](client.jetstream(), argument)
    await client.close()


asyncio.run(main())
