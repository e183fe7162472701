"""A gateway lends its adapter functions and a folder, and never a key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.clock import TurnedClock
from broker.gateway.lending import FILE_KEY, lend
from broker.gateway.settings import Settings
from keys.file_sealing import keys_of, new_file_key, open_file
from keys.http_signing import sign_request, verify_request
from keys.lifecycle import PrivateKey
from schemas.errors import SchemaRefused, Suspect
from tests.support.parties import NOW, Party, directory_of, make_party

URL = "https://casebook.invalid/file"
OURS = "https://gateway.invalid/v1/case-system/news"
BODY = b"{}"


class Custody:
    def __init__(self, **secrets: bytes) -> None:
        self._secrets = secrets

    def has_secret(self, name: str) -> bool:
        return name in self._secrets

    def secret(self, name: str) -> bytes:
        return self._secrets[name]

    def put_secret(self, name: str, value: bytes) -> None:
        self._secrets[name] = value


@pytest.fixture(scope="module")
def us() -> Party:
    return make_party("it.nrm")


@pytest.fixture(scope="module")
def system() -> Party:
    """The country's case system: nobody of the directory, but it has a key of the same kind."""
    return make_party("xx.system")


def settings(home: Path, **adapter: Any) -> Settings:
    return Settings(
        participant="it.nrm",
        home=home,
        hub={"url": "https://hub.invalid"},
        directory={"url": "directory"},
        adapter=adapter,
    )


def registered(home: Path, jwk: Mapping[str, Any]) -> dict[str, Any]:
    (home / "system.jwk").write_text(json.dumps(jwk))
    return {"inbound": {"keys": ["system.jwk"], "url": "https://gateway.invalid"}}


def signed_by(system: Party, clock: TurnedClock, suite: int = 1) -> dict[str, str]:
    return sign_request(
        method="POST",
        url=OURS,
        headers={},
        body=BODY,
        signer=system.signer(suite),
        now=clock.now(),
    )


def test_a_signature_that_an_adapter_asked_for_is_the_participants(
    tmp_path: Path, us: Party
) -> None:
    tools = lend(settings(tmp_path), Custody(), us.signer, TurnedClock(NOW))
    assert tools.sign_request is not None
    headers = tools.sign_request("POST", URL, {}, BODY)
    by = verify_request(
        method="POST", url=URL, headers=headers, body=BODY, directory=directory_of(us), now=NOW
    )
    assert by.id == "it.nrm"


@pytest.mark.parametrize("suite", [1, 2])
def test_the_systems_registered_key_speaks_once_and_no_other_key_does(
    tmp_path: Path, us: Party, system: Party, suite: int
) -> None:
    clock = TurnedClock(NOW)
    table = registered(tmp_path, system.signing_key(suite).jwk)
    tools = lend(settings(tmp_path, **table), Custody(), us.signer, clock)
    assert tools.verify_request is not None
    headers = signed_by(system, clock, suite)
    assert tools.verify_request("POST", OURS, headers, BODY) == system.signing_key(suite).kid
    late = signed_by(system, TurnedClock(NOW - timedelta(minutes=11)), suite)
    for wrong in (headers, late, signed_by(us, clock), {}):
        with pytest.raises(Suspect):
            tools.verify_request("POST", OURS, wrong, BODY)
    with pytest.raises(Suspect):
        tools.verify_request("POST", OURS, signed_by(system, clock, suite), b'{"other":1}')


def test_a_private_key_is_not_registered_by_mistake(
    tmp_path: Path, us: Party, system: Party
) -> None:
    private: PrivateKey = next(
        key for key in system.keys.keys if key.kid == system.signing_key().kid
    )
    table = registered(tmp_path, private.jwk)
    with pytest.raises(SchemaRefused):
        lend(settings(tmp_path, **table), Custody(), us.signer, TurnedClock(NOW))


def test_what_was_sealed_before_a_rotation_opens_until_the_old_key_is_dropped(
    tmp_path: Path, us: Party
) -> None:
    custody = Custody(**{FILE_KEY: new_file_key()})
    tools = lend(settings(tmp_path), custody, us.signer, TurnedClock(NOW))
    assert tools.seal_file is not None
    assert tools.open_file is not None
    old = tools.seal_file(b"old")
    custody.put_secret(FILE_KEY, new_file_key() + custody.secret(FILE_KEY))
    new = tools.seal_file(b"new")
    assert (tools.open_file(old), tools.open_file(new)) == (b"old", b"new")
    newest, older = keys_of(custody.secret(FILE_KEY))
    assert open_file(new, newest) == b"new"  # sealed with the newest alone
    assert open_file(old, older) == b"old"
    custody.put_secret(FILE_KEY, newest)
    assert tools.open_file(new) == b"new"
    with pytest.raises(Suspect):
        tools.open_file(old)


def test_files_are_sealed_where_there_is_a_key_for_them(tmp_path: Path, us: Party) -> None:
    custody = Custody(**{FILE_KEY: new_file_key()})
    tools = lend(settings(tmp_path), custody, us.signer, TurnedClock(NOW))
    assert tools.seal_file is not None
    assert tools.open_file is not None
    sealed = tools.seal_file(b"invented")
    assert b"invented" not in sealed
    assert tools.open_file(sealed) == b"invented"
    without = lend(settings(tmp_path), Custody(), us.signer, TurnedClock(NOW))
    assert (without.seal_file, without.open_file, without.verify_request) == (None, None, None)


def test_the_adapters_folder_is_for_the_owner_alone(tmp_path: Path, us: Party) -> None:
    (tmp_path / "adapter").mkdir(mode=0o755)
    tools = lend(settings(tmp_path), Custody(), us.signer, TurnedClock(NOW))
    assert tools.state == tmp_path / "adapter"
    assert tools.state.stat().st_mode & 0o777 == 0o700


def test_nothing_that_is_lent_shows_a_key(tmp_path: Path, us: Party) -> None:
    key = new_file_key()
    tools = lend(settings(tmp_path), Custody(**{FILE_KEY: key}), us.signer, TurnedClock(NOW))
    lent = [getattr(tools, each.name) for each in fields(tools)]
    assert all(callable(each) or each is None or isinstance(each, Path) for each in lent)
