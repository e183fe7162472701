"""A conformance run without settings says what to give, and that is enough to begin with."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from adapters.base import Tools
from adapters.registry import adapter_factory, adapter_names
from broker.cli.commands.trying.conform import LEAST, PAGES, to_give
from broker.cli.root import referral
from schemas.errors import SchemaRefused

BUILT_IN = [name for name in adapter_names() if adapter_factory(name).__module__[:9] == "adapters."]
WITHOUT = ("desk", "casebook")
"""These need nothing, or are the samples that a test run has installed."""


@pytest.mark.parametrize("adapter", [name for name in BUILT_IN if name not in WITHOUT])
def test_an_adapter_without_settings_is_told_what_to_give(adapter: str) -> None:
    done = CliRunner().invoke(referral, ["conform", adapter])
    assert done.exit_code == 1
    assert to_give(adapter) in done.stderr
    for line in LEAST[adapter]:
        assert line in done.stderr
    with pytest.raises(SchemaRefused) as bare:
        adapter_factory(adapter)({}, Tools())
    given = tomllib.loads("\n".join(LEAST[adapter]))
    assert {name.partition(":")[0] for name in bare.value.where} <= given.keys()


def test_the_pages_that_are_named_are_there() -> None:
    for page in ("docs/adapters.md", *PAGES.values()):
        assert Path(page).is_file()


def test_an_adapter_that_is_none_is_answered_with_those_that_are() -> None:
    done = CliRunner().invoke(referral, ["conform", "casefile"])
    assert done.exit_code == 4
    assert "adapters here: desk, external, fhir, files" in done.stderr
