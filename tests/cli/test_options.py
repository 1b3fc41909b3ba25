from __future__ import annotations

import click
import pytest

from proxy.cli.main import COMMANDS, main
from proxy.cli.options import HeaderText, environment


def options() -> list[tuple[str, click.Option]]:
    found = []
    for name in COMMANDS:
        command = main.get_command(click.Context(main), name)  # type: ignore[attr-defined]
        found += [(name, each) for each in command.params if isinstance(each, click.Option) and each.name != "help"]
    return found


def test_every_flag_has_its_variable_and_help_says_so() -> None:
    assert len(options()) >= 15
    for command, option in options():
        flag = option.opts[0]
        variable = "CHASSIS_" + flag.removeprefix("--").replace("-", "_").upper()

        assert option.envvar == variable, f"{command} {flag}"
        assert option.show_envvar, f"{command} {flag}"
        assert option.help, f"{command} {flag}"


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("x-team: payments", (b"x-team", b"payments")),
        ("X-Url:http://a:1/b", (b"X-Url", b"http://a:1/b")),
        (" x-empty :", (b"x-empty", b"")),
        ("x-name: Jürgen", (b"x-name", "Jürgen".encode())),
    ],
)
def test_a_header_is_its_name_and_its_value(text: str, pair: tuple[bytes, bytes]) -> None:
    assert HeaderText().convert(text, None, None) == pair
    assert HeaderText().convert(pair, None, None) == pair


@pytest.mark.parametrize("text", ["x-team", "", ": payments", "  :x"])
def test_what_is_no_header_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(click.BadParameter, match="K:V, as in x-team: payments"):
        HeaderText().convert(text, None, None)


def test_the_environment_is_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHASSIS_TEST_OF_OPTIONS", "1")

    assert environment()["CHASSIS_TEST_OF_OPTIONS"] == "1"
