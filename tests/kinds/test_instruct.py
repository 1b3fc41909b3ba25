from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from proxy.core.call import Call
from proxy.core.service import compose
from proxy.kinds.instruct import KIND, InstructSpec
from tests.kinds.layering import POLICY, Sent, observed, site, through
from tests.scripted import Bugs, a_call

USER = {"role": "user", "content": "Hi"}


def chat(*messages: dict[str, Any], **more: Any) -> Call:
    return a_call({"model": "gpt-4o", "messages": [*messages, USER], **more})


async def said(call: Call, **given: Any) -> Any:
    return json.loads((await through(KIND, call, **given)).body)


async def test_text_stands_around_the_system_message() -> None:
    body = await said(chat({"role": "system", "content": "Be kind."}), prepend="First.", append="Last.")

    assert body["messages"] == [{"role": "system", "content": "First.\n\nBe kind.\n\nLast."}, USER]


async def test_a_chat_without_one_gets_a_system_message() -> None:
    body = await said(chat(), prepend="First.", append="Last.")

    assert body["messages"] == [{"role": "system", "content": "First.\n\nLast."}, USER]


async def test_a_developer_message_is_as_good() -> None:
    body = await said(chat({"role": "developer", "content": "Be kind."}), append="Last.")

    assert body["messages"][0] == {"role": "developer", "content": "Be kind.\n\nLast."}


async def test_responses_take_it_as_instructions() -> None:
    with_them = a_call({"model": "gpt-4o", "input": "Hi", "instructions": "Be kind."}, path=b"/v1/responses")
    without = a_call({"model": "gpt-4o", "input": "Hi"}, path=b"/v1/responses")

    assert (await said(with_them, prepend="First."))["instructions"] == "First.\n\nBe kind."
    assert (await said(without, append="Last."))["instructions"] == "Last."


async def test_texts_of_several_policies_stand_in_file_order() -> None:
    specs = [InstructSpec.read({"prepend": f"before {i}", "append": f"after {i}"}) for i in (1, 2, 3)]
    sent = Sent()
    call = chat({"role": "system", "content": "app"})
    await compose([KIND.enforce(spec, site(KIND, spec)) for spec in specs], sent, Bugs())(call)

    content = json.loads(sent.body)["messages"][0]["content"]
    assert content.split("\n\n") == ["before 1", "before 2", "before 3", "app", "after 1", "after 2", "after 3"]


async def test_texts_of_several_policies_stand_in_file_order_where_the_app_says_nothing() -> None:
    specs = [InstructSpec.read(given) for given in ({"append": "after 1"}, {"prepend": "before 2"}, {"append": "after 3"})]
    sent = Sent()
    await compose([KIND.enforce(spec, site(KIND, spec)) for spec in specs], sent, Bugs())(chat())

    assert json.loads(sent.body)["messages"][0]["content"].split("\n\n") == ["before 2", "after 1", "after 3"]


async def test_every_other_byte_stays() -> None:
    raw = b'{ "seed" : 1e3,\n"messages":[{"role":"system","content":"a\\u0041"},{"role":"user","content":"\\ud800"}]}'
    sent = await through(KIND, a_call(raw), append='Say "x"\n.')

    assert sent.body == raw.replace(b'a\\u0041"', b'a\\u0041\\n\\nSay \\"x\\"\\n."')


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"{", b"/v1/chat/completions"),
        (b'{"messages": "none"}', b"/v1/chat/completions"),
        (b'{"messages": [], "messages": []}', b"/v1/chat/completions"),
        (b'{"prompt": "Hi"}', b"/v1/completions"),
        (b'{"input": "Hi"}', b"/v1/embeddings"),
        (b'{"input": "Hi", "instructions": 4}', b"/v1/responses"),
    ],
)
async def test_where_there_is_no_place_the_call_goes_as_it_came(body: bytes, path: bytes) -> None:
    call = a_call(body, path=path)
    sent = await through(KIND, call, append="Last.")
    (entry,) = call.journal.entries

    assert sent.call is call
    assert sent.body == body
    assert (entry.kind, entry.policy, entry.acted, entry.what["skipped"]) == ("instruct", POLICY, False, "unreadable")


async def test_a_body_that_is_not_held_goes_as_it_came() -> None:
    call = a_call({"messages": [USER]}, held=False)
    sent = await through(KIND, call, append="Last.")

    assert sent.call is call
    assert call.journal.entries[0].what["skipped"] == "no_body"


async def test_the_journal_says_what_was_added_without_the_text() -> None:
    call = chat()
    await through(KIND, call, prepend="a secret rule")
    (entry,) = call.journal.entries

    assert (entry.acted, entry.what) == (True, {"added": ["prepend"]})


def test_in_shadow_nothing_is_added() -> None:
    call = chat()
    (entry,) = observed(KIND, call, append="Last.")

    assert (entry.shadow, entry.acted, entry.what) == (True, False, {"added": ["append"]})
    assert not call.payload.edited


def test_all_that_match_add_up() -> None:
    assert KIND.fields(InstructSpec.read({"append": "x"})) == frozenset()
    assert KIND.reads_body(InstructSpec.read({"append": "x"}))


@pytest.mark.parametrize("given", [{}, {"append": None}, {"append": ""}, {"prepend": "x" * 32_769}, {"append": ["x"]}, {"text": "x"}])
def test_a_spec_without_text_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        InstructSpec.read(given)
