"""The repository keeps its own rules: who imports whom, whose names these are, what may be skipped."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("schemas", "keys", "adapters", "broker")


def test_the_import_contracts_hold() -> None:
    command = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_hub_starts_where_what_opens_a_seal_is_not_installed() -> None:
    """The contract reads what is imported; here the interpreter refuses it, however it is asked."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [blind] = [one for one in contracts["contracts"] if one["id"] == "blind-hub"]
    program = f"""
import importlib, pkgutil, sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if any(f"{{name}}.".startswith(f"{{one}}.") for one in {blind["forbidden_modules"]!r}):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
for package in map(importlib.import_module, ("broker.hub", "broker.audit")):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if "migrations" not in module.name:
            importlib.import_module(module.name)
try:
    import keys.unsealing
except ModuleNotFoundError:
    print("blind")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("blind\n", 0), done.stderr


@pytest.mark.parametrize("name", OURS)
def test_each_top_level_name_is_ours_alone(name: str) -> None:
    owners = importlib.metadata.packages_distributions().get(name, ["referral-broker"])
    assert set(owners) == {"referral-broker"}


def test_every_command_that_the_pages_show_is_one_that_run_knows() -> None:
    script = (ROOT / "run").read_text()
    known = set(re.findall(r"^([a-z]+)(?:\)| \|)", script, re.MULTILINE))
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    shown = {
        (page.relative_to(ROOT).as_posix(), command)
        for page in pages
        for command in re.findall(r"\./run ([a-z]+)", page.read_text())
    }
    assert {("README.md", "demo"), ("README.md", "test")} <= shown
    assert {entry for entry in shown if entry[1] not in known} == set()


def test_run_explains_each_command_that_it_knows() -> None:
    done = subprocess.run(
        ["sh", ROOT / "run", "help"], capture_output=True, text=True, check=True, cwd="/"
    )
    script = (ROOT / "run").read_text()
    for command in re.findall(r"^([a-z]+)\)$", script, re.MULTILINE):
        assert re.search(rf"^  {command} ", done.stdout, re.MULTILINE), command


def test_an_unknown_command_of_run_is_a_usage_error() -> None:
    done = subprocess.run(
        ["sh", ROOT / "run", "nonsense"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "demo" in done.stderr


def test_no_page_links_to_what_is_not_there() -> None:
    missing = []
    for page in [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                missing.append(f"{page.relative_to(ROOT)}: {target}")
    assert missing == []


def test_whatever_module_or_file_is_named_is_there() -> None:
    """In docstrings, comments and pages: `broker.hub.relay.direct`, `keys/sealing.py`."""
    named = re.compile(rf"`((?:{'|'.join(OURS)})(?:[./][A-Za-z_0-9<>*-]+)+/?)`")
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    sources = [file for one in OURS for file in (ROOT / one).rglob("*.py")]
    missing = {
        (file.relative_to(ROOT).as_posix(), name)
        for file in (*pages, *sources)
        for name in named.findall(file.read_text("utf-8"))
        if name != "keys.json" and not _is_there(name)  # that one lies in a home
    }
    assert missing == set()


def _is_there(name: str) -> bool:
    """A path with its wildcards, or a module, or what is defined in one."""
    if "/" in name:
        return any(ROOT.glob(re.sub(r"<\w+>", "*", name.rstrip("/"))))
    *parents, leaf = name.split(".")
    place = ROOT.joinpath(*parents)
    if (place / leaf).is_dir() or (place / f"{leaf}.py").exists():
        return True
    for module in (place / "__init__.py", place.with_suffix(".py")):
        if module.exists():
            return re.search(rf"\b{leaf}\b", module.read_text("utf-8")) is not None
    return len(parents) > 1 and _is_there(".".join(parents))
