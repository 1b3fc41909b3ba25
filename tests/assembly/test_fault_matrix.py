"""Each thing that may go wrong with an upstream, under each kind of policy, played through the whole proxy (see `fault_matrix.py`)."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.core.call import EXCHANGES
from tests.assembly.fault_matrix import Column, Row, played, read, told

PARTS, COLUMNS, ROWS = read()
ASKED_OF_IT = (
    *("connection refused", "a name that cannot be resolved", "TLS fails", "reset before the head", "reset in the head"),
    *("reset in the body", "no connection comes", "silence before the head", "silence after the head", "silence in the body"),
    *("408", "409", "429", "429, retry-after: 1", "429, retry-after-ms: 500", "429, retry-after as a date in 3 s", "429, retry-after: 120"),
    *("500", "502", "503", "529", "a page of HTML", "JSON that is cut", "a content-length that is too long"),
    *("a content-length that is too short", "an empty 200", "events that are none", "a byte a second"),
)


def cells() -> list[Any]:
    return [pytest.param(row, column, id=f"{row.fault}-{row.form}-{column.name}") for row in ROWS for column in COLUMNS]


@pytest.mark.parametrize(("row", "column"), cells())
def test_the_app_gets_what_is_expected_and_nothing_is_left_open(row: Row, column: Column) -> None:
    found = played(row, column)
    (heard,) = found.heard
    headers = {name.lower(): value for name, value in heard.headers}

    assert told(found) == row.cells[column.name]
    assert found.bugs == []
    assert len(found.exchanges) <= EXCHANGES
    if not column.apply:
        assert len(found.exchanges) == 1
        assert not any(name.startswith(b"x-chassis-") and name != b"x-chassis-origin" for name in headers)
    if len(found.exchanges) > 1 and (heard.status or 0) >= 400:
        assert headers[b"x-should-retry"] == b"false", "the SDK would multiply our tries"


def test_every_row_has_every_column() -> None:
    names = [column.name for column in COLUMNS]

    assert all(list(row.cells) == names for row in ROWS)


@pytest.mark.parametrize("form", ["plain", "stream"])
def test_the_matrix_is_whole(form: str) -> None:
    assert set(ASKED_OF_IT) <= {row.fault for row in ROWS if row.form == form}
    assert {"an error event first", "an error event a second after content"} <= {row.fault for row in ROWS if row.form == "stream"}


def test_a_call_that_has_not_begun_is_lost_to_no_fault_that_passes_where_there_is_a_fallback() -> None:
    """A fallback or a retry turns each transient fault before the first content into an answer."""
    begun = {"reset in the body", "silence in the body", "an error event a second after content", "no finish reason, no [DONE]"}
    kept = {"409", "400, the app's mistake", "401", "no [DONE]"}  # no faults, or not named
    kept_stream = begun | {"a content-length that is too long"}

    for row in ROWS:
        if row.fault not in kept and not (row.form == "stream" and row.fault in kept_stream):
            assert row.cells["fallback"].startswith('200 "from groq"; 2x'), row
            assert row.cells["both"].startswith('200 "from groq"; '), row
