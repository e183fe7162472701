"""Bodies of the consent family: what the person said, and what became of the data after a change."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.base import B64Bytes, Instant, ParticipantId, ProtectedModel
from schemas.bodies.common import Body
from schemas.consent import ConsentRecord, ScopeGrant
from schemas.evidence import Erasure, StoreErasure


class Record(Body):
    """The full record beside the statement that the hub holds, so that the recipient can compare."""

    record: ConsentRecord
    statement: B64Bytes
    """The grant statement's JWS, byte for byte as it was registered."""


class Renewal(Record):
    """The person was asked again and said yes: a grant of its own that takes the place of an older."""


class Cause(StrEnum):
    """What happened, in DPV's words: the person herself, or somebody else in her place."""

    CONSENT_WITHDRAWN = "consent_withdrawn"
    PERSON_DECLINES_SERVICE = "person_declines_service"
    CONSENT_REVOKED = "consent_revoked"
    CONSENT_INVALIDATED = "consent_invalidated"


class WithdrawalReason(StrEnum):
    """Who asked. The person owes nobody a reason, so there is no code for one."""

    NO_REASON_GIVEN = "no_reason_given"
    BY_PERSON = "by_person"
    BY_GUARDIAN = "by_guardian"
    BY_COURT = "by_court"
    BY_CONTROLLER = "by_controller"
    BY_AUTHORITY = "by_authority"


BY_OTHERS = frozenset(
    {WithdrawalReason.BY_GUARDIAN, WithdrawalReason.BY_COURT, WithdrawalReason.BY_CONTROLLER}
)
"""Who revokes in her place: another fact than her own withdrawal."""


class Update(Body):
    """Narrows a grant: these scopes are taken back. Wider is a new grant, never an update."""

    removed: Annotated[tuple[ScopeGrant, ...], Field(min_length=1, max_length=512)]
    reason_code: WithdrawalReason = WithdrawalReason.NO_REASON_GIVEN


class Withdraw(Body):
    """Takes a consent back, whole (`removed` empty) or in part. It has no precondition at all."""

    removed: Annotated[tuple[ScopeGrant, ...], Field(max_length=512)] = ()
    cause: Cause = Cause.CONSENT_WITHDRAWN
    reason_code: WithdrawalReason = WithdrawalReason.NO_REASON_GIVEN

    def event(self) -> str | None:
        if self.removed:
            return "narrow"
        return {
            Cause.CONSENT_REVOKED: "revoke",
            Cause.CONSENT_INVALIDATED: "invalidate",
        }.get(self.cause)


class RevokedByOther(Withdraw):
    """Taken back by a guardian, a court or the controller: another fact than her withdrawal (DPV)."""

    cause: Literal[Cause.CONSENT_REVOKED] = Cause.CONSENT_REVOKED


class Majority(Withdraw):
    """She is of age: what others agreed to for her ends, and she is asked herself."""

    cause: Literal[Cause.CONSENT_INVALIDATED] = Cause.CONSENT_INVALIDATED
    of_age_on: date


MAX_ONWARD = 64


class Onward(ProtectedModel):
    """One participant that the data was passed on to, and what it has attested so far."""

    participant: ParticipantId
    told_at: Instant
    outcome: Erasure
    attested_at: Instant | None = None
    stores: Annotated[tuple[StoreErasure, ...], Field(max_length=16)] = ()

    @model_validator(mode="after")
    def _attested_or_unknown(self) -> Onward:
        # Silence is not an attestation: without one, nothing but `unknown` may be said.
        if self.outcome is not Erasure.UNKNOWN and self.attested_at is None:
            raise ValueError("an outcome needs its attestation")
        return self


class WithdrawAck(Body):
    """What was stopped and erased, store by store, here and onward. Never more than is known."""

    stopped_at: Instant
    stores: Annotated[tuple[StoreErasure, ...], Field(min_length=1, max_length=16)]
    onward: Annotated[tuple[Onward, ...], Field(max_length=MAX_ONWARD)] = ()

    @model_validator(mode="after")
    def _kept_on_a_basis(self) -> WithdrawAck:
        told = (*self.stores, *(store for onward in self.onward for store in onward.stores))
        if any(store.outcome is Erasure.KEPT and not store.basis for store in told):
            raise ValueError("what is kept needs its basis")
        return self
