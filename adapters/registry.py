"""Finds adapters by name: those here, and those of other distributions by entry point.

A country's own package declares, in its `pyproject.toml`::

    [project.entry-points."referral_broker.adapters"]
    casebook = "our_package.casebook:make"

and the gateway's settings then say `adapter = "casebook"`. A name of ours cannot be taken over.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from adapters.base import AdapterFactory, NationalSystem, Tools
from schemas.errors import NotFound, SchemaRefused

ENTRY_POINT_GROUP = "referral_broker.adapters"

_BUILT_IN: Mapping[str, str] = {
    "desk": "adapters.systems.desk",
    "external": "adapters.external",
    "fhir": "adapters.systems.fhir",
    "files": "adapters.systems.files",
    "primero": "adapters.systems.primero",
    "sftp": "adapters.systems.sftp",
    "webhook": "adapters.systems.webhook",
}

_EXTRAS: Mapping[str, str] = {"sftp": "sftp"}
"""Adapters that need a library which is not installed without being asked for."""


def adapter_names() -> tuple[str, ...]:
    """Every adapter that can be opened here, in order."""
    return tuple(sorted({*_BUILT_IN, *(entry.name for entry in _entry_points())}))


def adapter_factory(name: str) -> AdapterFactory:
    """The factory of one adapter.

    Raises:
        NotFound: No adapter of that name is installed, or not with what it needs.
        SchemaRefused: Two distributions claim the name, so neither gets it.
    """
    if name in _BUILT_IN:
        try:
            return cast("AdapterFactory", import_module(_BUILT_IN[name]).make)
        except ModuleNotFoundError as error:
            if name not in _EXTRAS or (error.name or "").startswith("adapters"):
                raise
            raise NotFound(
                f"the adapter needs more: install referral-broker[{_EXTRAS[name]}]"
            ) from None
    found = [entry for entry in _entry_points() if entry.name == name]
    if not found:
        raise NotFound("no such adapter; see adapter_names()")
    if len(found) > 1:
        raise SchemaRefused("two installed packages claim this adapter's name")
    return cast("AdapterFactory", found[0].load())


def open_adapter(
    name: str, settings: Mapping[str, Any], tools: Tools | None = None
) -> NationalSystem:
    """An adapter, ready to be called; see `adapters.base.AdapterFactory`."""
    return adapter_factory(name)(settings, Tools() if tools is None else tools)


def _entry_points() -> list[EntryPoint]:
    return list(entry_points(group=ENTRY_POINT_GROUP))
