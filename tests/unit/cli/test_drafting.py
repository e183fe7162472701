"""From options to a draft: values are taken as meant, and free text never from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import pytest

from broker.cli.commands.person.consent import scopes_of
from broker.cli.drafting import preview, read_object, reply, with_fields, words
from broker.cli.local import LocalApi, open_home
from broker.cli.terminal.failures import sentence
from schemas.errors import NotFound


class Gateway(LocalApi):
    """Stands where the gateway's API would, and keeps what was asked of it."""

    def __init__(self, answers: Mapping[str, dict[str, Any]]) -> None:
        super().__init__("127.0.0.1", 1, "token")
        self.answers = answers
        self.posted: list[tuple[str, Mapping[str, Any]]] = []

    def get(self, path: str, **query: str | int | None) -> dict[str, Any]:
        return self.answers[path]

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        self.posted.append((path, body or {}))
        return self.answers[path]


def test_a_value_that_is_json_is_taken_as_json_and_any_other_as_text() -> None:
    body = with_fields({"kept": 1}, ["urgent=true", "services=[1]", "note=two words", "x=a=b"])
    assert body == {"kept": 1, "urgent": True, "services": [1], "note": "two words", "x": "a=b"}


@pytest.mark.parametrize("text", ["novalue", "=x"])
def test_an_assignment_without_name_or_value_is_a_usage_error(text: str) -> None:
    with pytest.raises(click.UsageError):
        with_fields({}, [text])


def test_a_body_must_be_an_object(tmp_path: Path) -> None:
    file = tmp_path / "body.json"
    for text in ("[]", "not json"):
        file.write_text(text)
        with pytest.raises(click.UsageError):
            read_object(str(file))


def test_free_text_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "note.txt"
    file.write_text("Invented.\n")
    assert words(note=str(file), other=None) == {"note": "Invented."}


@pytest.mark.parametrize("reader", [read_object, lambda text: words(note=text)])
def test_a_text_typed_where_a_file_is_wanted_is_not_repeated_and_it_is_said_what_is_wanted(
    reader: Callable[[str], object],
) -> None:
    for typed in ("Invented Person is afraid", "Invented Person " * 400):
        with pytest.raises(NotFound) as refused:
            reader(typed)
        assert "Invented" not in sentence(refused.value)
        assert "into a file" in sentence(refused.value)


def test_what_is_no_json_is_named_by_its_place_and_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "body.json"
    file.write_text('{\n "note": Invented}')
    with pytest.raises(click.UsageError, match="line 2, column 10") as refused:
        read_object(str(file))
    assert "Invented" not in refused.value.format_message()
    with pytest.raises(click.UsageError) as refused:
        with_fields({}, ["Invented Person"])
    assert "Invented" not in refused.value.format_message()


@pytest.mark.parametrize(
    ("settings", "token", "said"),
    [
        ("[api\n", b"t", "no TOML"),
        ("", b"caf\xc3\xa9", "holds no token"),
        ("", b"\n", "holds no token"),
        ("", None, "referral gateway worker add NAME"),
    ],
)
def test_a_home_that_is_not_in_order_says_what_to_do(
    tmp_path: Path, settings: str, token: bytes | None, said: str
) -> None:
    (tmp_path / "gateway.toml").write_text(settings)
    (tmp_path / "workers").mkdir()
    if token is not None:
        (tmp_path / "workers" / "ana.token").write_bytes(token)
    with pytest.raises(click.UsageError, match=said):
        open_home(tmp_path)


def test_an_answer_goes_back_along_the_thread_of_what_it_answers() -> None:
    known = {"partner": "it.nrm", "case_ref": "A-1", "thread": "t"}
    api = Gateway({"/v1/messages/m": known, "/v1/messages": {"id": "new"}})
    assert reply(api, "m", "referral.accept", {"worker_role": "w"}, grant=None) == {"id": "new"}
    ((_, draft),) = api.posted
    assert draft == {
        "type": "referral.accept",
        "to": "it.nrm",
        "case_ref": "A-1",
        "thread": "t",
        "in_reply_to": "m",
        "body": {"worker_role": "w"},
    }


def test_scopes_are_a_purpose_and_its_sections() -> None:
    assert scopes_of(("protection:case_admin,identity_core",)) == [
        {"purpose": "protection", "section": "case_admin"},
        {"purpose": "protection", "section": "identity_core"},
    ]
    with pytest.raises(click.UsageError):
        scopes_of(("protection",))


def test_a_preview_keeps_what_is_clear_apart_from_what_is_sealed() -> None:
    text = preview({"clear": {"to": "al.nrm"}, "sealed": {"casework": {"type": "x"}}})
    clear, _, sealed = text.partition("Sealed")
    assert "al.nrm" in clear
    assert "type" in sealed
    assert "type" not in clear


def test_a_home_without_settings_or_with_two_workers_asks_for_more(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError):
        open_home(tmp_path)
    (tmp_path / "gateway.toml").write_text("[api]\nport = 1\n")
    (tmp_path / "workers").mkdir()
    for name in ("one", "two"):
        token = tmp_path / "workers" / f"{name}.token"
        token.write_text(json.dumps(name))
        token.chmod(0o600)
    with pytest.raises(click.UsageError):
        open_home(tmp_path)
    assert open_home(tmp_path, "two").port == 1


class Paged(LocalApi):
    """Answers five rows, two at a time."""

    def get(self, path: str, **query: str | int | None) -> dict[str, Any]:
        first = int(query["after"] or 0)
        rows = [{"id": number} for number in range(first, min(first + 2, 5))]
        return {"messages": rows, "next": first + 2 if first + 2 < 5 else None}


def test_a_long_inbox_is_read_to_its_end() -> None:
    pages = Paged("127.0.0.1", 1, "token").pages("/v1/messages", "messages", box="inbox")
    assert [row["id"] for page in pages for row in page] == [0, 1, 2, 3, 4]
