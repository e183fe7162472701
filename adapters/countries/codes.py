"""A country's own words for our codes, both ways, as one versioned and signed set.

`codes.toml` holds the country's words, and may use the words that a language has in common
(`words/<language>.toml`). Nothing is guessed: a word is in the table, or it is listed under
`cannot_map`, or it is unknown. The other way each of our codes has a word of the country, or is
listed under `cannot_say`; a code that is forgotten refuses the whole set.

The digest is over the set as it is understood, words of languages included, so that two sides can
compare what they mean and not how a file was written. A country signs the digest (`CodeSetNote`);
whoever translates for it can then tell that nobody changed a word.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from hashlib import sha256
from importlib.resources import files
from types import MappingProxyType
from typing import Annotated, Any

import rfc8785
from pydantic import Field, ValidationError

from adapters.countries.folders import Folder
from schemas.base import ShortText, WireModel, b64u, paths_of
from schemas.codes import BROKER, code_list, list_names
from schemas.codes.sets import CodeSetNote
from schemas.errors import BadSignature, SchemaRefused
from schemas.sections.fields import Language

Words = dict[ShortText, ShortText]


class NoCode(StrEnum):
    """Why a word has no code of ours."""

    CANNOT_MAP = "cannot-map"
    """The country says that it means something we have no code for."""
    UNKNOWN = "unknown-word"
    """Nobody has said anything about this word."""


class _File(WireModel):
    version: Annotated[int, Field(ge=1)]
    """Counted up by the country with each change."""
    system: ShortText
    """Whose words these are: a case system, or the country's usage."""
    uses: tuple[Language, ...] = ()
    words: dict[str, Words] = Field(default_factory=dict)
    """List name to (the country's word to our code)."""
    cannot_map: dict[str, tuple[ShortText, ...]] = Field(default_factory=dict)
    cannot_say: dict[str, tuple[ShortText, ...]] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CodeSet:
    """All words of one country, resolved."""

    country: str
    version: int
    system: str
    to_ours: Mapping[str, Mapping[str, str]]
    """List name to (word, case folded, to our code)."""
    to_theirs: Mapping[str, Mapping[str, str]]
    """List name to (our code to the country's first word for it)."""
    cannot_map: Mapping[str, frozenset[str]]
    cannot_say: Mapping[str, frozenset[str]]
    digest: str
    """SHA-256 of the RFC 8785 form of all the above, base64url."""

    @property
    def lists(self) -> tuple[str, ...]:
        """Names of the lists that the country has words for."""
        return tuple(self.to_ours)

    def code_for(self, list_name: str, word: str) -> str | NoCode:
        """Our code for a word, or why there is none. Case and blanks around it do not count."""
        key = word.strip().casefold()
        found = self.to_ours.get(list_name, {}).get(key)
        if found is not None:
            return found
        told = key in self.cannot_map.get(list_name, frozenset())
        return NoCode.CANNOT_MAP if told else NoCode.UNKNOWN

    def word_for(self, list_name: str, code: str) -> str | None:
        """The country's word for our code; None if it has none, which it then says itself."""
        return self.to_theirs.get(list_name, {}).get(code)

    def require(self, signed: CodeSetNote) -> None:
        """Compare with what the country signed; `keys.statements.code_sets` has verified that it did.

        Raises:
            BadSignature: Another country, version or digest: somebody changed a word since.
        """
        if (signed.country, signed.version, signed.digest) != (
            self.country,
            self.version,
            self.digest,
        ):
            raise BadSignature("the code set is not the one that its country signed")


def read_codes(folder: Folder) -> CodeSet:
    """The code set in a folder.

    Raises:
        SchemaRefused: It names a list or a code that does not exist, says two things of one word,
            or leaves one of our codes without a word and without saying so.
    """
    try:
        file = _File.model_validate(tomllib.loads(folder.text("codes.toml")), strict=False)
    except ValidationError as error:
        raise SchemaRefused(f"{folder.code}: codes.toml", where=paths_of(error)) from None
    own = {name: dict(words) for name, words in file.words.items()}
    tables = [own, *(_words_of(language) for language in file.uses)]
    names = [name for name in list_names(BROKER) if any(name in table for table in tables)]
    foreign = {*own, *file.cannot_map, *file.cannot_say} - set(names)
    if foreign:
        raise SchemaRefused(f"{folder.code}: no such list", where=tuple(sorted(foreign)))
    to_ours: dict[str, Mapping[str, str]] = {}
    to_theirs: dict[str, Mapping[str, str]] = {}
    for name in names:
        forth: dict[str, str] = {}
        back: dict[str, str] = {}
        for number, table in enumerate(tables):
            for word, code in table.get(name, {}).items():
                # The country's own word stands before the one its language has in common.
                key = word.casefold()
                if number == 0 and forth.get(key, code) != code:
                    raise SchemaRefused(f"{folder.code}: one word, two codes", where=(name,))
                forth.setdefault(key, code)
                back.setdefault(code, word)
        to_ours[name], to_theirs[name] = MappingProxyType(forth), MappingProxyType(back)
    cannot_map = {
        name: frozenset(map(str.casefold, words)) for name, words in file.cannot_map.items()
    }
    cannot_say = {name: frozenset(codes) for name, codes in file.cannot_say.items()}
    _check(folder.code, to_ours, to_theirs, cannot_map, cannot_say)
    content: dict[str, Any] = {
        "country": folder.code.upper(),
        "version": file.version,
        "system": file.system,
        "to_ours": {name: dict(words) for name, words in to_ours.items()},
        "to_theirs": {name: dict(words) for name, words in to_theirs.items()},
        "cannot_map": {name: sorted(words) for name, words in cannot_map.items()},
        "cannot_say": {name: sorted(codes) for name, codes in cannot_say.items()},
    }
    return CodeSet(
        country=folder.code.upper(),
        version=file.version,
        system=file.system,
        to_ours=MappingProxyType(to_ours),
        to_theirs=MappingProxyType(to_theirs),
        cannot_map=MappingProxyType(cannot_map),
        cannot_say=MappingProxyType(cannot_say),
        digest=b64u(sha256(rfc8785.dumps(content)).digest()),
    )


def _check(
    country: str,
    to_ours: Mapping[str, Mapping[str, str]],
    to_theirs: Mapping[str, Mapping[str, str]],
    cannot_map: Mapping[str, frozenset[str]],
    cannot_say: Mapping[str, frozenset[str]],
) -> None:
    wrong = []
    for name, words in to_ours.items():
        ours, said = set(code_list(BROKER, name).codes), set(to_theirs[name])
        silent = cannot_say.get(name, frozenset())
        if not said <= ours or not silent <= ours:
            wrong.append(f"{name}: no-such-code")
        if said & silent or ours - said - silent:
            wrong.append(f"{name}: neither-or-both")
        if set(words) & cannot_map.get(name, frozenset()):
            wrong.append(f"{name}: mapped-and-not")
    if wrong:
        raise SchemaRefused(f"{country}: codes.toml", where=tuple(sorted(wrong)))


@cache
def _words_of(language: str) -> Mapping[str, Mapping[str, str]]:
    place = files("adapters.countries") / "words" / f"{language}.toml"
    if not place.is_file():
        raise SchemaRefused(f"no words of the language {language}")
    tables: Mapping[str, Mapping[str, str]] = tomllib.loads(place.read_text(encoding="utf-8"))
    return tables
