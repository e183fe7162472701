"""A package as `pip install` leaves it: its module on the path, and its entry points beside it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest


def installed(source: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package of single modules from its `pyproject.toml`, for this process."""
    project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))
    name, version = project["project"]["name"], project["project"]["version"]
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines: list[str] = []
    for group, entries in project["project"]["entry-points"].items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for module in project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]:
        (site / module).write_bytes((source / module).read_bytes())
    monkeypatch.syspath_prepend(site)
