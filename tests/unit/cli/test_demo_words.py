"""What the demo says to type can be typed where it was started."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from broker.cli.demo.run import typed


def test_the_program_is_named_as_the_shell_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "referral"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert typed() == "bin/referral"
    monkeypatch.setenv("PATH", str(program.parent))
    assert typed() == "referral"
