"""Runs one adapter as a process of its own: `python -m adapters.serve NAME`.

The settings come as the first line, one JSON object; then requests, as `adapters.wire` describes
them. The end of its input ends the process, so nothing of it outlives a gateway that was killed.
An author in another language writes this loop anew; it is the whole of the protocol.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from adapters import wire
from adapters.base import NationalSystem, Tools
from adapters.registry import open_adapter
from schemas.errors import CaseSystemUnavailable, Suspect

Act = Callable[[NationalSystem, dict[str, wire.Json]], wire.Json]

ACTS: Mapping[str, Act] = {
    "describe": lambda system, _: wire.description_to_json(system),
    "check": lambda system, _: system.check(),
    "find": lambda system, given: wire.outcome_to_json(system.find(UUID(given["business_id"]))),
    "read": lambda system, given: _case(system, given["reference"]),
    "candidates": lambda system, given: wire.candidates_to_json(
        system.candidates(wire.case_from_json(given["case"]))
    ),
    "file": lambda system, given: wire.outcome_to_json(
        system.file(UUID(given["business_id"]), wire.case_from_json(given["case"]))
    ),
    "file_many": lambda system, given: [
        wire.outcome_to_json(outcome)
        for outcome in system.file_many(
            [
                (UUID(item["business_id"]), wire.case_from_json(item["case"]))
                for item in given["all"]
            ]
        )
    ],
    "update": lambda system, given: wire.outcome_to_json(
        system.update(given["reference"], wire.case_from_json(given["case"]))
    ),
    "erase": lambda system, given: wire.outcome_to_json(system.erase(given["reference"])),
    "poll": lambda system, given: wire.page_to_json(system.poll(given["cursor"])),
    "tell": lambda system, given: wire.outcome_to_json(
        system.tell(given["case_ref"], wire.news_from_json(given["news"]))
    ),
}
"""What can be asked for, besides `read_cases`, which answers in many lines."""


class Served:
    """One adapter between two streams of lines."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self._requests = requests
        self._answers = answers
        self._request = 0

    def tools(self, state: Path | None) -> Tools:
        """Tools that ask the gateway over the same two streams."""
        return Tools(
            sign_request=lambda method, url, headers, body: self._borrow(
                "sign_request", method=method, url=url, headers=dict(headers), body=body.hex()
            ),
            verify_request=lambda method, url, headers, body: self._borrow(
                "verify_request", method=method, url=url, headers=dict(headers), body=body.hex()
            ),
            seal_file=lambda content: bytes.fromhex(
                self._borrow("seal_file", content=content.hex())
            ),
            open_file=lambda content: bytes.fromhex(
                self._borrow("open_file", content=content.hex())
            ),
            state=state,
        )

    def run(self, system: NationalSystem) -> None:
        """Answer until the input ends."""
        while (request := self._read()) is not None:
            self._request = request["id"]
            try:
                self._write(gives=self._act(system, request["do"], request.get("with", {})))
            except Exception as error:
                word, where = wire.raised_by(error)
                self._write(raises=word, where=where)

    def _act(self, system: NationalSystem, name: str, given: dict[str, wire.Json]) -> wire.Json:
        if name != "read_cases":
            return ACTS[name](system, given)
        source = given["source"]
        for item in system.read_cases(None if source is None else Path(source)):
            self._write(item=wire.item_to_json(item))
        return None

    def _borrow(self, tool: str, **given: wire.Json) -> wire.Json:
        self._write(need=tool, **{"with": given})
        answer = self._read()
        if answer is None:
            raise CaseSystemUnavailable("the gateway has gone")
        if "lends" not in answer:
            raise Suspect
        return answer["lends"]

    def _read(self) -> dict[str, wire.Json] | None:
        line = self._requests.readline(wire.MAX_LINE)
        if not line:
            return None
        value = json.loads(line)
        if not isinstance(value, dict):
            raise wire.Unreadable("not an object")
        return value

    def _write(self, **fields: wire.Json) -> None:
        line = json.dumps({"id": self._request, **fields}, ensure_ascii=False).encode()
        self._answers.write(line + b"\n")
        self._answers.flush()


def _case(system: NationalSystem, reference: str) -> wire.Json:
    case = system.read(reference)
    return None if case is None else wire.case_to_json(case)


def main() -> None:
    """Serve the adapter that is named on the command line."""
    served = Served(sys.stdin.buffer, sys.stdout.buffer)
    first = json.loads(sys.stdin.buffer.readline(wire.MAX_LINE))
    state = first.pop("state", None)
    served.run(
        open_adapter(
            sys.argv[1], first["settings"], served.tools(None if not state else Path(state))
        )
    )


if __name__ == "__main__":
    main()
