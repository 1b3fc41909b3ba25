"""Lines 23 and 24: Expect, early answers, and multipart bodies."""

from __future__ import annotations

from tests.e2e.wire.cases_chat import ASK, CHUNKED, JSON
from tests.e2e.wire.cases_endpoints import BINARY, FORM, MULTIPART, OK, posted
from tests.e2e.wire.cases_framing import up
from tests.e2e.wire.play import (
    LAST,
    Await,
    Case,
    Do,
    Expected,
    Pause,
    chunk,
    reply,
    request,
    script,
)

EXPECT = b"Expect: 100-continue"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
WITH_LENGTH = b"Content-Length: %d" % len(ASK)
UPLOAD = b"Content-Length: %d" % len(BINARY)
TOO_LARGE = b'{"error": {"message": "too large"}}'
EXPECTS = [
    up(
        23,
        "the-upstream-says-100",
        Await(CONTINUE),
        ASK,
        headers=(EXPECT, WITH_LENGTH),
        early=True,
        script_steps=(CONTINUE, Await(ASK[-9:]), reply(b"200 OK", JSON, body=OK)),
        differs=frozenset({"expect"}),
    ),
    up(
        23,
        "an-upload-waits-for-the-upstreams-100",
        Await(CONTINUE),
        BINARY,
        path=b"POST /v1/files",
        headers=(EXPECT, UPLOAD),
        body=BINARY,
        rewrites=False,
        early=True,
        script_steps=(Pause(0.05), CONTINUE, Await(BINARY[-9:]), reply(b"200 OK", JSON, body=OK)),
        interim=(100,),
    ),
    up(
        23,
        "chunked-after-100",
        Await(CONTINUE),
        chunk(BINARY),
        LAST,
        path=b"POST /v1/files",
        headers=(EXPECT, CHUNKED),
        body=BINARY,
        rewrites=False,
        early=True,
        script_steps=(CONTINUE, Await(BINARY[-9:]), reply(b"200 OK", JSON, body=OK)),
        interim=(100,),
    ),
    up(23, "a-client-that-does-not-wait", first=BINARY, path=b"POST /v1/files", headers=(EXPECT, UPLOAD), body=BINARY, rewrites=False),
    *(
        Case(
            23,
            f"an-early-{status[:3].decode()}-instead-of-100",
            (request(b"POST /v1/files", EXPECT, UPLOAD),),
            (script(reply(status, JSON, body=TOO_LARGE), early=True),),
            Expected(status=int(status[:3]), body=TOO_LARGE, request_has=(EXPECT,)),
            differs=frozenset({"unread"}),
        )
        for status in (b"413 Content Too Large", b"401 Unauthorized", b"417 Expectation Failed")
    ),
    *(
        Case(
            23,
            f"an-early-{status[:3].decode()}-while-uploading",
            (request(b"POST /v1/files", UPLOAD) + BINARY[:500], Await(TOO_LARGE)),
            (script(Await(BINARY[:500]), reply(status, JSON, b"Connection: close", body=TOO_LARGE), Do.FIN, early=True),),
            Expected(status=int(status[:3]), body=TOO_LARGE),
            differs=frozenset({"unread"}),
        )
        for status in (b"413 Content Too Large", b"401 Unauthorized", b"200 OK")
    ),
    Case(
        23,
        "an-early-answer-to-a-chunked-upload",
        (request(b"POST /v1/files", CHUNKED, body=chunk(BINARY)), Await(TOO_LARGE)),
        (script(Await(BINARY), reply(b"413 Content Too Large", JSON, body=TOO_LARGE), early=True),),
        Expected(status=413, body=TOO_LARGE),
        differs=frozenset({"unread"}),
    ),
    Case(
        23,
        "both-directions-at-once",
        (
            request(b"POST /v1/files", CHUNKED, body=chunk(b"up 1 ")),
            Await(b"down 1"),
            chunk(b"up 2 "),
            Await(b"down 2"),
            chunk(b"up 3") + LAST,
        ),
        (
            script(
                Await(b"up 1 "),
                reply(b"200 OK", CHUNKED) + chunk(b"down 1 "),
                Await(b"up 2 "),
                chunk(b"down 2 "),
                Await(b"up 3"),
                chunk(b"down 3") + LAST,
                early=True,
            ),
        ),
        Expected(body=b"down 1 down 2 down 3", sent=b"up 1 up 2 up 3"),
    ),
    Case(
        23,
        "an-early-answer-and-the-client-goes-on",
        (request(b"POST /v1/files", UPLOAD) + BINARY[:500], Await(TOO_LARGE), BINARY[500:]),
        (script(Await(BINARY[:500]), reply(b"413 Content Too Large", JSON, body=TOO_LARGE), Pause(0.1), early=True),),
        Expected(status=413, body=TOO_LARGE),
        differs=frozenset({"unread"}),
    ),
]

PREAMBLE = b"preamble\r\n" + FORM + b"epilogue \n"
FORMS = [
    posted(24, "preamble-and-epilogue", b"/v1/files", PREAMBLE, kind=MULTIPART),
    posted(
        24,
        "a-boundary-with-blanks-and-quotes",
        b"/v1/audio/transcriptions",
        FORM.replace(b"--x", b"--a b'c"),
        kind=b'Content-Type: Multipart/Form-Data; charset=utf-8;  boundary="a b\'c"',
    ),
    posted(24, "the-wrong-boundary", b"/v1/files", FORM, kind=b"Content-Type: multipart/form-data; boundary=other"),
    posted(24, "no-boundary", b"/v1/images/edits", FORM, kind=b"Content-Type: multipart/form-data"),
    posted(24, "to-the-chat-endpoint", b"/v1/chat/completions", FORM, kind=MULTIPART),
    up(
        24,
        "in-chunks-that-cut-the-boundary",
        *(chunk(FORM[i : i + 11]) for i in range(0, len(FORM), 11)),
        LAST,
        path=b"POST /v1/files",
        headers=(CHUNKED,),
        body=FORM,
        rewrites=False,
    ),
]

CASES = [*EXPECTS, *FORMS]
