"""The base of every model: immutable, strict, and silent about what it was given.

A message from outside is parsed by `keys.strict_json` first (size, UTF-8, duplicate
members, NaN, depth) and validated by `WireModel.from_json` second. Unknown fields
are refused: a new field is a new version of the wire.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetJsonSchemaHandler,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from schemas.errors import SchemaRefused

_INSTANT = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$")
_FROM_URL_ALPHABET = bytes.maketrans(b"-_+/=", b"+/!!!")


def b64u(data: bytes) -> str:
    """Encode as base64url without padding (RFC 7515, appendix C)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def unb64u(text: str) -> bytes:
    """Decode canonical base64url; anything that `b64u` would not have written is refused.

    Raises:
        ValueError: Padding, a foreign character, or non-zero trailing bits.
    """
    # An envelope is decoded on every hop: no regular expression over 40 kB, and only the last group
    # is encoded again, as no other can have bits to spare. The table turns what is foreign into "!".
    rest = len(text) % 4
    data = binascii.a2b_base64(
        text.encode("ascii").translate(_FROM_URL_ALPHABET) + b"=" * (-rest % 4), strict_mode=True
    )
    if rest and b64u(data[-(len(data) % 3) :]) != text[-rest:]:
        raise ValueError("base64url is not canonical")
    return data


def _to_bytes(value: object) -> object:
    return unb64u(value) if isinstance(value, str) else value


def _to_instant(value: object) -> object:
    if isinstance(value, str):
        if not _INSTANT.match(value):
            raise ValueError("not an RFC 3339 time in UTC with Z")
        return datetime.fromisoformat(value[:-1] + "+00:00")
    return value


def _is_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("time has no zone")
    return value.astimezone(UTC)


def instant_text(value: datetime) -> str:
    """Write an instant as on the wire: RFC 3339, UTC, `Z`, milliseconds only if there are any."""
    spec = "milliseconds" if value.microsecond else "seconds"
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=spec) + "Z"


def _is_plain_text(value: str) -> str:
    if value.isascii() and value.isprintable():
        return value  # most texts, in one look
    for character in set(value):  # each once: a long text has few different ones
        category = unicodedata.category(character)
        if category in {"Cc", "Cs", "Cn"} and character not in "\n\t":
            raise PydanticCustomError("control_character", "control characters are not text")
        # Bidirectional overrides and isolates can make a page say something else than the data.
        if character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069":
            raise PydanticCustomError("bidi_control", "bidirectional controls are not text")
    if not unicodedata.is_normalized("NFC", value):
        raise PydanticCustomError("not_nfc", "text is not in Unicode NFC")
    return value


B64Bytes = Annotated[
    bytes,
    BeforeValidator(_to_bytes),
    PlainSerializer(b64u, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9_-]*$"}),
]
"""Bytes that travel as canonical base64url."""

Instant = Annotated[
    datetime,
    BeforeValidator(_to_instant),
    AfterValidator(_is_utc),
    PlainSerializer(instant_text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": "Z$"}),
]
"""A moment in UTC; travels as RFC 3339 with `Z`."""

ParticipantId = Annotated[
    str, StringConstraints(pattern=r"^[a-z]{2,3}\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")
]
"""`<country>.<name>`, as in `it.nrm`. The country is ISO 3166-1 alpha-2 in lower case, or `hub`."""

KeyId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]
"""RFC 7638 thumbprint (SHA-256, base64url) of a public key."""

B64Text = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]*$")]
"""base64url that is passed on as text; decoded, and checked to be canonical, where it is used."""

Digest = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]
"""SHA-256 in base64url."""

Scope = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{22}$")]
"""A blinded (purpose, section): 16 bytes in base64url. See `keys.binding.blind_scope`."""

ShortText = Annotated[
    str,
    AfterValidator(_is_plain_text),
    StringConstraints(min_length=1, max_length=200, strip_whitespace=False),
]
"""One line of text in any script, in NFC, without control characters."""


class WrittenByAPerson:
    """Marks free text: it may say anything, so it is never required, logged or taken as a fact."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "x-free-text": True}


FreeText = Annotated[
    str,
    AfterValidator(_is_plain_text),
    StringConstraints(min_length=1, max_length=20_000),
    WrittenByAPerson(),
]
"""Text that a person wrote. May say anything, so it is never required and never logged."""


class WireModel(BaseModel):
    """Immutable and strict; refuses unknown fields; never repeats its input in an error."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        ser_json_inf_nan="constants",
        allow_inf_nan=False,
    )

    @classmethod
    def from_json(cls, data: bytes | str) -> Self:
        """Validate JSON that has passed `keys.strict_json`.

        Raises:
            SchemaRefused: Names each field's path and rule, never its value.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise SchemaRefused(where=paths_of(error)) from None

    def to_json(self) -> bytes:
        """The model as compact JSON. Sign these bytes and keep them; never write them twice."""
        return self.model_dump_json(by_alias=True).encode()

    def to_dict(self) -> dict[str, Any]:
        """The model as JSON values (for RFC 8785, which sorts and writes them itself)."""
        return self.model_dump(mode="json", by_alias=True)


class ProtectedModel(WireModel):
    """A model that holds data about a person: its `repr` and `str` say nothing."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    __str__ = __repr__

    def __repr_args__(self) -> list[tuple[str | None, Any]]:  # used by rich and pretty printers
        return []


def paths_of(error: ValidationError) -> tuple[str, ...]:
    """Say where a model did not fit and which rule it broke, without any value.

    `loc` of a dict entry is a key that the sender chose, so unknown names are not repeated either.
    """
    errors = error.errors(include_input=False, include_url=False, include_context=False)
    foreign = {item["loc"][:-1] for item in errors if item["loc"][-1:] == ("[key]",)}
    found = []
    for item in errors:
        loc = item["loc"]
        if item["type"] == "extra_forbidden" or loc in foreign:
            loc = (*loc[:-1], "?")
        elif loc[:-1] in foreign:  # its key, or what is below it
            loc = (*loc[:-2], "?")
        found.append(".".join(str(step) for step in loc) + ": " + item["type"])
    return tuple(found[:20])
