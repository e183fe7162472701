"""A FHIR Bundle as a file: its entries, what they call each other, and whom they are about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.base import Source
from adapters.systems.fhir.resources import Resource
from schemas.errors import CaseSystemUnavailable, NotFound, SchemaRefused

MOST = 256 << 20
"""Bytes of one Bundle, which is held whole: JSON of FHIR has no order to stream by."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One resource of a Bundle: its number from 1, and what others may call it."""

    number: int
    resource: Resource
    names: frozenset[str]

    @property
    def kind(self) -> str:
        """Its resource type."""
        return str(self.resource["resourceType"])


def opened(source: Source) -> dict[str, Any]:
    """The Bundle in a file.

    Raises:
        SchemaRefused: It is no Bundle, or too large.
        NotFound: There is no such file.
    """
    return _parsed(_bytes(source))


def _bytes(source: Source) -> bytes:
    try:
        if isinstance(source, Path):
            with source.open("rb") as file:
                content = file.read(MOST + 1)
        else:
            content = source.read(MOST + 1)
    except FileNotFoundError:
        raise NotFound("no such file") from None
    except OSError as error:
        raise CaseSystemUnavailable(f"cannot open the file: errno {error.errno}") from None
    if len(content) > MOST:
        raise SchemaRefused("a Bundle of more than 256 MiB")
    return content


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        bundle = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise SchemaRefused("not JSON") from None
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise SchemaRefused("not a FHIR Bundle")
    return bundle


def entries_of(bundle: Mapping[str, Any]) -> list[Entry]:
    """Its entries.

    Raises:
        SchemaRefused: One has no resource.
    """
    given = bundle.get("entry", [])
    if not isinstance(given, list):
        raise SchemaRefused("not a FHIR Bundle", where=("entry",))
    entries = []
    for number, each in enumerate(given, start=1):
        resource = each.get("resource") if isinstance(each, dict) else None
        if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
            raise SchemaRefused("an entry without a resource", where=(f"entry[{number}]",))
        names = {f"{resource['resourceType']}/{resource['id']}"} if "id" in resource else set()
        if isinstance(each.get("fullUrl"), str):
            names.add(each["fullUrl"])
        entries.append(Entry(number, resource, frozenset(names)))
    return entries


class Whole:
    """The entries of a Bundle, found by what others call them, and by whom they are about."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._names: dict[str, list[Entry]] = {}
        for entry in entries:
            for key in {key for name in entry.names for key in _keys(name)}:
                self._names.setdefault(key, []).append(entry)
        self._about: dict[int, list[Entry]] = {}
        for entry in entries:
            link = entry.resource.get("patient") or entry.resource.get("subject")
            about = entry.resource.get("focus") or link or entry.resource.get("for")
            one = self.referred(entry, about)
            if one is not None:
                self._about.setdefault(one.number, []).append(entry)

    def about(self, numbers: set[int]) -> list[Entry]:
        """Entries that say of themselves that they are about one of these, in their order."""
        return sorted(
            (entry for number in numbers for entry in self._about.get(number, ())),
            key=lambda entry: entry.number,
        )

    def referred(self, entry: Entry, link: Any) -> Entry | None:
        """The resource that a reference names: in the Bundle, or contained in the one that refers.

        Of two that have the name, none: the first is not taken.
        """
        name = link.get("reference") if isinstance(link, dict) else None
        if not isinstance(name, str):
            return None
        if name.startswith("#"):
            inside = entry.resource.get("contained")
            for inner in inside if isinstance(inside, list) else ():
                named = isinstance(inner, dict) and inner.get("id") == name[1:]
                if named and isinstance(inner.get("resourceType"), str):
                    return Entry(entry.number, inner, frozenset())
            return None
        for key in _keys(name):
            if found_by := self._names.get(key):
                return found_by[0] if len(found_by) == 1 else None
        return None


def _keys(name: str) -> tuple[str, ...]:
    """What a reference may be found by, the exact first.

    `https://server/fhir/Patient/1/_history/2` is what the Bundle may have as `Patient/1`; a UUID is
    the same in capitals (RFC 9562), and some write the type of a resource small.
    """
    bare = name.partition("/_history/")[0]
    short = "/".join(bare.split("/")[-2:])
    return tuple(dict.fromkeys((name, bare, short, bare.casefold(), short.casefold())))
