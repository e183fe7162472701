"""An auditor's commands: offline, small, and with an exit code that a script can trust."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner

from broker.audit.log.checkpoint import Checkpoint, make_log_key, sign_checkpoint
from broker.audit.log.leaves import new_leaf
from broker.audit.log.merkle import leaf_hash
from broker.audit.log.note import NoteSigner, Verifier
from broker.audit.log.tiles import Edge, entries_path, tile_path, write_bundle
from broker.audit.log.tiles import Tile as TileName
from broker.cli.root import referral
from broker.cli.terminal.failures import Exit
from schemas.audit import Event
from tests.support.audit_log import MemoryLog

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


def test_a_folder_is_verified_whole_by_verify_too(exported: tuple[Path, Path]) -> None:
    folder, vkey = exported
    answer = CliRunner().invoke(referral, ["log", "verify", str(folder), "--vkey", str(vkey)])
    assert answer.exit_code == Exit.OK, answer.output


def test_a_monitor_keeps_both_heads_of_a_log_that_shrinks_and_never_forgets(
    tmp_path: Path, serve: Callable[[Path], str]
) -> None:
    log = MemoryLog()
    log.grow(300)
    served = tmp_path / "served" / "log"
    log.write(served)
    (tmp_path / "vkey").write_text(log.keys.vkey)
    state = tmp_path / "state"
    url = serve(tmp_path / "served")
    arguments = ["log", "monitor", "--log", f"{url}/log", "--vkey", str(tmp_path / "vkey")]
    arguments += ["--state", str(state), "--once"]

    first = CliRunner().invoke(referral, arguments)
    log.grow(9)
    log.write(served)
    grown = CliRunner().invoke(referral, [*arguments, "--json"])
    del log.entries[250:]
    log.write(served)
    shrunk = CliRunner().invoke(referral, arguments)
    log.grow(100)
    log.write(served)
    after = CliRunner().invoke(referral, arguments)

    assert first.exit_code == Exit.OK, first.output
    assert grown.exit_code == Exit.OK, grown.output
    assert json.loads(grown.stdout) == {"size": 309, "grew_by": 9}
    assert (shrunk.exit_code, after.exit_code) == (Exit.VERIFICATION, Exit.VERIFICATION)
    (kept,) = state.glob("*/contradiction-*")
    assert sorted(path.name for path in kept.iterdir()) == ["one", "other"]


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """Serves a folder as static files, as any web server would."""
    servers: list[ThreadingHTTPServer] = []

    def start(folder: Path) -> str:
        class Files(SimpleHTTPRequestHandler):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args, directory=str(folder))

            def log_message(self, *_: Any) -> None:
                return

        server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
        Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_witness_is_made_with_two_keys_that_its_folder_alone_holds(
    exported: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "witness"
    arguments = ["log", "witness", "init", str(folder), "--name", "witness.example/w1"]
    made = CliRunner().invoke(referral, [*arguments, "--log", str(exported[1])])
    again = CliRunner().invoke(referral, arguments)

    keys = [Verifier.from_text(line) for line in made.stdout.splitlines()]
    assert [key.type for key in keys] == [4, 6]
    assert {key.name for key in keys} == {"witness.example/w1"}
    assert (folder / "keys").stat().st_mode & 0o077 == 0
    assert again.exit_code == Exit.FAILED
