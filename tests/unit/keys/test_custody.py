"""A key file opens with its passphrase, shows nothing otherwise, and is never half written."""

from __future__ import annotations

import json
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keys.custody import Custody, KdfCost, create_custody, credential, open_custody
from keys.lifecycle import (
    MOVES,
    KeySet,
    Validity,
    move,
    new_key,
    new_keys,
)
from schemas.base import b64u, unb64u
from schemas.directory import Compartment, KeyStatus, KeyUse
from schemas.errors import (
    BrokerError,
    Conflict,
    CustodyLocked,
    MalformedJson,
    NotPermitted,
    SchemaRefused,
    StorageUnavailable,
)
from tests.support.parties import NOW, Party

QUICK = KdfCost(memory_kib=64, iterations=1, lanes=1)
DAY = timedelta(days=1)


def create(path: Path, keys: KeySet, passphrase: bytes = b"pass") -> tuple[Path, Custody]:
    file = path / "keys.json"
    return file, create_custody(f"file:{file}", keys, passphrase, cost=QUICK)


def reopen(file: Path, passphrase: bytes = b"pass") -> Custody:
    return open_custody(f"file:{file}", passphrase)


def test_what_was_put_in_custody_comes_out(tmp_path: Path, italy: Party) -> None:
    file, _ = create(tmp_path, italy.keys.with_secret("log", b"\0secret"))
    custody = reopen(file)
    assert custody.keys == italy.keys.keys
    assert custody.secret("log") == b"\0secret"
    for key in italy.keys.keys:
        if key.use is KeyUse.SEAL:
            assert custody.private(key.kid) is not None
        else:
            assert custody.signer(key.kid).alg == key.alg
            assert custody.private(key.kid) is None


def test_a_line_feed_after_the_passphrase_does_not_count(tmp_path: Path, italy: Party) -> None:
    file, _ = create(tmp_path, italy.keys, b"pass\n")
    assert reopen(file, b"pass").keys
    assert reopen(file, b"pass\r\n").keys


def test_a_wrong_passphrase_opens_nothing(tmp_path: Path, italy: Party) -> None:
    file, _ = create(tmp_path, italy.keys)
    with pytest.raises(CustodyLocked):
        reopen(file, b"other")


def test_the_file_is_one_line_for_its_owner_only_and_shows_no_key(
    tmp_path: Path, italy: Party
) -> None:
    file, custody = create(tmp_path, italy.keys)
    data = file.read_bytes()
    assert data.count(b"\n") == 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for key in italy.keys.keys:
        secret = key.jwk.get("d", key.jwk.get("priv", "?"))
        assert secret.encode() not in data
        assert secret not in repr(custody) + repr(italy.keys) + repr(key)
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_others_may_read_is_not_opened(tmp_path: Path, italy: Party) -> None:
    file, _ = create(tmp_path, italy.keys)
    file.chmod(0o640)
    with pytest.raises(CustodyLocked, match="600"):
        reopen(file)


def test_every_parameter_in_the_file_is_authenticated(tmp_path: Path, italy: Party) -> None:
    file, _ = create(tmp_path, italy.keys)
    document = json.loads(file.read_bytes())
    forged = [
        {**document, "note": "x"},
        {**document, "aead": "none"},
        {**document, "format": "referral-key-file/2"},
        {**document, "nonce": b64u(bytes(12))},
        {**document, "nonce": b64u(bytes(3))},
        {**document, "ciphertext": document["ciphertext"][:-4]},
        {**document, "kdf": {**document["kdf"], "name": "argon2i"}},
        {**document, "kdf": {**document["kdf"], "salt": b64u(bytes(16))}},
        {**document, "kdf": {**document["kdf"], "salt": b64u(bytes(1))}},
        {**document, "kdf": {**document["kdf"], "iterations": 2}},
        {**document, "kdf": {**document["kdf"], "lanes": 2}},
        {**document, "kdf": {**document["kdf"], "memory_kib": 128}},
        {**document, "kdf": {**document["kdf"], "memory_kib": 2**40}},
        {**document, "kdf": {**document["kdf"], "memory_kib": "64"}},
        {**document, "kdf": []},
        {},
    ]
    for changed in forged:
        file.write_text(json.dumps(changed))
        with pytest.raises((CustodyLocked, MalformedJson)):
            reopen(file)


def test_one_changed_bit_of_the_ciphertext_is_noticed(tmp_path: Path, italy: Party) -> None:
    file, _ = create(tmp_path, italy.keys)
    document = json.loads(file.read_bytes())
    data = bytearray(unb64u(document["ciphertext"]))
    for position in (0, len(data) // 2, len(data) - 1):
        changed = bytearray(data)
        changed[position] ^= 1
        file.write_text(json.dumps({**document, "ciphertext": b64u(bytes(changed))}))
        with pytest.raises(CustodyLocked):
            reopen(file)


def test_a_change_is_on_disk_before_it_counts(tmp_path: Path, italy: Party) -> None:
    file, custody = create(tmp_path, italy.keys)
    before = file.read_bytes()
    more = KeySet((new_key(KeyUse.SEAL, 1, Compartment.CASEWORK, start=NOW),))
    custody.add(more)
    custody.put_secret("log", b"1")
    custody.put_secret("log", b"2")
    custody.destroy(italy.keys.keys[0].kid)
    assert file.read_bytes() != before
    again = reopen(file)
    assert again.keys == (*italy.keys.keys[1:], *more.keys)
    assert again.secret("log") == b"2"
    assert again.has_secret("log")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(CustodyLocked):
        custody.signer(italy.keys.keys[0].kid)


def test_a_change_that_cannot_be_written_does_not_count(tmp_path: Path, italy: Party) -> None:
    folder = tmp_path / "sub"
    folder.mkdir()
    file, custody = create(folder, italy.keys)
    file.unlink()
    folder.rmdir()
    with pytest.raises(StorageUnavailable):
        custody.put_secret("log", b"1")
    assert not custody.has_secret("log")


def test_an_existing_file_is_left_alone(tmp_path: Path, italy: Party) -> None:
    file, _ = create(tmp_path, italy.keys)
    with pytest.raises(Conflict):
        create(tmp_path, KeySet())
    assert reopen(file).keys


def test_what_is_not_there_is_locked(tmp_path: Path, italy: Party) -> None:
    _, custody = create(tmp_path, italy.keys)
    for ask in (
        lambda: reopen(tmp_path / "none"),
        lambda: open_custody(str(tmp_path / "keys.json"), b"pass"),
        lambda: custody.secret("log"),
        lambda: custody.signer("A" * 43),
        lambda: custody.signer(italy.sealing_key().kid),
    ):
        with pytest.raises(CustodyLocked):
            ask()
    assert custody.private("A" * 43) is None


def test_the_newest_current_signing_key_is_used(tmp_path: Path) -> None:
    old, _ = new_keys(compartments=(), suites=(1, 2), now=NOW - 10 * DAY)
    new, published = new_keys(compartments=(), suites=(1,), now=NOW)
    _, custody = create(tmp_path, old.plus(new))
    assert custody.signer_for(1, NOW).kid == new.keys[0].kid
    assert custody.signer_for(1, NOW - DAY).kid == old.keys[0].kid
    assert custody.signer_for(2, NOW).kid == old.keys[1].kid
    with pytest.raises(CustodyLocked):
        custody.signer_for(1, NOW + 400 * DAY)
    assert published[0].kid == new.keys[0].kid


def test_only_a_key_that_the_directory_shows_as_current_is_used(
    tmp_path: Path, italy: Party
) -> None:
    newer, _ = new_keys(compartments=(), suites=(1,), now=NOW)
    _, custody = create(tmp_path, italy.keys.plus(newer))
    assert custody.signer_for(1, NOW, italy.entry).kid == italy.signing_key().kid
    with pytest.raises(CustodyLocked):
        custody.signer_for(1, NOW, italy.with_status(KeyStatus.COMPROMISED).entry)


@pytest.mark.parametrize(
    "value", [None, [], {}, {"keys": 1, "secrets": {}}, {"keys": [{}]}], ids=str
)
def test_what_is_no_key_set_is_refused_without_being_repeated(value: object) -> None:
    with pytest.raises(MalformedJson) as refusal:
        KeySet.from_json_value(value)
    assert refusal.value.__cause__ is None


def test_new_keys_are_one_to_sign_and_one_per_compartment_and_suite() -> None:
    validity = Validity(sign=10 * DAY, seal=5 * DAY)
    private, published = new_keys(
        compartments=tuple(Compartment), suites=(1, 2), now=NOW, validity=validity
    )
    assert len({key.kid for key in published}) == len(private.keys) == 8
    for key in published:
        assert key.is_current(NOW)
        assert key.is_current(key.not_after - DAY)
        assert not key.is_current(key.not_after)
        assert key.not_after - key.not_before == (10 * DAY if key.use is KeyUse.SIGN else 5 * DAY)
        assert not {"d", "priv"} & key.jwk.keys()
    with pytest.raises(SchemaRefused):
        new_keys(compartments=(), suites=(3,), now=NOW)


@pytest.mark.parametrize("start", KeyStatus)
@pytest.mark.parametrize("end", KeyStatus)
def test_a_status_is_followed_only_by_what_the_table_allows(
    start: KeyStatus, end: KeyStatus, italy: Party
) -> None:
    key = italy.signing_key().model_copy(update={"status": start})
    if end in MOVES[start]:
        assert move(key, end).status is end
    else:
        with pytest.raises(NotPermitted):
            move(key, end)


def test_nothing_comes_back_from_compromise_and_nothing_returns_to_active() -> None:
    assert not MOVES[KeyStatus.COMPROMISED]
    assert [start for start in KeyStatus if KeyStatus.ACTIVE in MOVES[start]] == [KeyStatus.PENDING]


def test_every_refusal_of_custody_is_one_of_ours() -> None:
    for error in (CustodyLocked, Conflict, MalformedJson, StorageUnavailable):
        assert issubclass(error, BrokerError)


def test_two_processes_on_one_file_lose_nothing_of_each_other(tmp_path: Path, italy: Party) -> None:
    """The gateway keeps its epochs there while a rotation adds keys from outside."""
    file, gateway = create(tmp_path, italy.keys)
    rotation = reopen(file)
    made, _ = new_keys(compartments=(), suites=(1,), now=NOW)
    rotation.add(made)
    gateway.put_secret("epochs", b"1")
    assert gateway.signer(made.keys[0].kid).kid == made.keys[0].kid
    rotation.destroy(italy.keys.keys[0].kid)
    kept = reopen(file)
    assert kept.secret("epochs") == b"1"
    assert {key.kid for key in kept.keys} == {key.kid for key in (*italy.keys.keys[1:], *made.keys)}


def test_a_key_that_another_process_added_is_found_when_it_is_needed(
    tmp_path: Path, italy: Party
) -> None:
    file, gateway = create(tmp_path, KeySet())
    reopen(file).add(italy.keys)
    sealing = italy.sealing_key().kid
    assert gateway.private(sealing) is not None
    assert gateway.signer_for(1, NOW).kid == italy.signing_key().kid


def test_systemd_hands_over_a_key_file_and_its_passphrase(
    tmp_path: Path, italy: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(tmp_path, italy.keys)
    (tmp_path / "phrase").write_bytes(b"pass\n")
    with pytest.raises(CustodyLocked):
        open_custody("systemd-credential:keys.json", b"pass")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    phrase = credential(tmp_path / "systemd-credential:phrase").read_bytes()
    custody = open_custody("systemd-credential:keys.json", phrase)
    assert custody.signer_for(1, NOW).kid == italy.signing_key().kid
    assert not custody.writable
    with pytest.raises(StorageUnavailable):
        custody.put_secret("anything", b"")
    # Where systemd uses an access list, it looks as if a group could read it.
    (tmp_path / "keys.json").chmod(0o440)
    assert open_custody("systemd-credential:keys.json", b"pass").keys == custody.keys
    (tmp_path / "keys.json").chmod(0o444)
    with pytest.raises(CustodyLocked):
        open_custody("systemd-credential:keys.json", b"pass")
    for wrong in ("systemd-credential:../keys.json", "systemd-credential:"):
        with pytest.raises(CustodyLocked):
            open_custody(wrong, b"pass")
    assert credential(tmp_path / "plain") == tmp_path / "plain"


@settings(deadline=None)
@given(data=st.data())
def test_no_bytes_of_a_key_file_raise_anything_but_ours(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file, _ = create(tmp_path_factory.mktemp("custody"), KeySet())
    whole = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(bytes(whole))
    file.chmod(0o600)
    with pytest.raises((CustodyLocked, MalformedJson)):
        reopen(file)
