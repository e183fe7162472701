"""What is sealed opens for its addressee, under its own header, and for nobody else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keys.sealing import seal_envelope
from keys.signing import parse_envelope, verify_envelope
from keys.unsealing import unseal_envelope
from schemas.directory import Compartment, TrustedDirectory
from schemas.envelope import BUCKETS, SealedEnvelope
from schemas.errors import CannotOpen, KeyUnknown, RecipientUnknown, SuiteRefused, TooLarge
from tests.support.parties import NOW, Party, make_draft

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
