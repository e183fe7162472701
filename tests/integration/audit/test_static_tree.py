"""An exported log on any server of files is enough for readers that know C2SP and nothing of us."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature

from broker.audit.bundle.export import export_log
from broker.audit.log.note import NoteSigner, SignatureType
from broker.audit.proofs.proof import accept_cosignature, growth
from broker.audit.witnesses.witness import Witness, WitnessMemory
from tests.support import tlog_reader
from tests.support.static_files import serving
from tests.support.stored_log import StoredLog
from tests.support.tlog_reader import Contradiction, Log, over_http, read_log

ALONE = """
import runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print(sorted({"adapters", "broker", "keys", "schemas", "tests"} & sys.modules.keys()))
"""


async def cosigned(log: StoredLog, folder: Path) -> list[str]:
    """The newest head gets a co-signature of either kind; the verifier keys of all who signed."""
    kinds = (SignatureType.DATED_ED25519, SignatureType.DATED_MLDSA44)
    signers = [NoteSigner(f"w{kind}.example/w", kind, bytes([kind]) * 32) for kind in kinds]
    now = log.clock.now()
    async with log.database.read() as connection:
        body = await growth(connection, log.tables, 0, before=now)
    memory = WitnessMemory(folder).open()
    witness = Witness({log.keys.signers[0].name: log.keys.verifiers}, signers, memory)
    signed = await witness.add_checkpoint(body, now)
    memory.close()
    for line in signed.lines:
        async with log.database.begin() as connection:
            await accept_cosignature(
                connection,
                log.tables,
                size=signed.head.checkpoint.size,
                line=line,
                witnesses=[signer.verifier for signer in signers],
                now=now,
            )
    dated = log.keys.signers[0].dated().verifier
    return [
        log.keys.vkey,
        log.keys.pq_vkey,
        dated.to_text(),
        *(signer.verifier.to_text() for signer in signers),
    ]


@pytest.mark.parametrize("steps", [(1,), (255, 1), (300, 400, 68)])
async def test_a_stranger_reads_and_verifies_the_whole_log_from_files(
    log: StoredLog, steps: tuple[int, ...], tmp_path: Path
) -> None:
    for step in steps:
        await log.grow(step)
        await export_log(log.database, log.tables, tmp_path / "tree")
    vkeys = await cosigned(log, tmp_path / "witness")
    await export_log(log.database, log.tables, tmp_path / "tree")
    with serving(tmp_path / "tree") as url:
        read = await asyncio.to_thread(read_log, over_http(url), vkeys)
    assert read.entries == log.added
    assert (read.origin, read.size) == (log.keys.signers[0].name, sum(steps))


async def test_the_reader_is_a_program_that_needs_nothing_of_ours(
    log: StoredLog, tmp_path: Path
) -> None:
    await log.grow(3)
    await export_log(log.database, log.tables, tmp_path / "tree")
    (tmp_path / "vkeys").write_text(f"{log.keys.vkey}\n{log.keys.pq_vkey}\n")
    with serving(tmp_path / "tree") as url:
        done = await asyncio.to_thread(
            subprocess.run,
            [
                *(sys.executable, "-I", "-c", ALONE),
                *(tlog_reader.__file__, url, str(tmp_path / "vkeys")),
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.stdout.endswith(": 3 entries in 3 files, all signed for\n[]\n"), done.stderr


@pytest.mark.parametrize(
    "path",
    ["checkpoint", "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000"],
)
async def test_a_changed_byte_in_any_file_is_noticed_by_the_stranger(
    log: StoredLog, path: str, tmp_path: Path
) -> None:
    await log.grow(300)
    await export_log(log.database, log.tables, tmp_path)
    file = tmp_path / path
    data = bytearray(file.read_bytes())
    data[20] ^= 1
    file.write_bytes(data)

    def read() -> Log:
        return read_log(lambda name: (tmp_path / name).read_bytes(), [log.keys.vkey])

    with pytest.raises((Contradiction, InvalidSignature)):
        read()
    data[20] ^= 1
    file.write_bytes(data)
    assert read().entries == log.added
