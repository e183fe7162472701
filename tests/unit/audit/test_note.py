"""Notes, keys and checkpoints are those of C2SP, and only what a known key signed is believed."""

from __future__ import annotations

import hashlib
import struct
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.log.checkpoint import (
    Checkpoint,
    make_log_key,
    make_witness_key,
    open_checkpoint,
    sign_checkpoint,
)
from broker.audit.log.merkle import EMPTY_ROOT
from broker.audit.log.note import (
    Note,
    NoteSigner,
    SignatureType,
    Verifier,
    b64,
    parse_note,
    unb64,
    verify_note,
)
from schemas.errors import BadSignature, SchemaRefused
from tests.support.audit_log import ORIGIN, START, LogKeys, MemoryLog, witness

# The key and note in the documentation of Go's package `note`, which the format comes from.
GO_PRIVATE = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_PUBLIC = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngot"
    "pRZb6KE6RyyBwJnAM=\n"
)

KEYS = LogKeys()
LOG = MemoryLog(KEYS)
LOG.grow(3)
WITNESS = witness("al.example/witness")


def test_the_published_note_verifies_under_its_published_key() -> None:
    signed = verify_note(parse_note(GO_NOTE.encode()), [Verifier.from_text(GO_PUBLIC)])
    assert [item.by.name for item in signed] == ["PeterNeumann"]


def test_we_sign_the_published_note_with_the_same_bytes() -> None:
    signer = NoteSigner.from_text(GO_PRIVATE)
    text = parse_note(GO_NOTE.encode()).text
    assert Note(text, (signer.sign(text, START),)).to_text() == GO_NOTE
    assert signer.verifier.to_text() == GO_PUBLIC
    assert signer.to_text() == GO_PRIVATE


@pytest.mark.parametrize("make", [make_log_key, make_witness_key])
def test_a_key_reads_back_as_it_was_written(make: object) -> None:
    skey, vkey = make("x.example/log")  # type: ignore[operator]
    assert NoteSigner.from_text(skey).to_text() == skey
    assert Verifier.from_text(vkey).to_text() == vkey
    assert NoteSigner.from_text(skey).verifier == Verifier.from_text(vkey)


def test_a_private_key_is_not_in_its_repr() -> None:
    skey, _ = make_log_key("x.example/log")
    assert skey.rsplit("+", 1)[1] not in repr(NoteSigner.from_text(skey))


def test_a_key_with_a_wrong_id_type_or_length_is_refused() -> None:
    name, _, material = KEYS.vkey.split("+", 2)
    for text in (
        f"{name}+00000000+{material}",
        f"{name}+{material}",
        f"a b+00000000+{material}",
        f"{name}+00000000+{b64(bytes([9]) + bytes(32))}",
        f"{name}+00000000+{b64(bytes([1]) + bytes(31))}",
        "",
    ):
        with pytest.raises(SchemaRefused):
            Verifier.from_text(text)
    for text in (KEYS.vkey, GO_PRIVATE[:-1] + "A", GO_PRIVATE.replace("c74f", "c74e")):
        with pytest.raises(SchemaRefused):
            NoteSigner.from_text(text)


def test_a_log_signs_plainly_dates_and_signs_for_the_time_after_ed25519() -> None:
    opened = open_checkpoint(LOG.head(START).raw, KEYS.verifiers)
    assert [item.by.type for item in opened.by_log] == [
        SignatureType.ED25519,
        SignatureType.DATED_ED25519,
        SignatureType.DATED_MLDSA44,
    ]
    assert opened.dated_by_log == START
    assert opened.checkpoint == Checkpoint(ORIGIN, 3, LOG.head().checkpoint.root)


def test_what_signing_returns_is_what_opening_finds() -> None:
    signed = LOG.head(START)
    assert open_checkpoint(signed.raw, KEYS.verifiers) == signed


def test_each_of_the_logs_keys_is_enough_alone() -> None:
    raw = LOG.head().raw
    assert len(open_checkpoint(raw, KEYS.verifiers[:1]).by_log) == 2
    assert len(open_checkpoint(raw, KEYS.verifiers[1:]).by_log) == 1


@given(st.sampled_from(["line", "size", "root", "signature"]), st.data())
def test_a_checkpoint_with_one_character_changed_is_refused(part: str, data: st.DataObject) -> None:
    text = LOG.head(START).raw.decode()
    lines = text.split("\n")
    number = {"line": 0, "size": 1, "root": 2, "signature": 4}[part]
    # Within a signature line only the signature is vouched for: a changed name is another's line.
    first = lines[number].rindex(" ") + 8 if part == "signature" else 0
    at = data.draw(st.integers(first, len(lines[number]) - 1))
    replaced = data.draw(st.sampled_from("AZaz09+/=").filter(lambda c: c != lines[number][at]))
    lines[number] = lines[number][:at] + replaced + lines[number][at + 1 :]
    with pytest.raises((BadSignature, SchemaRefused)):
        open_checkpoint("\n".join(lines).encode(), KEYS.verifiers)


def test_a_checkpoint_of_another_logs_key_is_refused() -> None:
    with pytest.raises(BadSignature):
        open_checkpoint(LOG.head().raw, LogKeys().verifiers)
    # A known key that signs under another log's name proves nothing of this log.
    other = MemoryLog(LogKeys("other.example/log"), "other.example/log")
    with pytest.raises(BadSignature):
        open_checkpoint(other.head().raw, KEYS.verifiers)


def test_unknown_signatures_are_ignored_and_known_ones_must_hold() -> None:
    head = LOG.head()
    stranger = witness("stranger.example/w").sign(head.checkpoint.text, START)
    cosigned = head.raw + stranger.line().encode()
    assert open_checkpoint(cosigned, KEYS.verifiers, [WITNESS.verifier]).by_witnesses == ()
    good = WITNESS.sign(head.checkpoint.text, START)
    opened = open_checkpoint(cosigned + good.line().encode(), KEYS.verifiers, [WITNESS.verifier])
    assert [(item.by.name, item.at) for item in opened.by_witnesses] == [(WITNESS.name, START)]
    over_another = WITNESS.sign(LOG.head(size=2).checkpoint.text, START)
    with pytest.raises(BadSignature):
        open_checkpoint(head.raw + over_another.line().encode(), KEYS.verifiers, [WITNESS.verifier])


@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 (bounds must be naive)
def test_the_date_of_a_signature_is_signed(now: datetime) -> None:
    text = LOG.head().checkpoint.text
    for signer in (WITNESS, KEYS.signers[1]):
        signature = signer.sign(text, now)
        at = signer.verifier.verify(text, signature.value).at
        assert at == now.replace(microsecond=0)
        moved = (int.from_bytes(signature.value[:8], "big") + 1).to_bytes(8, "big")
        with pytest.raises(BadSignature):
            signer.verifier.verify(text, moved + signature.value[8:])
        with pytest.raises(BadSignature):
            signer.verifier.verify(text, b"\xff" * 8 + signature.value[8:])
        with pytest.raises(BadSignature):
            signer.verifier.verify(text, b"")


def test_a_plain_signature_does_not_pass_for_a_dated_one_of_the_same_key() -> None:
    plain, text = KEYS.signers[0], LOG.head().checkpoint.text
    value = plain.sign(text, START).value
    with pytest.raises(BadSignature):
        plain.dated().verifier.verify(text, START.timestamp().hex().encode()[:8] + value)
    assert plain.dated().verifier.key_id != plain.verifier.key_id


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n03\n{b64(EMPTY_ROOT)}\n",
        f"{ORIGIN}\n-1\n{b64(EMPTY_ROOT)}\n",
        f"{ORIGIN}\n3\n{b64(bytes(31))}\n",
        f"{ORIGIN}\n3\n{b64(bytes(32))[:-1]}\n",
        f"{ORIGIN}\n0\n{b64(bytes(32))}\n",
        f"{ORIGIN}\n3\n{b64(bytes(32))}\n\nextension\n",
        f"{ORIGIN}\n3\n{b64(bytes(32))}\nextension",
        f"{ORIGIN}\n3\n{b64(bytes(32))}",
        f"\n3\n{b64(bytes(32))}\n",
        f"cosignature/v1\n3\n{b64(bytes(32))}\n",
        "",
    ],
)
def test_a_text_that_is_not_a_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(SchemaRefused):
        Checkpoint.from_text(text)


def test_a_checkpoint_of_another_log_may_have_a_free_origin_and_extension_lines() -> None:
    text = f"a log with spaces\n3\n{b64(bytes(32))}\nextension one\ntwo\n"
    found = Checkpoint.from_text(text)
    assert (found.origin, found.extensions) == ("a log with spaces", ("extension one", "two"))
    assert found.text == text


def test_an_ed25519_cosignature_signs_the_lines_of_the_specification() -> None:
    text = LOG.head().checkpoint.text
    made = WITNESS.sign(text, START)
    seconds = int(START.timestamp())
    key = Ed25519PublicKey.from_public_bytes(WITNESS.verifier.public)
    assert made.value[:8] == struct.pack(">Q", seconds)
    key.verify(made.value[8:], b"cosignature/v1\ntime %d\n" % seconds + text.encode())
    assert (
        made.key_id
        == hashlib.sha256(WITNESS.name.encode() + b"\n\x04" + WITNESS.verifier.public).digest()[:4]
    )


def test_an_ml_dsa_44_cosignature_signs_the_structure_of_the_specification() -> None:
    signer = NoteSigner("rs.example/w", SignatureType.DATED_MLDSA44, bytes(range(32)))
    head = LOG.head().checkpoint
    made = signer.sign(head.text + "an extension that is not signed\n", START)
    seconds = int(START.timestamp())
    structure = (
        b"subtree/v1\n\x00"
        + bytes([len(b"rs.example/w")])
        + b"rs.example/w"
        + struct.pack(">Q", seconds)
        + bytes([len(ORIGIN)])
        + ORIGIN.encode()
        + struct.pack(">QQ", 0, 3)
        + head.root
    )
    assert (len(signer.verifier.public), len(made.value)) == (1312, 8 + 2420)
    MLDSA44PublicKey.from_public_bytes(signer.verifier.public).verify(made.value[8:], structure)
    assert (
        made.key_id == hashlib.sha256(b"rs.example/w\n\x06" + signer.verifier.public).digest()[:4]
    )


def test_an_ml_dsa_44_cosignature_of_time_zero_vouches_for_no_time() -> None:
    signer = NoteSigner("rs.example/w", SignatureType.DATED_MLDSA44, bytes(32))
    text = LOG.head().checkpoint.text
    value = signer.sign(text, datetime.fromtimestamp(0, UTC)).value
    assert signer.verifier.verify(text, value).at is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\nno signature\n",
        GO_NOTE.encode()[:-1],
        GO_NOTE.replace("\u2014", "-").encode(),
        GO_NOTE.encode().replace(b"you", b"\xff"),
        GO_NOTE.encode().replace(b"you", b"\t"),
        GO_NOTE.encode() + b"\n",
        b"x" * 300_000,
        "text\n\n\u2014 a AAAA\n".encode(),
        ("text\n\n" + "\u2014 a AAAAAAAA\n" * 65).encode(),
    ],
)
def test_what_is_not_a_note_is_refused(data: bytes) -> None:
    with pytest.raises(SchemaRefused):
        parse_note(data)


def test_base64_has_one_form() -> None:
    for text in ("AB==\n", "AB", "AB=", "A===", "_w==", "/x=="):
        with pytest.raises(SchemaRefused):
            unb64(text)


def test_a_log_must_have_a_plain_key_first() -> None:
    checkpoint = LOG.head().checkpoint
    with pytest.raises(ValueError, match="plain"):
        sign_checkpoint(checkpoint, [KEYS.signers[1]], START)
    with pytest.raises(ValueError, match="plain"):
        sign_checkpoint(checkpoint, [], START)


def test_signing_the_same_head_later_differs_only_in_the_dates() -> None:
    one, later = LOG.head(START), LOG.head(START + timedelta(hours=1))
    assert one.note.text == later.note.text
    assert one.note.signatures[0] == later.note.signatures[0]
    assert one.raw != later.raw
