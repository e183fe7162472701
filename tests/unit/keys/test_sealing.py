"""What is sealed opens for its addressee, under its own header, and for nobody else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keys.jwk import generate, public_half
from keys.sealing import clear_header, seal_envelope, seal_part
from keys.signing import parse_envelope, verify_envelope
from keys.unsealing import unseal_envelope
from schemas.directory import Compartment, TrustedDirectory
from schemas.envelope import BUCKETS, SealedEnvelope
from schemas.errors import (
    CannotOpen,
    KeyUnknown,
    RecipientUnknown,
    SchemaRefused,
    SuiteRefused,
    TooLarge,
)
from tests.support.parties import NOW, Party, make_draft, make_party

CONTENT = {Compartment.CASEWORK: b'{"type":"referral.request"}', Compartment.HEALTH: b'{"s":{}}'}


def sealed(italy: Party, albania: Party, suite: int = 1) -> SealedEnvelope:
    return seal_envelope(
        make_draft(suite),
        CONTENT,
        recipient=albania.entry,
        signer=italy.signer(suite),
        now=NOW,
    )


@pytest.mark.parametrize("suite", [1, 2])
def test_the_addressee_opens_what_was_sealed(
    suite: int, italy: Party, albania: Party, directory: TrustedDirectory
) -> None:
    envelope = sealed(italy, albania, suite)
    verified = verify_envelope(parse_envelope(envelope.raw), directory, now=NOW)
    opened = unseal_envelope(verified, albania, albania.entry)
    assert opened == {
        albania.sealing_key(suite, compartment).kid: content
        for compartment, content in CONTENT.items()
    }


def test_whoever_holds_no_key_opens_nothing(
    italy: Party, albania: Party, directory: TrustedDirectory
) -> None:
    verified = verify_envelope(sealed(italy, albania), directory, now=NOW)
    with pytest.raises(CannotOpen):
        unseal_envelope(verified, italy, None)


def test_every_compartment_key_gets_a_part_of_one_size(italy: Party, albania: Party) -> None:
    large = b'{"text":"' + b"x" * 5000 + b'"}'
    envelope = seal_envelope(
        make_draft(),
        {Compartment.CASEWORK: large},
        recipient=albania.entry,
        signer=italy.signer(),
        now=NOW,
    )
    assert [part.to_key for part in envelope.content.parts] == [
        albania.sealing_key(1, Compartment.CASEWORK).kid,
        albania.sealing_key(1, Compartment.HEALTH).kid,
    ]
    sizes = {len(part.jwe.ciphertext) for part in envelope.content.parts}
    assert sizes == {-(-BUCKETS[1] * 4 // 3)}


def test_content_above_the_largest_bucket_is_refused(italy: Party, albania: Party) -> None:
    with pytest.raises(TooLarge):
        seal_envelope(
            make_draft(),
            {Compartment.CASEWORK: b"{" + b" " * BUCKETS[-1] + b"}"},
            recipient=albania.entry,
            signer=italy.signer(),
            now=NOW,
        )


def test_content_without_a_key_of_its_compartment_is_refused(italy: Party, albania: Party) -> None:
    with pytest.raises(KeyUnknown):
        seal_envelope(
            make_draft(),
            {Compartment.JUSTICE: b"{}"},
            recipient=albania.entry,
            signer=italy.signer(),
            now=NOW,
        )


def test_only_the_addressees_entry_will_do(italy: Party, albania: Party) -> None:
    with pytest.raises(RecipientUnknown):
        seal_envelope(
            replace(make_draft(), to="al.other"),
            CONTENT,
            recipient=albania.entry,
            signer=italy.signer(),
            now=NOW,
        )


def test_a_signer_of_another_suite_is_refused(italy: Party, albania: Party) -> None:
    with pytest.raises(SuiteRefused):
        seal_envelope(
            make_draft(1), CONTENT, recipient=albania.entry, signer=italy.signer(2), now=NOW
        )


@pytest.mark.parametrize("suite", [1, 2])
def test_what_sealing_returns_is_what_anyone_reads_from_it(
    suite: int, italy: Party, albania: Party
) -> None:
    envelope = sealed(italy, albania, suite)
    assert parse_envelope(envelope.raw) == envelope


def test_a_draft_that_breaks_a_rule_of_the_wire_is_never_signed(
    italy: Party, albania: Party
) -> None:
    with pytest.raises(SchemaRefused):
        seal_envelope(
            replace(make_draft(), from_="nobody"),
            CONTENT,
            recipient=albania.entry,
            signer=italy.signer(),
            now=NOW,
        )


def test_all_compartments_together_must_fit_into_an_envelope(italy: Party) -> None:
    recipient = make_party("al.nrm", tuple(Compartment))
    large = b'{"text":"' + b"x" * 70_000 + b'"}'
    with pytest.raises(TooLarge):
        seal_envelope(
            make_draft(),
            {Compartment.CASEWORK: large},
            recipient=recipient.entry,
            signer=italy.signer(),
            now=NOW,
        )


def test_the_largest_message_of_two_compartments_fits(italy: Party, albania: Party) -> None:
    large = b'{"text":"' + b"x" * (BUCKETS[-1] - 11) + b'"}'
    envelope = seal_envelope(
        make_draft(),
        {Compartment.CASEWORK: large, Compartment.HEALTH: large},
        recipient=albania.entry,
        signer=italy.signer(),
        now=NOW,
    )
    assert parse_envelope(envelope.raw)


def test_a_preview_shows_the_clear_header_and_nothing_else(italy: Party, albania: Party) -> None:
    preview = clear_header(make_draft())
    content = sealed(italy, albania).content.to_dict()
    assert preview == {name: value for name, value in content.items() if name != "parts"}


def test_a_key_of_another_kind_than_its_suite_is_not_sealed_to(
    italy: Party, albania: Party
) -> None:
    for suite, alg in ((1, "ES256"), (2, "HPKE-9-KE"), (2, "Ed25519")):
        wrong = albania.sealing_key(suite).model_copy(update={"jwk": public_half(generate(alg))})
        with pytest.raises(SuiteRefused):
            seal_part(b"{}", wrong, aad="")
