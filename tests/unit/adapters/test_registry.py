"""The registry promises: a country's own package is found by name, and cannot take ours."""

from __future__ import annotations

import sys
from importlib.metadata import metadata
from pathlib import Path

import pytest

from adapters.registry import ENTRY_POINT_GROUP, adapter_factory, adapter_names, open_adapter
from adapters.systems.files import FilesSystem
from schemas.errors import NotFound, SchemaRefused


def install(folder: Path, package: str, adapter: str) -> None:
    """What an installer leaves behind for a package with one adapter."""
    module = package.replace("-", "_")
    (folder / f"{module}.py").write_text(
        f"def make(settings, tools):\n    return ('{package}', settings)\n"
    )
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\n{adapter} = {module}:make\n")


def test_an_adapter_of_another_distribution_is_found_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = adapter_names()
    assert {"desk", "external", "fhir", "files", "webhook"} <= set(before)
    install(tmp_path, "xa-casebook", "casebook")
    monkeypatch.syspath_prepend(tmp_path)
    assert adapter_names() == tuple(sorted((*before, "casebook")))
    opened: object = open_adapter("casebook", {"url": "x"})
    assert opened == ("xa-casebook", {"url": "x"})


def test_a_name_that_two_distributions_claim_is_given_to_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "xb-one", "ledger")
    install(tmp_path, "xb-two", "ledger")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SchemaRefused):
        adapter_factory("ledger")


def test_our_own_name_cannot_be_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "xc-files", "files")
    monkeypatch.syspath_prepend(tmp_path)
    assert isinstance(open_adapter("files", {"root": tmp_path}), FilesSystem)


def test_a_name_that_nobody_has_is_not_found() -> None:
    with pytest.raises(NotFound):
        adapter_factory("casebook-of-nowhere")


def test_an_adapter_whose_library_is_not_installed_says_which_extra_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.startswith("adapters.systems.sftp")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "asyncssh", None)  # as if it were not there
    with pytest.raises(NotFound) as refused:
        adapter_factory("sftp")
    assert "referral-broker[sftp]" in refused.value.detail


def test_nothing_but_the_adapter_needs_the_library_of_an_extra() -> None:
    """Its licence is not one for the core; see CONTRIBUTING."""
    root = Path(__file__).parents[3]
    users = {
        str(path.relative_to(root))
        for folder in ("schemas", "keys", "adapters", "broker")
        for path in (root / folder).rglob("*.py")
        if "asyncssh" in path.read_text(encoding="utf-8")
    }
    assert users == {"adapters/systems/sftp/line.py"}
    assert metadata("asyncssh")["License"].startswith("EPL-2.0 OR")
