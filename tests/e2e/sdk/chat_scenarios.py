"""Chat, Responses and the legacy completions, as apps use them: plain, streamed, with tools, into types."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from tests.e2e.sdk.both import each, got, within

HELLO: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Wie geht's, Ærøskøbing?"}]
SAID = "You said: Wie geht's, Ærøskøbing? — naïve 👍"
WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": name, "description": "Looks it up.", "parameters": WEATHER, "strict": True}}
    for name in ("get_weather", "get_tides")
]


class Step(BaseModel):
    explanation: str
    minutes: float


class Plan(BaseModel):
    steps: list[Step]
    confident: bool
    total: int


async def chat(client: Any) -> Any:
    reply = await got(client.chat.completions.create(model="gpt-4o", messages=HELLO, temperature=1.0, seed=7, user="someone"))
    assert reply.choices[0].message.content == SAID
    assert reply.usage.total_tokens == 13
    assert reply._request_id.startswith("req_")
    return reply.to_dict(), reply._request_id


async def chat_of_several_choices_and_parts(client: Any) -> Any:
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo" * 20_000}},
    ]
    reply = await got(client.chat.completions.create(model="gpt-4o", n=3, messages=[{"role": "user", "content": parts}]))
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert "<image_url>" in reply.choices[2].message.content
    return reply.to_dict()


async def chat_streamed(client: Any) -> Any:
    stream = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True, stream_options={"include_usage": True})
    chunks = [chunk.to_dict() async for chunk in each(stream)]
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
    assert text == SAID
    assert chunks[-1]["usage"]["total_tokens"] == 13
    return chunks


async def chat_streamed_without_usage(client: Any) -> Any:
    chunks = [chunk.to_dict() async for chunk in each(client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True, n=2))]
    assert not any("usage" in chunk for chunk in chunks)
    assert {chunk["choices"][0]["index"] for chunk in chunks} == {0, 1}
    return chunks


async def chat_streamed_in_shreds(client: Any) -> Any:
    found = {}
    for size in (1, 7, 64):
        stream = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True, extra_headers={"x-play": f"shredded {size}"})
        found[size] = [chunk.to_dict() async for chunk in each(stream)]
    assert found[1] == found[7] == found[64]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in found[1]) == SAID
    return found


async def chat_streamed_in_lockstep(client: Any) -> Any:
    """Each event is here when it left: the upstream says the rest only after we have acted on the first ones."""
    stream = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True, extra_headers={"x-play": "lockstep 4"}, timeout=5)
    chunks: list[Any] = []
    async for chunk in each(stream):
        chunks.append(chunk.to_dict())
        if len(chunks) == 3:
            await got(client.models.retrieve("gpt-4o-mini"))
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == SAID
    return chunks


async def chat_stream_helper(client: Any) -> Any:
    """`stream()`, which gathers what it hears: text events, tool events, a final snapshot."""
    async with within(client.chat.completions.stream(model="gpt-4o", messages=HELLO, response_format=Plan)) as stream:
        kinds = [event.type async for event in each(stream)]
        final = await got(stream.get_final_completion())
    assert final.choices[0].message.parsed.total == 7
    assert {"chunk", "content.delta", "content.done"} <= set(kinds)
    return kinds, final.to_dict(warnings=False)


async def chat_with_tools(client: Any) -> Any:
    """The whole round: the model asks for two calls, the app answers, the model speaks."""
    messages = list(HELLO)
    asked = (await got(client.chat.completions.create(model="gpt-4o", messages=messages, tools=TOOLS, tool_choice="required"))).choices[0]
    assert asked.finish_reason == "tool_calls"
    assert [call.function.name for call in asked.message.tool_calls] == ["get_weather", "get_tides"]
    messages.append(asked.message.to_dict())
    messages += [
        {"role": "tool", "tool_call_id": call.id, "content": f"{call.function.arguments} → 12°"} for call in asked.message.tool_calls
    ]
    answer = await got(client.chat.completions.create(model="gpt-4o", messages=messages, tools=TOOLS))
    assert answer.choices[0].message.content.startswith('You said: {"city": "Zürich", "days": 7} → 12°')
    return asked.to_dict(), answer.to_dict()


async def chat_with_tools_streamed(client: Any) -> Any:
    calls: dict[int, list[str]] = {}
    chunks = []
    async for chunk in each(client.chat.completions.create(model="gpt-4o", messages=HELLO, tools=TOOLS, stream=True)):
        chunks.append(chunk.to_dict())
        for call in chunk.choices[0].delta.tool_calls or ():
            calls.setdefault(call.index, []).append(call.function.arguments)
    assert ["".join(parts) for parts in calls.values()] == ['{"city": "Zürich", "days": 7}'] * 2
    return chunks


async def chat_parsed(client: Any) -> Any:
    reply = await got(client.chat.completions.parse(model="gpt-4o", messages=HELLO, response_format=Plan))
    assert reply.choices[0].message.parsed == Plan(steps=[Step(explanation="Zürich", minutes=2.5)] * 2, confident=True, total=7)
    return reply.to_dict(warnings=False)


async def completions(client: Any) -> Any:
    one = await got(client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Once upon a time", max_tokens=7))
    several = await got(client.completions.create(model="gpt-3.5-turbo-instruct", prompt=[[1, 2, 3], [4]]))
    streamed = [
        chunk.to_dict() async for chunk in each(client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Once", stream=True))
    ]
    assert one.choices[0].text == " … after Once upon a time"
    assert [choice.text for choice in several.choices] == [" … after [1, 2, 3]", " … after [4]"]
    assert "".join(chunk["choices"][0]["text"] for chunk in streamed) == " … after Once"
    return one.to_dict(), several.to_dict(), streamed


async def responses(client: Any) -> Any:
    first = await got(client.responses.create(model="gpt-5", input="Hallo, Fähre!", instructions="Be brief."))
    then = await got(
        client.responses.create(
            model="gpt-5",
            input=[{"role": "user", "content": [{"type": "input_text", "text": "And now?"}]}],
            previous_response_id=first.id,
            store=True,
        )
    )
    assert first.output_text == "Response to: Hallo, Fähre! — naïve 👍"
    assert then.output_text == "Response to: And now? — naïve 👍"
    assert then.previous_response_id == first.id
    return first.to_dict(), then.to_dict()


async def responses_streamed(client: Any) -> Any:
    events = [event.to_dict() async for event in each(client.responses.create(model="gpt-5", input="Hallo", stream=True))]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[0]["type"] == "response.created"
    assert events[-1]["type"] == "response.completed"
    assert "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta") == "Response to: Hallo — naïve 👍"
    return events


async def responses_stream_helper(client: Any) -> Any:
    async with within(client.responses.stream(model="gpt-5", input="Plan it", text_format=Plan)) as stream:
        kinds = [event.type async for event in each(stream)]
        final = await got(stream.get_final_response())
    assert final.output_parsed.total == 7
    return kinds, final.to_dict(warnings=False)


async def responses_parsed(client: Any) -> Any:
    reply = await got(client.responses.parse(model="gpt-5", input="Plan it", text_format=Plan))
    assert reply.output_parsed == Plan(steps=[Step(explanation="Zürich", minutes=2.5)] * 2, confident=True, total=7)
    return reply.to_dict()


async def responses_with_tools(client: Any) -> Any:
    tools = [{"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": True}]
    asked = await got(client.responses.create(model="gpt-5", input="Weather?", tools=tools))
    call = asked.output[0]
    answer = await got(
        client.responses.create(
            model="gpt-5",
            tools=tools,
            input=[
                {"role": "user", "content": "Weather?"},
                call.to_dict(),
                {"type": "function_call_output", "call_id": call.call_id, "output": "12°"},
            ],
        )
    )
    streamed = [event.to_dict() async for event in each(client.responses.create(model="gpt-5", input="Weather?", tools=tools, stream=True))]
    assert call.arguments == '{"city": "Zürich", "days": 7}'
    assert answer.output_text == "Response to: 12° — naïve 👍"
    assert "".join(event["delta"] for event in streamed if "arguments.delta" in event["type"]) == call.arguments
    return asked.to_dict(), answer.to_dict(), streamed


SCENARIOS = (
    chat,
    chat_of_several_choices_and_parts,
    chat_streamed,
    chat_streamed_without_usage,
    chat_streamed_in_shreds,
    chat_streamed_in_lockstep,
    chat_stream_helper,
    chat_with_tools,
    chat_with_tools_streamed,
    chat_parsed,
    completions,
    responses,
    responses_streamed,
    responses_stream_helper,
    responses_parsed,
    responses_with_tools,
)
