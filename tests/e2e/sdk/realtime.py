"""The Realtime endpoint of the scripted upstream: a WebSocket session that answers in text and in audio.

The frames are done by websockets' protocol object without its own I/O, so that the handshake's raw head stays recorded.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator, Sequence

from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from tests.e2e.sdk.upstream import Arrival

WORDS = ("Ahoy", " from", " the", " wire", " 🛰")
AUDIO = bytes(range(256)) * 8


def replies(event: dict[str, object], session: dict[str, object]) -> Iterator[dict[str, object]]:
    """What the API says to one client event."""
    match event["type"]:
        case "session.update":
            yield {"type": "session.updated", "event_id": "event_2", "session": session | dict(event["session"])}  # type: ignore[call-overload]
        case "conversation.item.create":
            yield {"type": "conversation.item.added", "event_id": "event_3", "previous_item_id": None, "item": event["item"]}
        case "input_audio_buffer.append":
            size = len(base64.b64decode(str(event["audio"])))
            yield {"type": "input_audio_buffer.speech_started", "event_id": "event_4", "audio_start_ms": size // 48, "item_id": "item_2"}
        case "response.create":
            place = {"response_id": "resp_rt", "item_id": "item_3", "output_index": 0, "content_index": 0}
            yield {
                "type": "response.created",
                "event_id": "event_5",
                "response": {"id": "resp_rt", "object": "realtime.response", "status": "in_progress"},
            }
            for number, word in enumerate(WORDS):
                yield {"type": "response.output_text.delta", "event_id": f"event_6{number}", "delta": word, **place}
            yield {"type": "response.output_audio.delta", "event_id": "event_7", "delta": base64.b64encode(AUDIO).decode(), **place}
            yield {
                "type": "response.done",
                "event_id": "event_8",
                "response": {"id": "resp_rt", "object": "realtime.response", "status": "completed"},
            }
        case other:
            error = {
                "type": "invalid_request_error",
                "code": "unknown_event",
                "message": f"unknown event {other}",
                "param": "type",
                "event_id": None,
            }
            yield {"type": "error", "event_id": "event_9", "error": error}


async def converse(arrival: Arrival, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one WebSocket until either side closes; what the client sent is in `arrival.messages`."""
    protocol = ServerProtocol(select_subprotocol=offered, max_size=None)
    head = b"\r\n".join([b"%b %b HTTP/1.1" % (arrival.method, arrival.target), *(b"%b: %b" % pair for pair in arrival.headers), b"\r\n"])
    protocol.receive_data(head)
    [request] = protocol.events_received()
    if arrival.header("authorization") != "Bearer sk-test-0123" and arrival.header("api-key") != "sk-test-0123":
        response = protocol.reject(401, json.dumps({"error": {"message": "Incorrect API key", "type": "invalid_request_error"}}))
    else:
        response = protocol.accept(request)  # type: ignore[arg-type]
        response.headers["x-request-id"] = "req_realtime"
    protocol.send_response(response)
    session: dict[str, object] = {"type": "realtime", "object": "realtime.session", "id": "sess_1", "model": "gpt-realtime"}
    if protocol.state is State.OPEN:
        say(protocol, {"type": "session.created", "event_id": "event_1", "session": session})
    await flush(protocol, writer)
    while not protocol.close_expected() and (data := await reader.read(65536)):
        protocol.receive_data(data)
        for event in protocol.events_received():
            assert isinstance(event, Frame)
            hear(arrival, protocol, event, session)
        await flush(protocol, writer)
    arrival.close_code = protocol.close_code if protocol.close_rcvd else None


def offered(protocol: ServerProtocol, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
    return next((each for each in subprotocols if each == "realtime"), None)


def hear(arrival: Arrival, protocol: ServerProtocol, frame: Frame, session: dict[str, object]) -> None:
    if frame.opcode is Opcode.BINARY:
        arrival.messages.append(bytes(frame.data))
        protocol.send_binary(bytes(frame.data)[::-1])
    elif frame.opcode is Opcode.TEXT:
        text = bytes(frame.data).decode()
        arrival.messages.append(text)
        event = json.loads(text)
        if event["type"] == "session.update" and event["session"].get("instructions") == "hang up":
            protocol.send_close(4001, "session expired")
            return
        for reply in replies(event, session):
            say(protocol, reply)


def say(protocol: ServerProtocol, event: dict[str, object]) -> None:
    protocol.send_text(json.dumps(event, ensure_ascii=False).encode())


async def flush(protocol: ServerProtocol, writer: asyncio.StreamWriter) -> None:
    for data in protocol.data_to_send():
        if data:
            writer.write(data)
        elif writer.can_write_eof():
            writer.write_eof()
    await writer.drain()
