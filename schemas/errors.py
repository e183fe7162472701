"""Every error raised on purpose, sorted by the only question a receiver asks: what now?

* `Refused`: the request is wrong; the sender gets the code, signed; do not retry.
* `Unavailable`: keep the message; try again later.
* `Suspect`: tell the sender nothing but `suspect`; quarantine; wake a person.
* anything else that is raised is a bug.

An error carries a stable `code`, and ids, paths and counts. Never a value about a person.
The code is protocol: it is listed in `docs/protocol.md`, and a test keeps the two equal.
"""

from __future__ import annotations

from typing import ClassVar


class BrokerError(Exception):
    """Something went wrong that we expected could."""

    family: ClassVar[str] = "error"
    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    """The HTTP status at the edge."""

    def __init__(self, detail: str = "", *, where: tuple[str, ...] = ()) -> None:
        self.detail = detail
        self.where = where
        super().__init__(self.describe())

    def describe(self) -> str:
        """One line for an operator: code, plain words, paths."""
        text = f"{self.code}: {self.detail or (self.__doc__ or '').splitlines()[0]}"
        return f"{text} ({'; '.join(self.where)})" if self.where else text


class Refused(BrokerError):
    """The request is wrong and will stay wrong; do not retry it."""

    family = "refused"
    code = "refused"
    status = 400


class Unavailable(BrokerError):
    """Not possible just now; keep the message and try again later."""

    family = "unavailable"
    code = "unavailable"
    status = 503


class Suspect(BrokerError):
    """Something is not what it claims to be; quarantine it and wake a person."""

    family = "suspect"
    code = "suspect"
    status = 400


# --- Refused: the form -------------------------------------------------------------------


class MalformedJson(Refused):
    """Not strict JSON: bad UTF-8, a duplicate member, NaN, too deep, or not JSON at all."""

    code = "malformed-json"


class SchemaRefused(Refused):
    """A field is missing, unknown, or breaks its rule."""

    code = "schema"


class TooLarge(Refused):
    """Larger than the limit for this kind of object."""

    code = "too-large"
    status = 413


class Truncated(Refused):
    """The upload ended before its announced length."""

    code = "truncated"


class VersionRefused(Refused):
    """A version of the wire that the recipient does not read."""

    code = "version"


class SuiteRefused(Refused):
    """An unknown suite, or one that the recipient's keys do not match."""

    code = "suite"


class UnknownType(Refused):
    """No such message type in the catalogue."""

    code = "unknown-type"


class UnknownCode(Refused):
    """A code that is not in its code list."""

    code = "unknown-code"


class NotPermitted(Refused):
    """The catalogue or the state of the thread does not permit this message now."""

    code = "not-permitted"
    status = 409


class Conflict(Refused):
    """The same id came before with other bytes."""

    code = "id-conflict"
    status = 409


class NotFound(Refused):
    """No such object, or not for you."""

    code = "not-found"
    status = 404


# --- Refused: who ------------------------------------------------------------------------


class Unauthenticated(Refused):
    """No valid signature of a known participant on this request."""

    code = "unauthenticated"
    status = 401


class Forbidden(Refused):
    """Known, but not allowed to do this."""

    code = "forbidden"
    status = 403


class KeyUnknown(Refused):
    """The key is not in the directory."""

    code = "key-unknown"
    status = 401


class KeyRevoked(Refused):
    """The key is past its end, compromised or not in force yet."""

    code = "key-revoked"
    status = 403


class RecipientUnknown(Refused):
    """The recipient is not in the directory, or is suspended."""

    code = "recipient-unknown"
    status = 404


class DirectoryRefused(Refused):
    """The trust directory does not verify: expired, rolled back, or out of scope."""

    code = "directory"


class DirectoryExpired(DirectoryRefused):
    """A role of the trust directory has run out: its keepers must sign it anew."""

    code = "directory-expired"


class DirectoryFrozen(DirectoryRefused):
    """The trust directory stands still: nobody renews it, or somebody holds the newer one back."""

    code = "directory-frozen"


class DirectoryRolledBack(DirectoryRefused):
    """An older trust directory than the one that was seen before."""

    code = "directory-rollback"


class DirectoryMismatch(DirectoryRefused):
    """A file of the trust directory is not the one that was signed, or is of another version."""

    code = "directory-mismatch"


class DirectoryUnsigned(DirectoryRefused):
    """Too few of the keys that must sign this part of the trust directory have."""

    code = "directory-signature"


class DirectoryOutOfScope(DirectoryRefused):
    """An entry outside the path of whoever publishes it."""

    code = "directory-scope"


class DirectoryMoved(DirectoryRefused):
    """The trust directory has changed since this change was planned; plan it again."""

    code = "directory-moved"
    status = 409


class SecondIncarnation(Refused):
    """Another live gateway already speaks for this participant."""

    code = "second-incarnation"
    status = 409


# --- Refused: when -----------------------------------------------------------------------


class Expired(Refused):
    """Past its expiry."""

    code = "expired"
    status = 410


class FromTheFuture(Refused):
    """Issued later than our clock allows, even with ten minutes of skew."""

    code = "from-the-future"


class StreamGap(Refused):
    """The stream number was used before."""

    code = "stream-number"
    status = 409


# --- Refused: consent, agreement, law ------------------------------------------------------


class PolicyRefused(Refused):
    """Consent, agreement or law does not allow it."""

    code = "policy"
    status = 403


class UseRestricted(PolicyRefused):
    """It is kept and not used: the person contests it (GDPR Art 18). Until that is lifted."""

    code = "use-restricted"


class ConsentMissing(PolicyRefused):
    """No grant, and this kind needs one."""

    code = "consent-missing"


class ConsentExpired(PolicyRefused):
    """The grant has run out."""

    code = "consent-expired"


class ConsentWithdrawn(PolicyRefused):
    """The grant was withdrawn."""

    code = "consent-withdrawn"


class ConsentRecipient(PolicyRefused):
    """The grant is for another recipient."""

    code = "consent-recipient"


class ConsentScope(PolicyRefused):
    """A section or purpose that the grant does not cover."""

    code = "consent-scope"


class ConsentStale(Unavailable):
    """The grant's status is older than allowed; ask the hub before unsealing."""

    code = "consent-stale"


class GrantWidened(PolicyRefused):
    """A grant can be narrowed, never widened; record a new grant."""

    code = "grant-widened"


class NoAgreement(PolicyRefused):
    """No agreement in force between the two participants for this."""

    code = "no-agreement"


class TransferBasis(PolicyRefused):
    """The transfer basis is missing or not open to this kind of sender."""

    code = "transfer-basis"


class ExceptionRefused(PolicyRefused):
    """An exception needs a code, a reason and two different workers."""

    code = "exception"


class ChildRule(PolicyRefused):
    """A (presumed) child needs the guardian's decision and the child's own view."""

    code = "child"


class RateLimited(Refused):
    """Too many requests from this participant; safety, withdrawal and receipts are never limited."""

    code = "rate-limited"
    status = 429


# --- Unavailable ---------------------------------------------------------------------------


class LogUnavailable(Unavailable):
    """The log cannot be written or signed, so nothing may be accepted."""

    code = "log-unavailable"


class LogSetBack(LogUnavailable):
    """The hub's database is older than what the hub has signed: an operator must decide."""

    code = "log-set-back"


class StorageUnavailable(Unavailable):
    """The database or disk cannot be written."""

    code = "storage-unavailable"


class QueueUnavailable(Unavailable):
    """RabbitMQ cannot be reached."""

    code = "queue-unavailable"


class HubUnreachable(Unavailable):
    """The hub cannot be reached."""

    code = "hub-unreachable"


class CustodyLocked(Unavailable):
    """The private keys are not open."""

    code = "custody-locked"


class KeyNotYetValid(Unavailable):
    """The key's validity begins later, by our clock; the same bytes count when it has begun."""

    code = "key-not-yet-valid"


class CaseSystemUnavailable(Unavailable):
    """The national case system cannot be reached."""

    code = "case-system-unavailable"


class OutcomeUnknown(Unavailable):
    """It is not known whether the other side acted; a person must look."""

    code = "outcome-unknown"


# --- Suspect -------------------------------------------------------------------------------


class BadSignature(Suspect):
    """The signature does not verify, or its header plays tricks."""

    code = "bad-signature"


class CannotOpen(Suspect):
    """The seal does not open under this header."""

    code = "cannot-open"


class ScopeMismatch(Suspect):
    """A scope does not stand for the section and purpose that are inside."""

    code = "scope-mismatch"


class LogInconsistent(Suspect):
    """Two heads of one log contradict each other."""

    code = "log-inconsistent"


class VaultTampered(Suspect):
    """A stored ciphertext does not belong to its row."""

    code = "vault-tampered"


def codes() -> dict[str, type[BrokerError]]:
    """Every code of the protocol with its class."""
    found: dict[str, type[BrokerError]] = {}
    queue: list[type[BrokerError]] = [Refused, Unavailable, Suspect]
    while queue:
        kind = queue.pop()
        # A subclass that keeps its parent's code is the parent with a detail of its own.
        found.setdefault(kind.code, kind)
        queue.extend(kind.__subclasses__())
    return found
