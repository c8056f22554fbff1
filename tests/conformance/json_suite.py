"""Sends each text of JSONTestSuite to a server, as a member that means nothing of a request: usage:
json_suite.py BINARY PARSING.JS. What is JSON must be answered, what is none be refused, and the rest be met with either; the
connection survives all of it. Ends with 1 if anything else happens."""

import base64
import collections
import json
import os
import socket
import subprocess
import sys

TEXT, BINARY, PING, PONG = 1, 2, 9, 10


def exactly(stream, count):
    data = stream.read(count)
    if len(data) < count:
        raise EOFError("the server has hung up")
    return data


class Client:
    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), 20)
        self.stream = self.socket.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        while self.stream.readline().strip():
            pass

    def send(self, opcode, payload):
        # A mask of zeros is one, too.
        length = bytes([0x80 | 127]) + len(payload).to_bytes(8, "big")
        self.socket.sendall(bytes([0x80 | opcode]) + length + bytes(4) + payload)

    def receive(self):
        """The next message."""
        message = b""
        while True:
            head, length = exactly(self.stream, 2)
            if length >= 126:
                length = int.from_bytes(exactly(self.stream, 2 if length == 126 else 8), "big")
            payload = exactly(self.stream, length)
            if head & 0x0F == PING:
                self.send(PONG, payload)
            elif head & 0x0F <= BINARY:
                message += payload
                if head & 0x80:
                    return json.loads(message)
            else:
                raise EOFError(f"the server says goodbye: {payload!r}")


def main():
    binary, suite = sys.argv[1:]
    source = open(suite, encoding="utf-8").read()
    texts = json.loads(source[source.index("[") :].strip().rstrip(";"))
    server = subprocess.Popen([binary, "--listen", "ws://127.0.0.1:0"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    wrong = []
    met = collections.Counter()
    try:
        host, port = server.stdout.readline().decode().strip().removeprefix("ws://").split(":")
        client = Client(host, int(port))
        client.send(TEXT, b'{"id":0,"method":"initialize","params":{"clientName":"conformance"}}')
        client.receive()
        client.send(TEXT, b'{"method":"initialized"}')
        for number, text in enumerate(texts, 1):
            name, kind = text["name"], text["name"][0]
            # The package has a replacement character for each byte that is not UTF-8.
            content = text["input"].replace("\ufffd", "\udcff").encode("utf-8", "surrogateescape")
            client.send(BINARY, b'{"id":%d,"method":"environment/status","x":%s}' % (number, content))
            answer = client.receive()
            is_taken = answer.get("result") == {"status": "ready"} and answer["id"] == number
            is_refused = answer.get("error", {}).get("code") == -32600
            met[kind, is_taken] += 1
            if not {"y": is_taken, "n": is_refused, "i": is_taken or is_refused}[kind]:
                wrong.append(f"{name}: {answer}")
    finally:
        server.kill()
        server.wait()
    print(
        f"JSONTestSuite: {len(texts)} texts: {met['y', True]} that are JSON taken, {met['n', False]} that are none refused, "
        f"{met['i', True]} taken and {met['i', False]} refused of those that may be either; {len(wrong)} wrong"
    )
    print("\n".join(wrong), end="\n" if wrong else "")
    sys.exit(bool(wrong))


main()
