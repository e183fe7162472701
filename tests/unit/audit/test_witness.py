"""A witness signs growth alone, remembers before it signs, and answers as tlog-witness says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from broker.audit.log.checkpoint import Contradiction, open_checkpoint
from broker.audit.log.merkle import consistency_plan, evaluate
from broker.audit.log.note import NoteSigner, SignatureType, b64
from broker.audit.log.tiles import lookup_in
from broker.audit.witnesses.witness import (
    Witness,
    WitnessMemory,
    format_request,
    parse_request,
)
from broker.audit.witnesses.witness_http import create_witness_app
from schemas.errors import LogInconsistent, SchemaRefused, StorageUnavailable
from tests.support.audit_log import ORIGIN, START, LogKeys, MemoryLog, some_leaf, witness

SIGNERS = [
    witness("al.example/w"),
    NoteSigner("al.example/w", SignatureType.DATED_MLDSA44, bytes(32)),
]


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[WitnessMemory]:
    found = WitnessMemory(tmp_path / "memory").open()
    yield found
    found.close()


@pytest.fixture
def log() -> MemoryLog:
    made = MemoryLog()
    made.grow(20)
    return made


@pytest.fixture
def witnessing(log: MemoryLog, memory: WitnessMemory) -> Witness:
    return Witness({ORIGIN: log.keys.verifiers}, SIGNERS, memory)


def growth(log: MemoryLog, old: int, now: datetime = START) -> bytes:
    """The request for the log's newest head."""
    size = len(log.entries)
    proof = evaluate(consistency_plan(old, size), lookup_in(log.tiles(size))) if old else []
    return format_request(old, proof, log.head(now).note.to_text())


def asked(client: TestClient, body: bytes) -> tuple[int, str, str]:
    answer = client.post("/add-checkpoint", content=body)
    return answer.status_code, answer.headers["content-type"].split(";")[0], answer.text


async def test_growth_is_cosigned_by_both_kinds_of_key(log: MemoryLog, witnessing: Witness) -> None:
    for old, by in ((0, 0), (20, 1), (21, 0), (21, 500)):
        log.grow(by)
        signed = await witnessing.add_checkpoint(growth(log, old), START)
        note = signed.head.raw + "".join(signed.lines).encode()
        opened = open_checkpoint(note, log.keys.verifiers, [s.verifier for s in SIGNERS])
        assert {seen.by.type for seen in opened.by_witnesses} == {
            SignatureType.DATED_ED25519,
            SignatureType.DATED_MLDSA44,
        }
        last = witnessing.last(ORIGIN)
        assert last is not None
        assert last.checkpoint.size == len(log.entries)


def test_the_server_answers_with_the_codes_of_the_specification(
    log: MemoryLog, witnessing: Witness
) -> None:
    client = TestClient(create_witness_app(witnessing, lambda: START))
    first = growth(log, 0)
    stranger = MemoryLog(LogKeys("other.example/log"), "other.example/log")
    forged = MemoryLog(LogKeys())
    forged.grow(20)
    log.grow(10)
    second = growth(log, 20)

    assert asked(client, growth(stranger, 0))[0] == 404
    assert asked(client, growth(forged, 0))[0] == 403
    assert asked(client, format_request(31, [], log.head().note.to_text()))[0] == 400
    assert asked(client, b"old 020\n\n" + log.head().raw)[0] == 400
    assert asked(client, second) == (409, "text/x.tlog.size", "0\n")
    assert asked(client, format_request(0, [bytes(32)], log.head(size=20).note.to_text()))[0] == 422
    status, media, lines = asked(client, first)
    assert (status, media) == (200, "text/plain")
    assert lines.startswith("\u2014 al.example/w ")
    assert lines.count("\n") == 2
    assert asked(client, first) == (409, "text/x.tlog.size", "20\n")
    assert (
        asked(client, growth(log, 20).replace(second.split(b"\n")[1], b64(bytes(32)).encode()))[0]
        == 422
    )
    assert asked(client, second)[0] == 200
    assert asked(client, format_request(30, [], log.head().note.to_text()))[0] == 200
    log.entries[3] = some_leaf(99)
    assert asked(client, format_request(30, [], log.head().note.to_text()))[0] == 409
    # A fork is final: also what would follow the good head is not signed.
    assert asked(client, second)[0] == 409
    assert client.get("/add-checkpoint").status_code == 405


def test_a_bad_proof_of_a_strangers_making_does_not_stop_the_witness(
    log: MemoryLog, witnessing: Witness
) -> None:
    client = TestClient(create_witness_app(witnessing, lambda: START))
    assert asked(client, growth(log, 0))[0] == 200
    log.grow(5)
    assert asked(client, format_request(20, [], log.head().note.to_text()))[0] == 422
    assert asked(client, growth(log, 20))[0] == 200


@pytest.mark.parametrize("deed", ["fork", "shrink", "another past"])
async def test_a_log_that_contradicts_itself_is_held_with_both_heads_and_signed_no_more(
    deed: str, log: MemoryLog, witnessing: Witness, memory: WitnessMemory, tmp_path: Path
) -> None:
    await witnessing.pull(growth(log, 0), START)
    before = list(log.entries)
    if deed == "shrink":
        del log.entries[10:]
        body = format_request(20, [], log.head().note.to_text())
    else:
        log.entries[3] = some_leaf(99)
        log.grow(0 if deed == "fork" else 7)
        body = growth(log, 20)
    with pytest.raises(Contradiction):
        await witnessing.pull(body, START)

    (kept,) = (tmp_path / "memory").glob("*/contradiction-*")
    one, other = (
        open_checkpoint((kept / name).read_bytes(), log.keys.verifiers).checkpoint
        for name in ("one", "other")
    )
    assert one.size == 20
    assert one.root != other.root
    log.entries = [*before, some_leaf(100)]
    with pytest.raises(LogInconsistent):
        await witnessing.pull(growth(log, 20), START)
    assert memory.contradicted(ORIGIN)


async def test_the_same_head_is_signed_once_and_a_newly_dated_one_again(
    log: MemoryLog, witnessing: Witness
) -> None:
    first = growth(log, 0)
    assert await witnessing.pull(first, START) is not None
    assert await witnessing.pull(first.replace(b"old 0", b"old 20"), START) is None
    later = START + timedelta(hours=1)
    assert await witnessing.pull(growth(log, 20, later), later) is not None


async def test_a_witness_that_cannot_remember_does_not_sign(
    log: MemoryLog, witnessing: Witness, tmp_path: Path
) -> None:
    for path in (tmp_path / "memory").iterdir():
        path.unlink()
    (tmp_path / "memory").rmdir()
    (tmp_path / "memory").write_text("a file where the folder was")
    with pytest.raises(StorageUnavailable):
        await witnessing.add_checkpoint(growth(log, 0), START)


def test_two_processes_do_not_share_a_memory(memory: WitnessMemory, tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable):
        WitnessMemory(tmp_path / "memory").open()


def test_a_request_reads_back_as_it_was_written() -> None:
    proof = [bytes([n]) * 32 for n in range(63)]
    found = parse_request(format_request(7, proof, "text\n\nlines\n"))
    assert (found.old, list(found.proof), found.checkpoint) == (7, proof, b"text\n\nlines\n")
    for bad in (
        format_request(7, [*proof, bytes(32)], ""),
        format_request(7, [bytes(31)], ""),
        b"old 7\n",
        b"old -7\n\n",
        b"new 7\n\n",
        b"old 7\r\n\r\n",
        b"",
    ):
        with pytest.raises(SchemaRefused):
            parse_request(bad)


def test_a_witness_needs_a_key_that_dates(log: MemoryLog, memory: WitnessMemory) -> None:
    with pytest.raises(ValueError, match="date"):
        Witness({}, log.keys.signers, memory)
