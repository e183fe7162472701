"""An adapter of unknown authors dies by SIGKILL after it has filed and before it could say so."""

from __future__ import annotations

import sys
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from adapters.base import Tools
from adapters.external import ExternalSystem
from broker.gateway.cases.questions import Answer
from broker.gateway.store.tables import alarm, inbox
from tests.support.gateways import Side, World

FILES_AND_DIES = """
import json, os, pathlib, signal, sys
settings = json.loads(sys.stdin.readline())["settings"]
register = pathlib.Path(settings["register"])
def there(wanted):
    lines = register.read_text().split() if register.exists() else []
    return {"outcome": "filed", "reference": wanted, "already": True} if wanted in lines else None
for line in sys.stdin:
    request = json.loads(line)
    what, given = request["do"], request.get("with", {})
    if what == "describe":
        gives = {"name": "mortal", "memory": settings["memory"], "skills": []}
    elif what == "find":
        gives = there(given["business_id"])
    elif what == "file":
        with register.open("a") as out:
            out.write(given["business_id"] + "\\n")
            out.flush()
            os.fsync(out.fileno())
        if not os.path.exists(settings["register"] + ".mended"):
            os.kill(os.getpid(), signal.SIGKILL)
        gives = {"outcome": "filed", "reference": given["business_id"]}
    else:
        gives = None
    print(json.dumps({"id": request["id"], "gives": gives}), flush=True)
"""


def mortal(folder: Path, memory: str) -> ExternalSystem:
    script = folder / "mortal.py"
    script.write_text(FILES_AND_DIES, encoding="utf-8")
    settings = {"register": str(folder / "register"), "memory": memory}
    return ExternalSystem([sys.executable, str(script)], settings, Tools(), 20.0)


async def state_of(side: Side, business_id: UUID) -> tuple[str, str | None]:
    async with side.gateway.core.database.read() as connection:
        query = select(inbox).where(inbox.c.business_id == business_id)
        row = (await connection.execute(query)).one()
    return row.state, row.code


@pytest.mark.parametrize("memory", ["none", "lookup"])
async def test_killed_between_filing_and_its_answer_it_holds_one_case(
    two: World, tmp_path: Path, memory: str
) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    albania.gateway.core.adapter = mortal(tmp_path, memory)
    sent = await italy.refer("al.nrm", await italy.consent("al.nrm"))
    await italy.push()
    await albania.pull()
    register = tmp_path / "register"
    assert register.read_text().split() == [str(sent.business_id)]

    (tmp_path / "register.mended").touch()
    albania = await two.open("al.nrm")  # the gateway has died, too
    core = albania.gateway.core
    core.adapter = system = mortal(tmp_path, memory)
    async with core.database.begin() as connection:
        await connection.execute(inbox.update().values(next_attempt_at=core.now()))
    await albania.pull()

    assert register.read_text().split() == [str(sent.business_id)], "never a second one"
    if memory == "none":
        assert await state_of(albania, sent.business_id) == ("held", "outcome-unknown")
        async with core.database.read() as connection:
            assert "outcome-unknown" in set(await connection.scalars(select(alarm.c.code)))
        (question,) = await albania.parts.questions.open()
        assert question["answers"] == ["filed", "not_filed", "unsure"]
        await albania.parts.questions.answer(
            UUID(question["id"]), Answer.FILED, reference="found-by-hand", worker="a.worker"
        )
        await albania.parts.filing.run_once()
        assert register.read_text().split() == [str(sent.business_id)]
    assert await state_of(albania, sent.business_id) == ("filed", None)
    system.close()
