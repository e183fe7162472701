"""An adapter that runs as a process of its own, for code whose authors we do not know.

It gets no key, no database, no environment but a path and a language, and no standard error:
what foreign code prints may hold anything, so nobody reads it. It gets cases, since that is what
it is for. A process that answers late, wrongly or not at all is killed and started anew with the
next call; what it was doing then counts as its kind of memory says (`adapters.base.Memory`).
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

from adapters import wire
from adapters.base import (
    Candidate,
    CannotErase,
    CaseRecord,
    Declined,
    Erasing,
    Filed,
    Memory,
    News,
    Outcome,
    Polled,
    RejectedRow,
    Skill,
    Source,
    Tools,
)
from schemas.errors import (
    BrokerError,
    CaseSystemUnavailable,
    NotFound,
    OutcomeUnknown,
    SchemaRefused,
)

T = TypeVar("T")

CHANGES: Final = frozenset({"file", "file_many", "update", "erase", "tell"})
"""Requests after which, without an answer, nobody knows what happened."""
_SETTINGS: Final = {"command", "settings", "timeout"}
_WAITING: Final = 16
"""Lines read ahead of whoever uses them: what the process says faster than that, it waits with."""
_FITS: Final = 32 << 10
"""Bytes that a pipe takes at once, whether or not the process reads."""
NOT_OFFERED: Final = Declined("not-supported")
_MOST_TOOLS: Final = 100
"""Questions of the process during one request."""


class ExternalSystem:
    """Implements `adapters.base.NationalSystem` over the standard streams of a process."""

    def __init__(
        self, command: Sequence[str], settings: Mapping[str, Any], tools: Tools, timeout: float
    ) -> None:
        self._given = (tuple(command), dict(settings), tools, timeout)
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._described: wire.Description | None = None

    @property
    def name(self) -> str:
        """What the process calls itself."""
        return self._describe().name

    @property
    def memory(self) -> Memory:
        """See the port. Asked once; a process that changes its mind must be started anew."""
        return self._describe().memory

    @property
    def skills(self) -> frozenset[Skill]:
        """See the port."""
        return self._describe().skills

    def check(self) -> None:
        """See the port."""
        self._ask("check", lambda _: None)

    def find(self, business_id: UUID) -> Filed | None:
        """See the port."""
        return self._ask("find", wire.found_from_json, business_id=str(business_id))

    def read(self, reference: str) -> CaseRecord | None:
        """See the port. What the process does not offer it is not asked for, here and below."""
        if Skill.READ not in self.skills:
            return None
        return self._ask("read", wire.found_case_from_json, reference=reference)

    def candidates(self, case: CaseRecord) -> tuple[Candidate, ...]:
        """See the port."""
        if Skill.CANDIDATES not in self.skills:
            return ()
        return self._ask("candidates", wire.candidates_from_json, case=wire.case_to_json(case))

    def file(self, business_id: UUID, case: CaseRecord) -> Outcome:
        """See the port."""
        return self._ask(
            "file",
            wire.outcome_from_json,
            business_id=str(business_id),
            case=wire.case_to_json(case),
        )

    def file_many(self, cases: Sequence[tuple[UUID, CaseRecord]]) -> list[Outcome]:
        """See the port."""
        return self._ask(
            "file_many",
            lambda value: wire.outcomes_from_json(value, len(cases)),
            all=[
                {"business_id": str(business_id), "case": wire.case_to_json(case)}
                for business_id, case in cases
            ],
        )

    def update(self, reference: str, case: CaseRecord) -> Outcome:
        """See the port."""
        if Skill.UPDATE not in self.skills:
            return NOT_OFFERED
        return self._ask(
            "update", wire.outcome_from_json, reference=reference, case=wire.case_to_json(case)
        )

    def erase(self, reference: str) -> Erasing:
        """See the port."""
        if Skill.ERASE not in self.skills:
            return CannotErase("not-supported")
        return self._ask("erase", wire.erasing_from_json, reference=reference)

    def poll(self, cursor: str | None) -> Polled:
        """See the port."""
        if Skill.POLL not in self.skills:
            return Polled((), cursor)
        return self._ask("poll", wire.page_from_json, cursor=cursor)

    def tell(self, case_ref: str, news: News) -> Outcome:
        """See the port."""
        if Skill.TELL not in self.skills:
            return NOT_OFFERED
        return self._ask(
            "tell", wire.outcome_from_json, case_ref=case_ref, news=wire.news_to_json(news)
        )

    def read_cases(self, source: Source | None = None) -> Iterator[CaseRecord | RejectedRow]:
        """See the port. A process of its own, so that filing goes on meanwhile."""
        if source is not None and not isinstance(source, Path):
            raise SchemaRefused("an external adapter reads files by their path")
        if Skill.CASES not in self.skills:
            return
        process = _Process(*self._given)
        try:
            given = {"source": None if source is None else str(source)}
            for value in process.ask_many("read_cases", given):
                yield wire.item_from_json(value)
        except (wire.Unreadable, _Silent):
            raise CaseSystemUnavailable("the adapter's process broke off") from None
        finally:
            process.kill()

    def abort(self) -> None:
        """Kill the process whatever it is doing; the call under way ends as a silence."""
        if (process := self._process) is not None:
            process.kill()

    def close(self) -> None:
        """End the process, once it has answered."""
        with self._lock:
            self._drop()

    def _describe(self) -> wire.Description:
        if self._described is None:
            self._described = self._ask("describe", wire.description_from_json)
        return self._described

    def _ask(self, act: str, understand: Callable[[wire.Json], T], **given: wire.Json) -> T:
        if act in CHANGES:
            self._describe()  # or nobody could say what a silence means
        with self._lock:
            if self._process is None:
                self._process = _Process(*self._given)
            try:
                return understand(self._process.ask(act, given))
            except (wire.Unreadable, _Silent):
                self._drop()
        raise self._lost(act)

    def _lost(self, act: str) -> BrokerError:
        if act in CHANGES and self._described is not None and self._described.memory is Memory.NONE:
            return OutcomeUnknown("the adapter's process broke off")
        return CaseSystemUnavailable("the adapter's process broke off")

    def _drop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process = None


class _Silent(Exception):
    """The process ended, or did not answer in time."""


class _Process:
    """One running process, one request at a time."""

    def __init__(
        self, command: Sequence[str], settings: Mapping[str, Any], tools: Tools, timeout: float
    ) -> None:
        self._tools = tools
        self._timeout = timeout
        self._request = 0
        self._lines: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the operator's own command
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
                cwd=tools.state,
                start_new_session=True,
            )
        except OSError as error:
            raise CaseSystemUnavailable(f"cannot start the adapter: errno {error.errno}") from None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        state = None if tools.state is None else str(tools.state)
        self._send({"settings": dict(settings), "state": state})

    def ask(self, act: str, given: Mapping[str, wire.Json]) -> wire.Json:
        """One request and its answer."""
        last: wire.Json = None
        for value in self._answers(act, given):
            last = value
        return last

    def ask_many(self, act: str, given: Mapping[str, wire.Json]) -> Iterator[wire.Json]:
        """One request and all of its items."""
        yield from self._answers(act, given, items=True)

    def _answers(
        self, act: str, given: Mapping[str, wire.Json], *, items: bool = False
    ) -> Iterator[wire.Json]:
        self._request += 1
        self._send({"id": self._request, "do": act, "with": dict(given)})
        asked = 0
        while True:
            answer = self._receive()
            if "gives" in answer:
                if not items:
                    yield answer["gives"]
                return
            if "item" in answer and items:
                yield answer["item"]
            elif "need" in answer and asked < _MOST_TOOLS:
                asked += 1
                self._lend(answer)
            elif "raises" in answer:
                raised = wire.RAISED.get(answer["raises"], wire.RAISED["unavailable"])
                raise raised(wire.paths(answer.get("where", [])))
            else:
                raise wire.Unreadable("neither an answer nor a question")

    def _lend(self, question: Mapping[str, wire.Json]) -> None:
        given = question.get("with")
        if not isinstance(given, dict):
            raise wire.Unreadable("with")
        try:
            lent = self._use(question["need"], given)
        except (BrokerError, TypeError, ValueError, KeyError):
            self._send({"id": self._request, "refused": True})
        else:
            self._send({"id": self._request, "lends": lent})

    def _use(self, tool: str, given: Mapping[str, Any]) -> wire.Json:
        tools = self._tools
        match tool:
            case "sign_request" if tools.sign_request is not None:
                headers = {str(key): str(value) for key, value in given["headers"].items()}
                body = bytes.fromhex(given["body"])
                return dict(tools.sign_request(given["method"], given["url"], headers, body))
            case "verify_request" if tools.verify_request is not None:
                headers = {str(key): str(value) for key, value in given["headers"].items()}
                body = bytes.fromhex(given["body"])
                return tools.verify_request(given["method"], given["url"], headers, body)
            case "seal_file" if tools.seal_file is not None:
                return tools.seal_file(bytes.fromhex(given["content"])).hex()
            case "open_file" if tools.open_file is not None:
                return tools.open_file(bytes.fromhex(given["content"])).hex()
        raise NotFound("no such tool here")

    def _send(self, value: Mapping[str, wire.Json]) -> None:
        assert self._process.stdin is not None  # noqa: S101 - made with a pipe
        line = json.dumps(value, ensure_ascii=False).encode() + b"\n"
        # A process that does not read would keep us here for ever.
        watch = threading.Timer(self._timeout, self._end) if len(line) > _FITS else None
        if watch is not None:
            watch.start()
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except (OSError, ValueError):
            raise _Silent from None
        finally:
            if watch is not None:
                watch.cancel()

    def _receive(self) -> dict[str, wire.Json]:
        try:
            line = self._lines.get(timeout=self._timeout)
        except queue.Empty:
            raise _Silent from None
        if line is None:
            raise _Silent
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise wire.Unreadable("not JSON") from None
        if not isinstance(value, dict) or value.get("id") != self._request:
            raise wire.Unreadable("an answer to another question")
        return value

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - made with a pipe
        with contextlib.suppress(OSError, ValueError):
            while line := self._process.stdout.readline(wire.MAX_LINE):
                if not line.endswith(b"\n"):
                    break  # cut off, or longer than anything that could be meant
                self._lines.put(line)
        self._lines.put(None)

    def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End it and what it started."""
        self._end()
        self._process.wait()
        while self._reader.is_alive():
            with contextlib.suppress(queue.Empty):
                self._lines.get(timeout=0.01)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def make(settings: Mapping[str, Any], tools: Tools) -> ExternalSystem:
    """The adapter from its settings.

    `command`: the program and its arguments, as a list. `settings`: the table that the program is
    given. `timeout`: seconds for one answer, 30 by default.

    Raises:
        SchemaRefused: Names the setting that is missing, unknown or wrong.
    """
    if unknown := set(settings) - _SETTINGS:
        raise SchemaRefused("unknown settings", where=tuple(sorted(unknown)))
    command = settings.get("command")
    if not (isinstance(command, list) and command and all(isinstance(w, str) for w in command)):
        raise SchemaRefused("a list of words is needed", where=("command",))
    table = settings.get("settings", {})
    if not isinstance(table, Mapping):
        raise SchemaRefused("a table is needed", where=("settings",))
    timeout = settings.get("timeout", 30)
    if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not 0 < timeout <= 600:
        raise SchemaRefused("seconds, up to 600", where=("timeout",))
    return ExternalSystem(command, table, tools, float(timeout))
