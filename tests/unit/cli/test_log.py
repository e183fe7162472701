"""An auditor's commands: offline, small, and with an exit code that a script can trust."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from broker.audit.checkpoint import Checkpoint, make_log_key, sign_checkpoint
from broker.audit.leaves import new_leaf
from broker.audit.merkle import leaf_hash
from broker.audit.note import NoteSigner
from broker.audit.tiles import Edge, entries_path, tile_path, write_bundle
from broker.audit.tiles import Tile as TileName
from broker.cli.failures import Exit
from broker.cli.root import referral
from schemas.audit import Event

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SIZE = 5


@pytest.fixture
def exported(tmp_path: Path) -> tuple[Path, Path]:
    """A log of five leaves in a folder, and its verifier key in a file."""
    skey, vkey = make_log_key("log.example/demo")
    leaves = [
        new_leaf(Event.ENVELOPE_SUBMITTED, NOW + timedelta(seconds=n), bytes([n]) * 32)[0]
        for n in range(SIZE)
    ]
    edge = Edge()
    for leaf in leaves:
        list(edge.append(leaf_hash(leaf)))
    folder = tmp_path / "log"
    head = sign_checkpoint(
        Checkpoint("log.example/demo", SIZE, edge.root()), [NoteSigner.from_text(skey)], NOW
    )
    for path, data in (
        ("checkpoint", head.raw),
        (entries_path(0, SIZE), write_bundle(leaves)),
        (tile_path(TileName(0, 0), SIZE), b"".join(edge.levels[0])),
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    key_file = tmp_path / "log.vkey"
    key_file.write_text("# from the directory\n" + vkey + "\n")
    return folder, key_file


def test_a_whole_log_verifies_and_says_up_to_when(exported: tuple[Path, Path]) -> None:
    folder, vkey = exported
    answer = CliRunner().invoke(referral, ["log", "verify-all", str(folder), "--vkey", str(vkey)])
    assert answer.exit_code == Exit.OK, answer.output
    assert answer.stdout.splitlines()[-1].startswith("PROVEN, up to 2026-11-22T12:00:00Z")


def test_with_json_the_verdict_is_one_object(exported: tuple[Path, Path]) -> None:
    folder, vkey = exported
    arguments = ["log", "verify-all", str(folder), "--vkey", str(vkey), "--json"]
    verdict = json.loads(CliRunner().invoke(referral, arguments).stdout)
    assert (verdict["proven"], verdict["log_size"]) == (True, SIZE)


def test_a_changed_entry_ends_with_3(exported: tuple[Path, Path]) -> None:
    folder, vkey = exported
    bundle = folder / entries_path(0, SIZE)
    bundle.write_bytes(bundle.read_bytes().replace(b"submitted", b"relayed\x00\x00", 1))
    answer = CliRunner().invoke(referral, ["log", "verify-all", str(folder), "--vkey", str(vkey)])
    assert answer.exit_code == Exit.VERIFICATION
    assert "NOT PROVEN." in answer.stdout


def test_another_logs_key_ends_with_3(exported: tuple[Path, Path], tmp_path: Path) -> None:
    folder, _ = exported
    other = tmp_path / "other.vkey"
    other.write_text(make_log_key("log.example/other")[1])
    answer = CliRunner().invoke(referral, ["log", "verify-all", str(folder), "--vkey", str(other)])
    assert answer.exit_code == Exit.VERIFICATION


def test_without_a_key_nobody_is_believed(exported: tuple[Path, Path]) -> None:
    answer = CliRunner().invoke(referral, ["log", "verify-all", str(exported[0])])
    assert answer.exit_code == Exit.USAGE
    assert "whose log?" in answer.stderr


def test_a_file_that_is_no_proof_ends_with_3(exported: tuple[Path, Path], tmp_path: Path) -> None:
    proof = tmp_path / "a.proof"
    proof.write_text("{}")
    answer = CliRunner().invoke(referral, ["log", "verify", str(proof), "--vkey", str(exported[1])])
    assert answer.exit_code == Exit.VERIFICATION


def test_verifying_imports_only_cryptography_and_click(exported: tuple[Path, Path]) -> None:
    folder, vkey = exported
    arguments = ["log", "verify-all", str(folder), "--vkey", str(vkey), "--json"]
    program = (
        "import sys\n"
        "from broker.cli.root import referral\n"
        f"referral.main({arguments!r}, standalone_mode=False)\n"
        "sys.stderr.write(' '.join(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    top = {name.partition(".")[0] for name in done.stderr.split()}
    heavy = {"pydantic", "fastapi", "sqlalchemy", "httpx2", "tuf", "rich", "joserfc", "uvicorn"}
    assert top.isdisjoint(heavy)
