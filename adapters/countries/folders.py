"""Where country folders are found: here, in other installed packages, and at paths.

A ministry keeps its folder in a package of its own, which declares the module that holds it::

    [project.entry-points."referral_broker.countries"]
    ke = "our_package.countries.ke"

or names the folder's parent in the environment variable `REFERRAL_COUNTRIES` (several, as in
`PATH`). Nobody can take over a country that has a folder here.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from schemas.errors import NotFound, SchemaRefused

ENTRY_POINT_GROUP = "referral_broker.countries"
PATHS = "REFERRAL_COUNTRIES"
MAX_BYTES = 256 * 1024
_CODE = re.compile(r"[a-z]{2}")


@dataclass(frozen=True, slots=True)
class Folder:
    """One country's folder, wherever it lies."""

    code: str
    """In lower case."""
    place: Traversable

    def text(self, name: str) -> str:
        """One file of the folder.

        Raises:
            SchemaRefused: The folder lacks it, or it is far too large.
        """
        try:
            data = (self.place / name).read_bytes()
        except OSError:
            raise SchemaRefused(f"{self.code}: the folder has no {name}") from None
        if len(data) > MAX_BYTES:
            raise SchemaRefused(f"{self.code}: {name} is too large")
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise SchemaRefused(f"{self.code}: {name} is not UTF-8") from None


def all_folders() -> dict[str, Folder]:
    """Every country that has a folder, by code, in order.

    Raises:
        SchemaRefused: Two places outside this package claim one country, so neither gets it.
    """
    built_in = _inside(files("adapters.countries"))
    outside: dict[str, Folder] = {}
    for folder in [*_installed(), *_at_paths()]:
        if folder.code in built_in:
            continue
        if folder.code in outside:
            raise SchemaRefused(f"{folder.code}: claimed twice")
        outside[folder.code] = folder
    return dict(sorted({**built_in, **outside}.items()))


def folder_of(code: str) -> Folder:
    """One country's folder.

    Raises:
        NotFound: There is none.
    """
    found = all_folders().get(code.lower())
    if found is None:
        raise NotFound("no such country")
    return found


def _inside(parent: Traversable) -> dict[str, Folder]:
    return {
        item.name: Folder(item.name, item)
        for item in parent.iterdir()
        if _CODE.fullmatch(item.name) and (item / "profile.toml").is_file()
    }


def _installed() -> list[Folder]:
    return [Folder(entry.name, files(entry.value)) for entry in _entry_points()]


def _at_paths() -> list[Folder]:
    paths = [Path(text) for text in os.environ.get(PATHS, "").split(os.pathsep) if text]
    return [folder for path in paths if path.is_dir() for folder in _inside(path).values()]


def _entry_points() -> list[EntryPoint]:
    return [e for e in entry_points(group=ENTRY_POINT_GROUP) if _CODE.fullmatch(e.name)]
