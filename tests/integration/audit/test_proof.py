"""What the log hands out from a database verifies without one."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import pytest
from sqlalchemy import text

from broker.audit.bundle.export import export_log
from broker.audit.log.checkpoint import open_checkpoint
from broker.audit.log.leaves import new_leaf
from broker.audit.log.merkle import leaf_hash, tree_root, verify_consistency, verify_inclusion
from broker.audit.log.store import add_leaves
from broker.audit.log.tiles import tile_list, tile_path
from broker.audit.proofs.policy import Policy, parse_policy
from broker.audit.proofs.proof import (
    accept_cosignature,
    consistency,
    cosigned_checkpoint,
    growth,
    read_entries,
    read_tile,
)
from broker.audit.proofs.prover import Prover, proof_file
from broker.audit.proofs.tlog_proof import parse_proof
from broker.audit.proofs.verify import Asked, verify_log, verify_proof
from broker.audit.witnesses.witness import Witness, WitnessMemory, parse_request
from keys.binding import subject_of
from schemas.audit import Event
from schemas.base import b64u
from schemas.errors import (
    BadSignature,
    Forbidden,
    FromTheFuture,
    LogInconsistent,
    NotFound,
    SchemaRefused,
)
from tests.support.audit_log import Author, LogKeys, witness
from tests.support.stored_log import StoredLog


def policy_of(log: StoredLog) -> Policy:
    return Policy.of_logs(log.keys.vkey, log.keys.pq_vkey)


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def cosign(log: StoredLog, name: str) -> str:
    """A new witness pulls the log's growth and hands in its signature."""
    signer, now = witness(name), log.clock.now()
    async with log.database.read() as connection:
        body = await growth(connection, log.tables, 0, before=now)
    with TemporaryDirectory() as folder:
        memory = WitnessMemory(Path(folder)).open()
        new = Witness({log.keys.signers[0].name: log.keys.verifiers}, [signer], memory)
        signed = await new.add_checkpoint(body, now)
        memory.close()
    for _ in range(2):  # handing it in twice is harmless
        async with log.database.begin() as connection:
            await accept_cosignature(
                connection,
                log.tables,
                size=signed.head.checkpoint.size,
                line=signed.lines[0],
                witnesses=[signer.verifier],
                now=now,
            )
    return signer.verifier.to_text()


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 700])
async def test_every_leaf_is_proven_at_every_size(log: StoredLog, size: int) -> None:
    await log.grow(size)
    root = tree_root([leaf_hash(body) for body in log.added])
    async with log.database.read() as connection:
        for index in {0, 1, 254, 255, 256, size // 2, size - 1} & set(range(size)):
            body = log.added[index]
            found = await Prover(log.tables).inclusion(connection, leaf_hash(body))
            assert (found.index, found.size, found.leaf) == (index, size, body)
            proof = parse_proof(found.text)
            assert verify_inclusion(index, size, leaf_hash(body), proof.path, root)
            opened = open_checkpoint(proof.checkpoint, log.keys.verifiers)
            assert opened.checkpoint.root == root


async def test_what_a_prover_remembers_never_changes_what_it_proves(log: StoredLog) -> None:
    """As the log grows and witnesses sign, one old prover says what a new one says."""
    vkey = witness("al.example/w").verifier.to_text()
    policies = (None, parse_policy(f"witness al {vkey}\nquorum al\n"))
    old = [Prover(log.tables, tiles=2), Prover(log.tables)]
    for step, count in enumerate((3, 252, 1, 300, 0, 500, 1)):
        await log.grow(count)
        if step % 2:
            await cosign(log, "al.example/w")
        for policy in policies:
            for index in {0, 200, 255, 256, len(log.added) - 1} & set(range(len(log.added))):
                hashed = leaf_hash(log.added[index])
                async with log.database.read() as connection:
                    fresh = await Prover(log.tables).inclusion(connection, hashed, policy=policy)
                    for prover in old:
                        assert await prover.inclusion(connection, hashed, policy=policy) == fresh
    assert [len(prover.remembered) for prover in old] == [2, 5]


async def test_any_two_sizes_are_proven_consistent(log: StoredLog) -> None:
    await log.grow(600)
    leaves = [leaf_hash(body) for body in log.added]
    async with log.database.read() as connection:
        for old, new in [(0, 5), (1, 600), (255, 256), (256, 600), (257, 511), (600, 600)]:
            path = await consistency(connection, log.tables, old, new)
            roots = tree_root(leaves[:old]), tree_root(leaves[:new])
            assert verify_consistency(old, new, path, *roots)
        with pytest.raises(NotFound):
            await consistency(connection, log.tables, 1, 601)


async def test_a_leaf_that_is_pending_or_unknown_has_no_proof_yet(log: StoredLog) -> None:
    await log.grow(3)
    (body,) = await log.add(1)
    async with log.database.read() as connection:
        for hashed in (leaf_hash(body), bytes(32)):
            with pytest.raises(NotFound):
                await Prover(log.tables).inclusion(connection, hashed)
    await log.sequencer.run_once()
    async with log.database.read() as connection:
        assert (await Prover(log.tables).inclusion(connection, leaf_hash(body))).index == 3


async def test_a_proof_is_made_to_the_head_that_enough_witnesses_signed(log: StoredLog) -> None:
    (first,) = await log.grow(1)
    first_vkey = await cosign(log, "al.example/w")
    second_vkey = await cosign(log, "it.example/w")
    await log.grow(299)
    third_vkey = await cosign(log, "rs.example/w")
    await log.grow(1)
    keys = (
        f"log {log.keys.vkey}\nwitness al {first_vkey}\nwitness it {second_vkey}\n"
        f"witness rs {third_vkey}\n"
    )
    policy = parse_policy(keys + "group both all al it\nquorum both\n")
    any_one = parse_policy(keys + "group one any al it rs\nquorum one\n")
    all_three = parse_policy(keys + "group three all al it rs\nquorum three\n")
    strangers = parse_policy(f"witness x {witness('x').verifier.to_text()}\nquorum x\n")
    async with log.database.read() as connection:
        sizes = [
            (await Prover(log.tables).inclusion(connection, leaf_hash(first), policy=one)).size
            for one in (None, any_one, policy, all_three, strangers)
        ]
        found = await Prover(log.tables).inclusion(connection, leaf_hash(first), policy=policy)
        later = await Prover(log.tables).inclusion(
            connection, leaf_hash(log.added[-1]), policy=policy
        )
    assert sizes == [301, 300, 1, 1, 301]
    assert later.size == 301
    opened = open_checkpoint(
        parse_proof(found.text).checkpoint, log.keys.verifiers, policy.witness_keys
    )
    assert policy.is_met(opened.by_witnesses)


async def test_all_who_ask_within_one_period_are_given_the_same_head(log: StoredLog) -> None:
    boundary = log.clock.now()
    await log.grow(5)
    await log.turn(seconds=1)
    await log.grow(7)

    async def asked(old: int, before: datetime) -> tuple[int, int]:
        async with log.database.read() as connection:
            found = parse_request(await growth(connection, log.tables, old, before=before))
        head = open_checkpoint(found.checkpoint, log.keys.verifiers).checkpoint
        return head.size, len(found.proof)

    assert await asked(0, boundary) == (5, 0)
    assert (await asked(3, boundary))[0] == 5
    assert await asked(5, boundary) == (5, 0)
    assert (await asked(6, boundary))[0] == 12  # who has seen more is not led back
    assert (await asked(5, log.clock.now()))[0] == 12
    assert await asked(99, boundary) == (12, 0)  # and who has seen too much must see that


async def test_only_a_true_cosignature_of_a_named_witness_is_kept(log: StoredLog) -> None:
    await log.grow(2)
    now = log.clock.now()
    signer, stranger = witness("al.example/w"), witness("xx.example/w")
    async with log.database.read() as connection:
        note = await cosigned_checkpoint(connection, log.tables)
    checkpoint = open_checkpoint(note.encode(), log.keys.verifiers).checkpoint
    good = signer.sign(checkpoint.text, now).line()
    cases: list[tuple[int, str, type[Exception]]] = [
        (2, stranger.sign(checkpoint.text, now).line(), Forbidden),
        (2, signer.sign(checkpoint.text.replace("\n2\n", "\n3\n"), now).line(), BadSignature),
        (2, signer.sign(checkpoint.text, now + timedelta(hours=1)).line(), FromTheFuture),
        (7, good, NotFound),
        (2, "not a line", SchemaRefused),
    ]
    for size, line, error in cases:
        async with log.database.begin() as connection:
            with pytest.raises(error):
                await accept_cosignature(
                    connection,
                    log.tables,
                    size=size,
                    line=line,
                    witnesses=[signer.verifier],
                    now=now,
                )
    async with log.database.begin() as connection:
        await accept_cosignature(
            connection, log.tables, size=2, line=good, witnesses=[signer.verifier], now=now
        )
    async with log.database.read() as connection:
        assert await cosigned_checkpoint(connection, log.tables) == note + good


async def test_tiles_are_served_as_far_as_the_log_reaches(log: StoredLog) -> None:
    await log.grow(600)
    async with log.database.read() as connection:
        for tile, count in tile_list(600):
            data = await read_tile(connection, log.tables, tile_path(tile, count))
            assert len(data) == 32 * count
        assert len(await read_tile(connection, log.tables, "tile/0/002.p/5")) == 160
        assert await read_entries(connection, log.tables, "tile/entries/002.p/88")
        for path in ("tile/0/002.p/89", "tile/0/003.p/1", "tile/2/000.p/1", "tile/0/2", "tile/x"):
            with pytest.raises(NotFound):
                await read_tile(connection, log.tables, path)
        for path in ("tile/entries/002.p/89", "tile/entries/002", "tile/0/000", "tile/entries/x"):
            with pytest.raises(NotFound):
                await read_entries(connection, log.tables, path)
        with pytest.raises(NotFound):
            await read_tile(connection, log.tables, "tile/entries/000")


async def test_a_log_without_a_head_hands_out_nothing(log: StoredLog, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await export_log(log.database, log.tables, tmp_path)


@pytest.mark.parametrize("steps", [(0,), (1,), (256,), (300, 400), (511, 1, 1)])
async def test_an_export_verifies_and_goes_on_where_it_stopped(
    log: StoredLog, steps: tuple[int, ...], tmp_path: Path
) -> None:
    earlier: list[bytes] = []
    for step in steps:
        await log.grow(step)
        size = await export_log(log.database, log.tables, tmp_path)
        assert size == len(log.added)
        verdict = verify_log(tmp_path, policy_of(log), earlier=earlier)
        assert verdict.proven, verdict.lines()
        assert verdict.log_size == size
        earlier.append((tmp_path / "checkpoint").read_bytes())
    assert not [path for path in files_in(tmp_path) if path.suffix == ".new"]


async def test_a_delivery_is_proven_by_a_file_from_the_database(log: StoredLog) -> None:
    await log.grow(40)
    author, envelope, digest = Author(), UUID(int=9), b64u(bytes(32))
    evidence = author.evidence(envelope, digest)
    leaf, opening = new_leaf(Event.EVIDENCE_RECEIVED, log.clock.now(), subject_of(evidence))
    async with log.database.begin() as connection:
        await add_leaves(connection, log.tables, [leaf])
    await log.sequencer.run_once()
    await log.grow(300)
    async with log.database.read() as connection:
        proof = await Prover(log.tables).inclusion(connection, leaf_hash(leaf))
    file = proof_file(evidence=evidence, opening=opening, proof=proof, directory_version=3)
    asked = Asked(envelope=str(envelope), digest=digest, fact="delivered")
    verdict = verify_proof(file, policy_of(log), trusted_keys=author.trusted, asked=asked)
    assert verdict.proven, verdict.lines()
    assert (verdict.index, verdict.log_size) == (40, 341)
    assert verdict.up_to == log.clock.now()
    assert not verify_proof(file, policy_of(log)).proven  # no key in the file, none from outside
    assert not verify_proof(file, Policy.of_logs(LogKeys().vkey)).proven


async def test_a_tree_with_a_row_missing_proves_nothing(log: StoredLog) -> None:
    await log.grow(600)
    async with log.database.begin() as connection:
        if log.database.dialect == "sqlite":
            await connection.execute(text("DROP TRIGGER log_tile_no_delete"))
            await connection.execute(text("DROP TRIGGER log_entry_no_delete"))
        else:
            for table in ("log_tile", "log_entry"):
                await connection.execute(
                    text(f"ALTER TABLE {table} DISABLE TRIGGER {table}_insert_only")
                )
        await connection.execute(log.tables.tile.delete())
        await connection.execute(log.tables.entry.delete().where(log.tables.entry.c.seq == 599))
    async with log.database.read() as connection:
        for index in (3, 590):
            with pytest.raises(LogInconsistent):
                await Prover(log.tables).inclusion(connection, leaf_hash(log.added[index]))


async def test_the_commitments_in_the_log_say_nothing_without_the_openings(
    log: StoredLog, tmp_path: Path
) -> None:
    subject = subject_of(b"a delivery")
    leaf, opening = new_leaf(Event.ENVELOPE_SUBMITTED, log.clock.now(), subject)
    async with log.database.begin() as connection:
        await add_leaves(connection, log.tables, [leaf])
    await log.sequencer.run_once()
    await export_log(log.database, log.tables, tmp_path)
    everything = b"".join(path.read_bytes() for path in files_in(tmp_path))
    for secret in (subject, opening.salt, b64u(subject).encode(), b64u(opening.salt).encode()):
        assert secret not in everything
