"""What is not chat: embeddings, files, audio, images, batches, models, Realtime, and how heads and extras travel."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import zstandard
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, NotFoundError
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.e2e.sdk.both import each, got, within
from tests.e2e.sdk.chat_scenarios import HELLO, SAID
from tests.e2e.sdk.compare import end_to_end
from tests.e2e.sdk.media import AUDIO, PNG, TRANSCRIPT
from tests.e2e.sdk.wording import KEY

ZSTD = b"\x28\xb5\x2f\xfd"
ANY_BYTES = bytes(range(256)) * 2000 + b"\r\n--not-a-boundary\r\n\x00"


async def embeddings(client: Any) -> Any:
    """The SDK asks for base64 by itself and unpacks it; `float` must come as numbers."""
    packed = await got(client.embeddings.create(model="text-embedding-3-small", input=["Fähre", "ferry"]))
    plain = await got(client.embeddings.create(model="text-embedding-3-small", input=["Fähre", "ferry"], encoding_format="float"))
    raw = await got(client.embeddings.create(model="text-embedding-3-small", input=[1, 2, 3], encoding_format="base64", dimensions=8))
    assert [item.embedding for item in packed.data] == [item.embedding for item in plain.data]
    assert len(packed.data[1].embedding) == 32
    assert len(base64.b64decode(raw.data[0].embedding)) == 32
    return packed.to_dict(), plain.to_dict(), raw.to_dict(warnings=False)


async def files(client: Any) -> Any:
    """Up as a form, listed over pages, down to the byte, away."""
    made = [
        await got(client.files.create(file=(name, data, "application/jsonl"), purpose="batch"))
        for name, data in (("fähre.jsonl", b'{"custom_id": "1"}\n'), ("any.bin", ANY_BYTES), ("one.bin", b"1"))
    ]
    listed = [item.to_dict() async for item in each(client.files.list(limit=2))]
    about = await got(client.files.retrieve(made[1].id))
    content = await got(client.files.content(made[1].id))
    gone = [(await got(client.files.delete(item.id))).to_dict() for item in made]
    try:
        missing: Any = await got(client.files.retrieve(made[1].id))
    except NotFoundError as error:
        missing = error.body
    assert content.content == ANY_BYTES
    assert content.response.headers["content-disposition"] == 'attachment; filename="any.bin"'
    assert {item["filename"] for item in listed} == {"fähre.jsonl", "any.bin", "one.bin"}
    assert about.bytes == len(ANY_BYTES)
    assert "No such file" in missing["message"]
    return [item.to_dict() for item in made], listed, about.to_dict(), end_to_end(content.response.headers.raw), gone, missing


async def speech(client: Any) -> Any:
    whole = await got(client.audio.speech.create(model="gpt-4o-mini-tts", voice="alloy", input="Ahoi"))
    async with within(client.audio.speech.with_streaming_response.create(model="gpt-4o-mini-tts", voice="alloy", input="Ahoi")) as streamed:
        headers = end_to_end(streamed.headers.raw)
        parts = [part async for part in each(streamed.iter_bytes())]
    assert whole.content == AUDIO
    assert b"".join(parts) == AUDIO
    assert len(parts) > 1
    return hashlib.sha256(whole.content).hexdigest(), headers


async def transcriptions(client: Any) -> Any:
    sound = ("ahoi.mp3", AUDIO[:30_000], "audio/mpeg")
    found: dict[str, Any] = {}
    for kind in ("json", "text", "srt", "vtt", "verbose_json"):
        heard = await got(client.audio.transcriptions.create(model="whisper-1", file=sound, response_format=kind))
        found[kind] = heard if isinstance(heard, str) else heard.to_dict()
    streamed = [
        event.to_dict() async for event in each(client.audio.transcriptions.create(model="gpt-4o-transcribe", file=sound, stream=True))
    ]
    translated = await got(client.audio.translations.create(model="whisper-1", file=sound))
    assert found["json"]["text"] == translated.text == TRANSCRIPT
    assert found["text"] == TRANSCRIPT + "\n"
    assert found["srt"].startswith("1\n00:00:00,000 --> ")
    assert "".join(event["delta"] for event in streamed[:-1]) == TRANSCRIPT
    return found, streamed, translated.to_dict()


async def images(client: Any) -> Any:
    drawn = await got(client.images.generate(model="gpt-image-1", prompt="A ferry", n=2))
    streamed = [
        event.to_dict()
        async for event in each(client.images.generate(model="gpt-image-1", prompt="A ferry", stream=True, partial_images=1))
    ]
    edited = await got(
        client.images.edit(model="gpt-image-1", prompt="More öre", image=[("a.png", PNG, "image/png"), ("b.png", PNG + b"\0", "image/png")])
    )
    assert base64.b64decode(drawn.data[1].b64_json) == PNG
    assert [event["type"] for event in streamed] == ["image_generation.partial_image", "image_generation.completed"]
    assert edited.data[0].revised_prompt.startswith("More öre")
    return drawn.to_dict(), streamed, edited.to_dict()


async def batches(client: Any) -> Any:
    made = await got(
        client.batches.create(input_file_id="file-1", endpoint="/v1/chat/completions", completion_window="24h", metadata={"run": "ä"})
    )
    found = await got(client.batches.retrieve(made.id))
    listed = [item.to_dict() async for item in each(client.batches.list())]
    ended = await got(client.batches.cancel(made.id))
    assert [made.status, found.status, listed[0]["status"], ended.status] == ["validating", "in_progress", "completed", "cancelling"]
    return made.to_dict(), found.to_dict(), listed, ended.to_dict()


async def models(client: Any) -> Any:
    listed = [item.to_dict() async for item in each(client.models.list())]
    tuned = await got(client.models.retrieve("ft:gpt-4o-mini:acme::9abc"))
    gone = await got(client.models.delete("ft:gpt-4o-mini:acme::9abc"))
    assert [item["id"] for item in listed][:2] == ["gpt-4o", "gpt-4o-mini"]
    assert tuned.owned_by == "acme"
    assert gone.deleted
    return listed, tuned.to_dict(), gone.to_dict()


async def moderations(client: Any) -> Any:
    found = await got(client.moderations.create(model="omni-moderation-latest", input="A calm sea"))
    assert not found.results[0].flagged
    return found.to_dict()


async def paths_that_nobody_knows(client: Any) -> Any:
    """The SDK's own way out for undocumented endpoints: any method, any path, the query as written."""
    found = []
    for method in ("get", "put", "patch", "delete"):
        try:
            await got(getattr(client, method)("/brand-new/a%2Fb/?q=1&q=2&empty=", cast_to=object))
        except NotFoundError as error:
            found.append((error.message, error.status_code))
    assert len(found) == 4
    assert "(PATCH /v1/brand-new/a%2Fb/)" in found[2][0]
    return found


async def extras(client: Any) -> Any:
    """Headers, query and body fields that the SDK does not know, and one that it is told to leave out."""
    reply = await got(
        client.chat.completions.with_raw_response.create(
            model="gpt-4o",
            messages=HELLO,
            extra_headers={
                "X-Tenant": 'Aeroe; a="b"',
                "X-Empty": "",
                "OpenAI-Beta": "assistants=v2",
                "Idempotency-Key": "k-1",
                "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            },
            extra_query={"beta": ["a", "b"], "q": "ä&=/?"},
            extra_body={"ext": {"big": 12345678901234567890, "e": 1e3}, "temperature": 1.0},
        )
    )
    assert reply.parse().choices[0].message.content == SAID
    return reply.status_code, reply.parse().to_dict()


async def heads(client: Any) -> Any:
    """with_raw_response: request ids, rate limits, repeats, their order and spelling."""
    raw = await got(client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO))
    listed = await got(client.models.with_raw_response.list())
    assert raw.headers["x-ratelimit-remaining-requests"] == "9999"
    assert raw.headers.get_list("set-cookie") == ["__cf_bm=a1; path=/; HttpOnly", "_cfuvid=b2; path=/; Secure"]
    assert raw.request_id == raw.headers["x-request-id"]
    assert raw.headers["server"] == "cloudflare"
    return [
        (each.status_code, each.http_response.reason_phrase, each.http_version, end_to_end(each.headers.raw), each.content)
        for each in (raw, listed)
    ]


async def streaming_response(client: Any) -> Any:
    """with_streaming_response: lines and bytes of a stream as they came."""
    async with within(client.chat.completions.with_streaming_response.create(model="gpt-4o", messages=HELLO, stream=True)) as reply:
        headers = end_to_end(reply.headers.raw)
        lines = [line async for line in each(reply.iter_lines())]
    async with within(client.chat.completions.with_streaming_response.create(model="gpt-4o", messages=HELLO)) as reply:
        data = b"".join([part async for part in each(reply.iter_bytes())])
    assert lines[0] == ": OPENAI PROCESSING"
    assert "data: [DONE]" in lines
    assert "naïve 👍".encode() in data
    return headers, lines, data


async def encodings(client: Any) -> Any:
    found = {}
    for name in ("gzip", "deflate", "br", "zstd"):
        raw = await got(
            client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO, extra_headers={"x-play": f"encoded {name}"})
        )
        assert raw.headers["content-encoding"] == name
        plain = (
            zstandard.decompress(raw.content) if raw.content.startswith(ZSTD) else raw.content
        )  # not every build of the client reads zstd
        assert json.loads(plain)["choices"][0]["message"]["content"] == SAID
        found[name] = end_to_end(raw.headers.raw), raw.content
    stream = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True, extra_headers={"x-play": "encoded gzip"})
    chunks = [chunk.to_dict() async for chunk in each(stream)]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == SAID
    return found, chunks


async def azure(client: Any) -> Any:
    """Azure's client by its endpoint, outside /v1, and by a base url."""
    kind: Any = AsyncAzureOpenAI if isinstance(client, AsyncOpenAI) else AzureOpenAI
    root = str(client.base_url).removesuffix("/v1/")
    found = []
    for place in ({"azure_endpoint": root}, {"base_url": f"{root}/openai/deployments/gpt-4o"}):
        other = kind(api_key=KEY, api_version="2024-10-21", http_client=client._client, max_retries=0, **place)
        reply = await got(other.chat.completions.create(model="gpt-4o", messages=HELLO))
        chunks = [chunk.to_dict() async for chunk in each(other.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True))]
        assert reply.choices[0].message.content == SAID
        found.append((reply.to_dict(), chunks))
    return found


async def realtime(client: Any) -> Any:
    """A session by the SDK's own WebSocket client: events, text, audio, binary frames, an error event, an orderly end."""
    events: list[Any] = []
    options: Any = {"subprotocols": ["realtime"]}
    async with within(
        client.realtime.connect(model="gpt-realtime", websocket_connection_options=options, extra_query={"tier": "ä"})
    ) as session:
        events.append((await got(session.recv())).to_dict())
        await got(session.session.update(session={"type": "realtime", "instructions": "Sei kurz."}))
        await got(
            session.conversation.item.create(item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Ahoi"}]})
        )
        await got(session.input_audio_buffer.append(audio=base64.b64encode(AUDIO[:200_000]).decode()))
        await got(session.response.create())
        while events[-1]["type"] != "response.done":
            events.append((await got(session.recv())).to_dict())
        await got(session._connection.send(ANY_BYTES))
        echoed = await got(session._connection.recv())
        await got(session.send({"type": "never.heard.of"}))
        error = await got(session.recv())
        subprotocol = session._connection.subprotocol
    assert "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta") == "Ahoy from the wire 🛰"
    assert error.error.code == "unknown_event"
    assert echoed == ANY_BYTES[::-1]
    assert subprotocol == "realtime"
    return events, error.to_dict()


async def realtime_ends(client: Any) -> Any:
    """The server's close code, and a refused handshake."""
    async with within(client.realtime.connect(model="gpt-realtime")) as session:
        await got(session.recv())
        await got(session.session.update(session={"type": "realtime", "instructions": "hang up"}))
        try:
            closed: Any = await got(session.recv())
        except ConnectionClosed as end:
            closed = (end.rcvd.code, end.rcvd.reason) if end.rcvd else None
    try:
        async with within(client.with_options(api_key="sk-wrong").realtime.connect(model="gpt-realtime")) as session:
            refused: Any = await got(session.recv())
    except InvalidStatus as error:
        refused = error.response.status_code, bytes(error.response.body or b"")
    assert closed == (4001, "session expired")
    assert refused[0] == 401
    return closed, refused


SCENARIOS = (
    embeddings,
    files,
    speech,
    transcriptions,
    images,
    batches,
    models,
    moderations,
    paths_that_nobody_knows,
    extras,
    heads,
    streaming_response,
    encodings,
    azure,
    realtime,
    realtime_ends,
)
