"""A real PKCS#11 module (SoftHSM): keys are made in it, work from it, and never leave it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from keys.custody import open_custody
from keys.custody.hardware import HardwareCustody, Place, open_hardware
from keys.jws import sign_jws
from keys.lifecycle import STANDARD_VALIDITY, KeySet, new_keys
from keys.sealing import seal_envelope
from keys.signing import parse_envelope, verify_envelope, verify_evidence
from keys.unsealing import unseal_envelope
from schemas.directory import Compartment
from schemas.errors import CannotOpen, CustodyLocked, NotPermitted
from schemas.evidence import EVIDENCE_TYP
from tests.support.parties import COMPARTMENTS, NOW, Party, directory_of, make_draft, make_party

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm.so")
PIN = b"invented-pin\n"


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A token of its own, in a folder of its own."""
    module = next((path for path in MODULES if Path(path).exists()), None)
    assert module is not None, "deploy/dev/install.sh installs softhsm2"
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    conf = folder / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(conf)
    first = f"pkcs11:token=referral%20hub?module-path={module}"
    new_token(first, "referral hub")
    yield first
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


def new_token(like: str, label: str) -> str:
    """Make a token in the module of another one's URI; its own URI."""
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin",
         PIN.decode().strip(), "--so-pin", "invented-so-pin"],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    return f"pkcs11:token={quote(label)}?{like.partition('?')[2]}"


@pytest.fixture(scope="module")
def custody(uri: str) -> HardwareCustody:
    return open_hardware(uri, PIN)


@pytest.fixture(scope="module")
def albania(custody: HardwareCustody) -> Party:
    """A participant whose keys of suite 2 are all in the module."""
    published = custody.generate(
        compartments=COMPARTMENTS, now=NOW - timedelta(days=1), validity=STANDARD_VALIDITY
    )
    party = make_party("al.nrm")
    entry = party.entry.model_copy(update={"suites": (2,), "keys": published})
    return replace(party, entry=entry, keys=KeySet())


def test_what_is_sealed_to_it_opens_in_the_module(custody: HardwareCustody, albania: Party) -> None:
    italy = make_party("it.nrm")
    sealed = seal_envelope(
        make_draft(2),
        {Compartment.CASEWORK: b'{"invented":1}'},
        recipient=albania.entry,
        signer=italy.signer(2),
        now=NOW,
    )
    directory = directory_of(italy, albania)
    verified = verify_envelope(parse_envelope(sealed.raw), directory, now=NOW)
    opened = unseal_envelope(verified, custody, albania.entry)
    assert sorted(opened.values()) == sorted([b'{"invented":1}', b"{}"])
    with pytest.raises(CannotOpen):
        unseal_envelope(verified, italy, italy.entry)


def test_what_it_signs_verifies_like_any_other(custody: HardwareCustody, albania: Party) -> None:
    from schemas.evidence import Evidence

    signer = custody.signer_for(2, NOW, albania.entry)
    content = Evidence.from_json(
        b'{"id":"01938f5e-0000-7000-8000-000000000001","by":"al.nrm","to":null,'
        b'"issued_at":"2026-11-22T12:00:00Z","facts":[{"fact":"read","envelope":'
        b'"01938f5e-0000-7000-8000-000000000001","digest":"' + b"A" * 43 + b'",'
        b'"at":"2026-11-22T12:00:00Z"}]}'
    )
    raw = sign_jws(content.to_json(), typ=EVIDENCE_TYP, signer=signer)
    assert verify_evidence(raw, directory_of(albania), now=NOW).content == content


def test_another_process_finds_the_same_keys_and_secrets(
    custody: HardwareCustody, albania: Party, uri: str
) -> None:
    custody.put_secret("log", b"a secret")
    custody.put_secret("log", b"another secret")
    again = HardwareCustody(custody._session)
    assert [key.kid for key in again.keys] == [key.kid for key in albania.entry.keys]
    assert again.secret("log") == b"another secret"
    assert not again.has_secret("none")
    with pytest.raises(CustodyLocked):
        again.secret("none")


def test_no_private_half_is_anywhere_to_be_read(custody: HardwareCustody, albania: Party) -> None:
    assert all("d" not in key.jwk for key in custody.keys)
    from pkcs11 import Attribute, ObjectClass
    from pkcs11.exceptions import PKCS11Error

    for key in custody._session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY}):
        assert key[Attribute.EXTRACTABLE] is False
        with pytest.raises(PKCS11Error):
            key[Attribute.VALUE]


def test_a_destroyed_key_is_gone_from_the_module(custody: HardwareCustody) -> None:
    (made,) = custody.generate(compartments=(), now=NOW, validity=STANDARD_VALIDITY)
    signer = custody.signer(made.kid)
    custody.destroy(made.kid)
    with pytest.raises(CustodyLocked):
        signer.sign(b"anything")
    with pytest.raises(CustodyLocked):
        custody.signer(made.kid)


def in_another_process(uri: str, code: str) -> str:
    """Run a few lines on `custody`, this token's, in a process of their own."""
    begin = "import sys; from datetime import datetime, UTC; from schemas.directory import KeyUse;"
    begin += "from keys.custody import open_custody;"
    begin += "custody = open_custody(sys.argv[1], sys.argv[2].encode());"
    done = subprocess.run(
        [sys.executable, "-c", begin + code, uri, PIN.decode()],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_what_another_process_makes_and_destroys_is_seen_by_who_has_the_token_open(
    uri: str, custody: HardwareCustody
) -> None:
    """A gateway runs, and an operator rotates."""
    before = {key.kid for key in custody.keys}
    make = "print(custody.make(KeyUse.SIGN, 2, None, start=datetime.now(UTC)).kid)"
    theirs = in_another_process(uri, make)
    # Neither forgets what the other did meanwhile.
    (ours,) = custody.generate(compartments=(), now=NOW, validity=STANDARD_VALIDITY)
    assert {key.kid for key in custody.keys} == before | {theirs, ours.kid}
    assert custody.signer(theirs).sign(b"anything")
    theirs_too = in_another_process(uri, make)
    assert custody.signer(theirs_too).kid == theirs_too
    for kid in (theirs, theirs_too, ours.kid):
        in_another_process(uri, f"custody.destroy({kid!r})")
    custody.refresh()
    assert {key.kid for key in custody.keys} == before
    with pytest.raises(CustodyLocked):
        custody.signer(theirs)


def test_keys_that_were_made_outside_are_not_taken_in(custody: HardwareCustody) -> None:
    made, _ = new_keys(compartments=(), suites=(2,), now=NOW)
    with pytest.raises(NotPermitted):
        custody.add(made)


def test_a_wrong_pin_a_missing_token_or_module_is_locked(uri: str, tmp_path: Path) -> None:
    open_pin = tmp_path / "pin"
    open_pin.write_bytes(PIN)
    open_pin.chmod(0o644)
    for wrong in (
        uri.replace("referral%20hub", "another"),
        uri.replace("libsofthsm", "libnothing"),
        uri + f"&pin-source=file:{tmp_path}/none",
        uri + f"&pin-source=file:{open_pin}",
    ):
        with pytest.raises(CustodyLocked):
            open_custody(wrong, PIN)


@pytest.mark.parametrize(
    "uri",
    ["pkcs11:token=a", "pkcs11:?module-path=/x", "pkcs11:token=a?module-path=/x&pin-value=1234",
     "pkcs11:token=a;object=b?module-path=/x", "pkcs11:token?module-path=/x", "http://a", "pkcs12:"],
)  # fmt: skip
def test_a_uri_says_where_and_never_the_pin(uri: str) -> None:
    with pytest.raises(CustodyLocked):
        open_custody(uri, PIN)


def test_a_uri_is_read_as_rfc_7512_says() -> None:
    found = Place.of("pkcs11:token=a%20b?module-path=/x.so&pin-source=file:/run/pin")
    assert found == Place("a b", "/x.so", "file:/run/pin")


@pytest.fixture(scope="module")
def pin_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pin") / "pin"
    path.touch(mode=0o600)
    path.write_bytes(PIN)
    return path


def test_a_gateway_and_a_hub_are_made_in_a_module_by_command(
    uri: str, pin_file: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root.json"
    root.write_text("{}")
    made = {
        "gateway": ("--participant", "al.nrm", "--hub", "http://127.0.0.1:1"),
        "hub": ("--url", "http://127.0.0.1:1", "--name", "A hub", "--country", "CH"),
    }
    for side, options in made.items():
        token = new_token(uri, side)
        command = (side, "init", tmp_path / side, *options, "--directory", tmp_path)
        command = (*command, "--root", root, "--custody", token, "--pin-file", pin_file)
        assert referral(*command, "--suite", "1")[1] == "not-permitted"
        assert not (tmp_path / side / f"{side}.toml").exists()
        assert referral(*command, "--suite", "2") == (0, None)
        shown = json.loads((tmp_path / side / made_file(side)).read_text())
        kinds = [(key["use"], key["suite"]) for key in shown["keys"]]
        assert kinds == ([("sign", 2), ("seal", 2)] if side == "gateway" else [("sign", 2)])
        assert not list((tmp_path / side).glob("keys.json"))
        command = (*command[:2], tmp_path / f"{side}-again", *command[3:])
        assert referral(*command, "--suite", "2")[1] == "id-conflict"
    # Another process, since a module that is loaded already does not see new tokens.
    opened = (
        "from broker.cli.homes.identity import open_identity; from pathlib import Path; import sys;"
    )
    opened += "held = open_identity(Path(sys.argv[1])).custody;"
    opened += "print(len(held.keys), held.has_secret('log'))"
    done = subprocess.run(
        [sys.executable, "-c", opened, str(tmp_path / "gateway")],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["2", "True"]


def made_file(side: str) -> str:
    return "public.json" if side == "gateway" else "entry.json"


def referral(*arguments: object) -> tuple[int, str | None]:
    """Run a command; its exit code and the code of its error."""
    done = subprocess.run(
        [sys.executable, "-m", "broker.cli", *map(str, arguments), "--json"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode == 0:
        return 0, None
    return done.returncode, json.loads(done.stderr.splitlines()[-1])["error"]["code"]
