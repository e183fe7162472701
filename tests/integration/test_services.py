"""The private servers themselves: what tests, demo and measurements stand on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from sqlalchemy import text

from broker.database import Database
from tests.support.services import PostgreSQL

PROGRAM = Path(__file__).resolve().parents[2] / "deploy" / "dev" / "services.py"


async def test_what_was_committed_before_a_kill_is_there_after_it() -> None:
    with PostgreSQL.temporary() as server:
        database = Database(server.create_database())
        async with database.begin() as connection:
            await connection.execute(text("CREATE TABLE t (n int)"))
            await connection.execute(text("INSERT INTO t VALUES (7)"))
        await database.close()
        server.restart(kill=True)
        again = Database(database.url)
        async with again.read() as connection:
            assert (await connection.execute(text("SELECT n FROM t"))).scalar_one() == 7
        await again.close()
        assert server.sql("SHOW fsync") == "on"


def test_the_program_says_what_it_started_and_ends_with_its_caller() -> None:
    with subprocess.Popen(
        [sys.executable, PROGRAM, "postgres"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())["postgres"]
        assert told["url"].startswith("postgresql+asyncpg://referral:")
        directory = Path(os.readlink(f"/proc/{told['pid']}/cwd"))
        process.stdin.close()
        assert process.wait(30) == 0
    assert not Path(f"/proc/{told['pid']}").exists()
    assert not directory.exists()
