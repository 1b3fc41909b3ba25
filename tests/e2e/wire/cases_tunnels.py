"""Line 19: the WebSocket upgrade; after the 101 bytes are only bytes, and a refusal is a reply like any other."""

from __future__ import annotations

from tests.e2e.wire.cases_chat import JSON
from tests.e2e.wire.cases_endpoints import BINARY
from tests.e2e.wire.play import Await, Case, Do, Expected, Replies, Step, reply, request, script

HANDSHAKE = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-123, openai-beta.realtime-v1",
)

REALTIME = b"GET /v1/realtime?model=gpt-4o-realtime-preview&x=%2F"
SWITCHED = reply(
    b"101 Switching Protocols",
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    b"Sec-WebSocket-Protocol: realtime",
)

MASK = b"\x01\x02\x03\x04"


def frame(opcode: int, payload: bytes, final: bool = True, masked: bool = True) -> bytes:
    """A WebSocket frame (RFC 6455, 5.2); the mask is fixed, so that the bytes are known."""
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big") if size < 65536 else b"\x7f" + size.to_bytes(8, "big")
    if masked:
        length = bytes([length[0] | 0x80]) + length[1:]
        payload = MASK + bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))
    return bytes([opcode | (0x80 if final else 0)]) + length + payload


def tunnel(name: str, client: tuple[Step, ...], upstream: tuple[Step, ...], up: bytes, down: bytes, switched: bytes = SWITCHED) -> Case:
    """After the 101 each side's bytes must arrive as they are; `upstream` starts with what goes out together with the 101."""
    first, *rest = upstream
    assert isinstance(first, bytes)
    return Case(
        19,
        name,
        (request(REALTIME, *HANDSHAKE), *client),
        (script(switched + first, *rest, early=True),),
        Expected(
            status=101,
            body=down,
            sent=up,
            complete=True,
            target=REALTIME[4:],
            request_has=HANDSHAKE,
            reply_has=(
                b"Upgrade: websocket",
                b"Connection: Upgrade",
                b"Sec-WebSocket-Protocol: realtime",
                b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            ),
        ),
        tunnel=True,
    )


HI, HELLO = frame(1, b"hi"), frame(1, b"hello", masked=False)
BLOB_UP, BLOB_DOWN = frame(2, BINARY * 20), frame(2, BINARY * 20, masked=False)
PING, PONG = frame(9, b"are you there", masked=False), frame(10, b"are you there")
CLOSE_UP, CLOSE_DOWN = frame(8, (4321).to_bytes(2, "big") + b"bye \xc3\xa9"), frame(8, (1008).to_bytes(2, "big") + b"policy", masked=False)
FRAGMENTS = frame(1, b"a", final=False) + frame(0, b"b", final=False) + PONG + frame(0, b"c")


def refused(status: bytes, body: bytes) -> Case:
    head = (JSON, b"WWW-Authenticate: Bearer", b"X-Request-Id: req_1")
    return Case(
        19,
        f"refused-with-{status[:3].decode()}",
        (request(REALTIME, *HANDSHAKE),),
        (script(reply(status, *head, body=body)),),
        Expected(status=int(status[:3]), body=body, reply_has=head, request_has=HANDSHAKE[4:]),
    )


TUNNELS = [
    tunnel(
        "text-both-ways",
        (Await(b"Upgrade"), HI, Await(HELLO), CLOSE_UP),
        (b"", Await(HI), HELLO, Await(CLOSE_UP), CLOSE_DOWN, Do.FIN),
        HI + CLOSE_UP,
        HELLO + CLOSE_DOWN,
    ),
    tunnel("frames-together-with-the-101", (Await(HELLO), HI), (HELLO, Await(HI), CLOSE_DOWN, Do.FIN), HI, HELLO + CLOSE_DOWN),
    tunnel(
        "binary-frames",
        (Await(b"\r\n\r\n"), BLOB_UP, Await(BLOB_DOWN), CLOSE_UP),
        (b"", Await(BLOB_UP), BLOB_DOWN, Await(CLOSE_UP), Do.FIN),
        BLOB_UP + CLOSE_UP,
        BLOB_DOWN,
    ),
    tunnel("a-ping-and-its-pong", (Await(PING), PONG), (PING, Await(PONG), Do.FIN), PONG, PING),
    tunnel("fragments", (Await(b"\r\n\r\n"), FRAGMENTS), (b"", Await(FRAGMENTS), HELLO, Do.FIN), FRAGMENTS, HELLO),
    tunnel("a-close-code-of-its-own", (Await(b"\r\n\r\n"), CLOSE_UP), (b"", Await(CLOSE_UP), CLOSE_UP, Do.FIN), CLOSE_UP, CLOSE_UP),
    tunnel("the-upstream-closes-first", (Await(CLOSE_DOWN),), (CLOSE_DOWN, Do.FIN), b"", CLOSE_DOWN),
    tunnel(
        "bytes-that-are-no-frames",
        (Await(b"\r\n\r\n"), b"\x00\r\n\r\nGET / HTTP/1.1\r\n\r\n", Await(b"\xff" * 9)),
        (b"", Await(b"HTTP/1.1\r\n\r\n"), b"HTTP/1.1 200 OK\r\n\r\n" + b"\xff" * 9, Do.FIN),
        b"\x00\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"\xff" * 9,
    ),
    tunnel("frames-before-the-101", (HI, Await(HELLO)), (b"", Await(HI), HELLO, Do.FIN), HI, HELLO),
    refused(b"401 Unauthorized", b'{"error": {"message": "Incorrect API key", "code": "invalid_api_key"}}'),
    refused(b"403 Forbidden", b'{"error": {"message": "no"}}'),
    refused(b"426 Upgrade Required", b""),
    Case(
        19,
        "a-request-behind-a-refused-upgrade",
        (request(REALTIME, *HANDSHAKE) + request(b"GET /v1/models"),),
        (script(reply(b"401 Unauthorized", body=b"no")), script(reply(b"200 OK", body=b"models"))),
        Expected(body=b"models", target=b"/v1/models"),
        replies=2,
        requests=2,
    ),
    Case(
        19,
        "the-connection-goes-on-after-a-refusal",
        (request(REALTIME, *HANDSHAKE), Replies(1), request(b"GET /v1/models")),
        (script(reply(b"401 Unauthorized", body=b"no")), script(reply(b"200 OK", body=b"models"))),
        Expected(body=b"models", target=b"/v1/models"),
        replies=2,
        requests=2,
    ),
]

CASES = TUNNELS
