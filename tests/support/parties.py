"""Invented participants with real keys, for tests of everything that seals and signs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from keys import jwk
from keys.binding import blind_scope
from keys.jws import LocalSigner
from keys.lifecycle import KeySet, new_keys
from keys.sealing import EnvelopeDraft
from schemas.base import KeyId
from schemas.consent import Purpose
from schemas.directory import (
    Compartment,
    Function,
    KeyStatus,
    KeyUse,
    OrganisationKind,
    Participant,
    PublishedKey,
    TrustedDirectory,
)
from schemas.envelope import AttachmentRef, ConsentTag, Kind, Lane, Stream

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
GRANT_KEY = b"g" * 32
COMPARTMENTS = (Compartment.CASEWORK, Compartment.HEALTH)


@dataclass(frozen=True)
class Party:
    """A participant with both halves of its keys."""

    entry: Participant
    keys: KeySet

    def private(self, kid: KeyId) -> object | None:
        return next((jwk.private_key(k.jwk) for k in self.keys.keys if k.kid == kid), None)

    def signer(self, suite: int = 1) -> LocalSigner:
        found = next(k for k in self.keys.keys if k.use is KeyUse.SIGN and k.suite == suite)
        loaded = jwk.private_key(found.jwk)
        assert isinstance(loaded, jwk.SigningPrivate)
        return LocalSigner(found.kid, found.alg, found.suite, loaded)

    def signing_key(self, suite: int = 1) -> PublishedKey:
        return next(k for k in self.entry.keys if k.use is KeyUse.SIGN and k.suite == suite)

    def sealing_key(
        self, suite: int = 1, compartment: Compartment = Compartment.CASEWORK
    ) -> PublishedKey:
        return self.entry.sealing_keys(NOW, suite)[compartment]

    def with_key(self, kid: KeyId, /, **changes: object) -> Party:
        """The same party, with one key published otherwise."""
        keys = tuple(k.model_copy(update=changes) if k.kid == kid else k for k in self.entry.keys)
        return replace(self, entry=self.entry.model_copy(update={"keys": keys}))

    def with_status(self, status: KeyStatus) -> Party:
        return self.with_key(self.signing_key().kid, status=status)


def make_party(name: str, compartments: tuple[Compartment, ...] = COMPARTMENTS) -> Party:
    private, published = new_keys(
        compartments=compartments, suites=(1, 2), now=NOW - timedelta(days=1)
    )
    entry = Participant(
        id=name,
        name=f"Invented participant {name}",
        country=name[:2].upper(),
        kind=OrganisationKind.STATE,
        function=Function.NRM,
        suites=(1, 2),
        compartments=compartments or (Compartment.CASEWORK,),
        keys=published,
        entry_issued_at=NOW,
    )
    return Party(entry, private)


def directory_of(*parties: Party, version: int = 1) -> TrustedDirectory:
    return TrustedDirectory(
        version=version,
        digest=b"\0" * 32,
        participants={p.entry.id: p.entry for p in parties},
        fetched_at=NOW,
        by_kid={k.kid: (p.entry, k) for p in parties for k in p.entry.keys},
    )


def make_draft(suite: int = 1) -> EnvelopeDraft:
    """A draft in which every field that may be null is not."""
    scope = blind_scope(GRANT_KEY, Purpose.PROTECTION, "identity_core")
    return EnvelopeDraft(
        suite=2 if suite == 2 else 1,
        id=UUID("01938f5e-0000-7000-8000-000000000001"),
        replaces=UUID("01938f5e-0000-7000-8000-000000000002"),
        from_="it.nrm",
        to="al.nrm",
        lane=Lane.ROUTINE,
        stream=Stream(incarnation="AAAAAAAAAAAAAAAAAAAAAA", number=41),
        thread=UUID("01938f5e-0000-4000-8000-000000000003"),
        in_reply_to=UUID("01938f5e-0000-7000-8000-000000000004"),
        kind=Kind.REQUEST,
        issued_at=NOW,
        expires_at=NOW + timedelta(days=7),
        answer_by=NOW + timedelta(days=2, milliseconds=5),
        pauses_clock=True,
        agreement=UUID("01938f5e-0000-4000-8000-000000000005"),
        consent=ConsentTag(
            grant=UUID("01938f5e-0000-4000-8000-000000000006"), scopes=(scope,), until=NOW.date()
        ),
        attachments=(AttachmentRef(scope=scope, digest="A" * 43, bucket=65536),),
    )
