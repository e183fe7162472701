"""Signs and verifies a country's word about its set of codes.

A set of codes decides what a case says on the other side: whoever changes `Zio` to a guardian
changes a child's case. So the country signs the digest of its set, and who translates for it asks.
"""

from __future__ import annotations

from datetime import datetime

from keys.jws import Signer, check_signature, sign_jws
from keys.signing import author_of, read_statement
from schemas.codes.sets import CODE_SET_TYP, CodeSetNote
from schemas.directory import Function, TrustedDirectory
from schemas.errors import Forbidden, KeyRevoked

LIMIT = 16 * 1024
AUTHORS = frozenset({Function.NRM, Function.COORDINATOR})


def sign_code_set(note: CodeSetNote, signer: Signer) -> bytes:
    """The note as a compact JWS of its author."""
    return sign_jws(note.to_json(), typ=CODE_SET_TYP, signer=signer)


def verify_code_set(raw: bytes, directory: TrustedDirectory, *, now: datetime) -> CodeSetNote:
    """Check that the country's focal point or coordinator signed the note.

    Raises:
        KeyUnknown, KeyRevoked, BadSignature: Not a key in force of the author that it names.
        Forbidden: The author is not of this country, or has no such function there.
        TooLarge, MalformedJson, SchemaRefused: Not a note.
    """
    jws, note = read_statement(raw, CODE_SET_TYP, CodeSetNote.from_json, limit=LIMIT)
    author, published = author_of(jws.kid, jws.alg, note.by, directory)
    if not published.may_verify(now):
        raise KeyRevoked
    check_signature(published, jws.signing_input, jws.signature)
    if author.country != note.country or author.function not in AUTHORS:
        raise Forbidden("a country's codes are signed by its focal point or coordinator")
    return note
