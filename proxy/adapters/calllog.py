"""calllog -- one line a call, and the `chassis` logger's messages among them, as JSON or text. No content, no secrets, no query.

A line is encoded at the call's end and put into a bounded queue; a thread writes what has gathered, so a slow pipe never stops the loop:
its lines are dropped and counted. A thread that encodes as well would take the interpreter from the loop, which costs several times what it
saves. Cost: about 5 us a call, and one write for all lines of a twentieth of a second.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import orjson

from proxy.core.body import Headers
from proxy.core.call import Target
from proxy.core.journal import Entry
from proxy.core.ports import CallRecord, ExchangeRecord, Outcome, is_stream

QUEUE_LINES = 10_000  # some MB: two seconds of what one process can carry, while the reader of the pipe sleeps
BATCH_LINES = 256  # written in one go
GATHER_S = 0.05  # how long lines wait for each other
TEXT_CHARS = 256
Line = tuple[Any, ...]


class CallLog:
    """A `Recorder` that writes lines to the file descriptor `fd`. `start` and `stop` own the thread; the descriptor is the caller's."""

    def __init__(self, fd: int, text: bool = False, most: int = QUEUE_LINES) -> None:
        self._fd = fd
        self._encode: Callable[[Line], bytes] = as_text if text else as_json
        self._most = most
        self._queue: deque[bytes] = deque()
        self._wake = threading.Event()
        self._asleep = False
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.dropped = 0

    def start(self) -> None:
        """Begins to write."""
        self._thread = threading.Thread(target=self._run, name="chassis-log", daemon=True)
        self._thread.start()

    def stop(self, deadline_s: float = 1.0) -> None:
        """Writes what is left, for `deadline_s` at most: a reader that does not read is not waited for."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(deadline_s)
        self.dropped += len(self._queue)
        self._queue.clear()

    def call_ended(self, record: CallRecord) -> None:
        """One line."""
        self._put(line_of(record, record.call.request.target, record.headers))

    def exchange_ended(self, record: ExchangeRecord) -> None:
        """Nothing: the call's line says what matters."""

    def message(self, level: str, text: str, error: str | None = None) -> None:
        """One line of the proxy's own; from any thread."""
        self._put((time.time_ns(), level, text, error))

    def _put(self, line: Line) -> None:
        if len(self._queue) >= self._most:
            self.dropped += 1
            return
        self._queue.append(self._encode(line))
        if self._asleep:
            self._asleep = False
            self._wake.set()

    def _run(self) -> None:
        queue = self._queue
        while True:
            while queue:
                self._write(b"".join([queue.popleft() for _ in range(min(len(queue), BATCH_LINES))]))
            if self._stopping:
                return
            self._wake.clear()
            self._asleep = True
            if not queue and not self._stopping:
                self._wake.wait()
            self._asleep = False
            if not self._stopping:
                time.sleep(GATHER_S)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                time.sleep(GATHER_S)
            except OSError as exc:
                if exc.errno != errno.EINTR:
                    self.dropped += bytes(view).count(b"\n")
                    return


class LogHandler(logging.Handler):
    """Sends the standard library's log records the same way."""

    def __init__(self, calllog: CallLog, level: int = logging.INFO) -> None:
        super().__init__(level)
        self._calllog = calllog
        self._plain = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """One line; a traceback goes into its own field."""
        try:
            error = self._plain.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else None
            self._calllog.message(record.levelname.lower(), record.getMessage(), error)
        except Exception:
            self.handleError(record)


def line_of(record: CallRecord, target: bytes, headers: Headers) -> Line:
    """What a line of an ended call is made of, by `told`. `headers`: of the reply; of them its type is told."""
    call = record.call
    journal, trace = call.journal, record.trace
    model = journal.model
    if model is not None and len(model) > TEXT_CHARS:
        model = model[: TEXT_CHARS + 1]  # it may be as long as a body, and a line may wait
    return (
        record.clock.wall_of_ns(record.started),
        call.id,
        call.request.method,
        target,
        call.endpoint,
        model,
        record.target,
        record.status,
        record.outcome,
        record.fault,
        record.detail,
        record.started,
        record.head,
        record.ended,
        call.allowance.spent,
        record.origin,
        headers,
        journal.entries,
        trace.trace_id if trace is not None else 0,
        journal.labels_of_acted() if journal.labels else None,
    )


def as_json(line: Line) -> bytes:
    """A line as JSON, with its newline: `told`, put together without the dictionary, which costs twice as much."""
    if len(line) == 4:
        return _dumped(told(line))
    wall_ns, id, method, target, endpoint, asked, to, status, outcome, fault, detail, started, head, ended, exchanges, *more = line
    origin, headers, entries, trace_id, labels = more
    level = "error" if outcome is Outcome.FAILED or (status is not None and status >= 500) else "info"
    request = (_requested if len(target) <= TEXT_CHARS else _requested.__wrapped__)(method, target, endpoint)
    ms = (ended - started) * 1e3
    ts = f"{_second(wall_ns // 1_000_000_000)}.{wall_ns // 1_000_000 % 1000:03d}Z"
    text = f'{{"ts":"{ts}","level":"{level}","call":"{id}",{request},"ms":{ms:.3f},"exchanges":{exchanges}'
    if status is not None:
        text += f',"status":{status}'
    if head is not None:
        text += f',"first_byte_ms":{(head - started) * 1e3:.3f}'
    if to is not None:
        text += _went(asked, to.upstream, to.model)
    elif asked is not None:
        text += _went(asked, None, None)
    if origin:
        text += f',"origin":"{origin}"'
    if fault is not None:
        text += f',"fault":"{fault}"'
    if detail:
        text += f',"detail":{_dumped(_bounded(detail))[:-1].decode()}'
    if is_stream(headers):
        text += ',"stream":true'
    if outcome is Outcome.LEFT:
        text += ',"client_left":true'
    if trace_id:
        text += f',"trace_id":"{trace_id:032x}"'
    if entries:
        text += "," + _dumped(_decided(entries, labels))[1:-2].decode()
    return (text + "}\n").encode()


@lru_cache(512)  # an app calls few paths; a long one is not remembered
def _requested(method: bytes, target: bytes, endpoint: str) -> str:
    path = _bounded(target.partition(b"?")[0].decode("latin-1"))
    return _dumped({"method": method.decode("latin-1"), "path": path, "endpoint": endpoint})[1:-2].decode()


@lru_cache(512)
def _went(asked: str | None, upstream: str | None, model: str | None) -> str:
    """The model, and where the call went."""
    to = Target(upstream, model) if upstream is not None else None
    return "," + _dumped(_destination(asked, to))[1:-2].decode()


def _dumped(said: Any) -> bytes:
    """JSON with a newline."""
    try:
        return orjson.dumps(said, default=str, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
    except TypeError:  # half a character, deep inside: the slower encoder escapes it
        return json.dumps(said, default=str).encode("ascii") + b"\n"


def as_text(line: Line) -> bytes:
    """A line for a person, with its newline."""
    said = told(line)
    if "message" in said:
        text = f"{said['ts']} {said['level']} {said['message']}"
        if "error" in said:
            text += "\n" + said["error"]
        return (text + "\n").encode("utf-8", "backslashreplace")
    model = said.get("model", "-")
    if (sent := said.get("model_sent", model)) != model:
        model = f"{model} -> {sent}"
    parts = [said["ts"], said["method"], said["path"], str(said.get("status", "-")), f"{said['ms']} ms", model, said.get("upstream", "-")]
    parts += [f"fault={said['fault']}"] if "fault" in said else []
    parts += [f"({said['detail']})"] if "detail" in said else []
    parts += ["client left"] if "client_left" in said else []
    parts += [f"exchanges={said['exchanges']}"] if said["exchanges"] > 1 else []
    parts += [f"policies={','.join(said['policies'])}"] if "policies" in said else []
    parts += [f"labels={','.join(f'{name}={value}' for name, value in said['labels'].items())}"] if "labels" in said else []
    decisions = said.get("decisions", ())
    shadows = dict.fromkeys(str(each["policy"]) for each in decisions if "shadow" in each and "policy" in each)
    parts += [f"shadow={','.join(shadows)}"] if shadows else []
    notes = dict.fromkeys(f"{each['kind']} ({_reason(each['why'])})" for each in decisions if "policy" not in each and "why" in each)
    parts += [f"notes={', '.join(notes)}"] if notes else []
    parts.append(f"call={said['call']}")  # for /explain?id=
    text = " ".join(parts)
    return ("".join(c if c.isprintable() else "?" for c in text) + "\n").encode("utf-8", "backslashreplace")


def told(line: Line) -> dict[str, Any]:
    """What a line says, by name."""
    if len(line) == 4:
        wall_ns, level, text, error = line
        said = {"ts": _timestamp(wall_ns), "level": level, "message": text}
        return said if error is None else {**said, "error": error}
    (wall_ns, id, method, target, endpoint, asked, to, status, outcome, fault, detail) = line[:11]
    (started, head, ended, exchanges, origin, headers, entries, trace_id, labels) = line[11:]
    failed = outcome is Outcome.FAILED or (status is not None and status >= 500)
    said = {
        "ts": _timestamp(wall_ns),
        "level": "error" if failed else "info",
        "call": id,
        "method": method.decode("latin-1"),
        "path": _bounded(target.partition(b"?")[0].decode("latin-1")),
        "endpoint": endpoint,
        "ms": round((ended - started) * 1e3, 3),
        "exchanges": exchanges,
    }
    if status is not None:
        said["status"] = status
    if head is not None:
        said["first_byte_ms"] = round((head - started) * 1e3, 3)
    said.update(_destination(asked, to))
    if origin:
        said["origin"] = origin
    if fault is not None:
        said["fault"] = fault
    if detail:
        said["detail"] = _bounded(detail)
    if is_stream(headers):
        said["stream"] = True
    if outcome is Outcome.LEFT:
        said["client_left"] = True
    if trace_id:
        said["trace_id"] = f"{trace_id:032x}"
    if entries:
        said.update(_decided(entries, labels))
    return said


def _destination(asked: str | None, to: Target | None) -> dict[str, Any]:
    said = {"model": _bounded(asked)} if asked is not None else {}
    if to is not None:
        said["upstream"] = to.upstream
        if (sent := to.model or asked) is not None:
            said["model_sent"] = _bounded(sent)
    return said


def _decided(entries: list[Entry], labels: dict[str, str] | None) -> dict[str, Any]:
    """What policies did; the labels of those that acted."""
    said: dict[str, Any] = {}
    if acted := list(dict.fromkeys([entry.policy for entry in entries if entry.acted and entry.policy is not None])):
        said["policies"] = acted
    if labels:
        said["labels"] = {_bounded(name): _bounded(value) for name, value in labels.items()}
    said["decisions"] = [_decision(entry) for entry in entries]
    return said


def _decision(entry: Entry) -> dict[str, object]:
    said: dict[str, object] = {"kind": entry.kind}
    if entry.policy is not None:
        said["policy"] = entry.policy
    if entry.shadow:
        said["shadow"] = True
    for name, value in entry.what.items():
        said[name] = _bounded(value) if isinstance(value, str) else value
    return said


def _reason(why: object) -> str:
    return "; ".join(map(str, why)) if isinstance(why, list) else str(why)


def _bounded(text: str) -> str:
    """Short, and sayable in UTF-8: a hostile model name may hold half a character."""
    text = text if len(text) <= TEXT_CHARS else text[: TEXT_CHARS - 1] + "…"
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _timestamp(wall_ns: int) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    seconds, rest = divmod(wall_ns, 1_000_000_000)
    return f"{_second(seconds)}.{rest // 1_000_000:03d}Z"


@lru_cache(16)  # lines of one second come together
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
