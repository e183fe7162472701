"""The webhook adapter: a country's own endpoint is the case system.

Every act is `POST <url>/<act>` with a JSON object, signed by the participant (RFC 9421); the words
are those of `adapters.wire`, so that an endpoint and a program on standard streams differ in
nothing but the line between. Ids travel in bodies alone: servers and proxies write URLs into logs.

What the endpoint remembers is said in the settings, and decides what a silence means:

| `memory` | the endpoint promises | a `file` without an answer |
|---|---|---|
| `lookup` | `find` knows every business id that was filed | found, or tried again |
| `keys` | one case for one `Idempotency-Key`, which is the business id, for ever | tried again |
| `none` | nothing | held for a person |
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from adapters import wire
from adapters.base import (
    Candidate,
    CannotErase,
    CannotMap,
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
    file_one_by_one,
)
from adapters.systems.webhook.breaker import Breaker
from adapters.systems.webhook.endpoint import TOO_LARGE, Endpoint, NotDone, NoWord
from adapters.systems.webhook.tls import Tls
from schemas.errors import CaseSystemUnavailable, OutcomeUnknown, SchemaRefused
from schemas.sections import section_content, validate_section

T = TypeVar("T")

MAX_ANSWER: Final = 64 * 1024
MAX_CONTENT: Final = wire.MAX_LINE
"""Of answers that hold a case, or a page of decisions."""
SKILLS: Final = frozenset({Skill.READ, Skill.UPDATE, Skill.ERASE, Skill.POLL, Skill.TELL})
_NOT_OFFERED: Final = Declined("not-supported")


class WebhookSystem:
    """Implements `adapters.base.NationalSystem` over one endpoint."""

    name = "webhook"

    def __init__(self, endpoint: Endpoint, memory: Memory, skills: frozenset[Skill]) -> None:
        self.endpoint = endpoint
        self.memory = memory
        self.skills = skills

    def check(self) -> None:
        """See the port. The endpoint answers anything to `check`, as JSON."""
        self._ask("check", {})

    def find(self, business_id: UUID) -> Filed | None:
        """See the port."""
        if self.memory is not Memory.LOOKUP:
            return None
        found = _understood(
            wire.found_from_json, self._ask("find", {"business_id": str(business_id)})
        )
        return None if found is None else Filed(found.reference, True, found.not_held)

    def read(self, reference: str) -> CaseRecord | None:
        """See the port."""
        if Skill.READ not in self.skills:
            return None
        answer = self._ask("read", {"reference": reference}, limit=MAX_CONTENT)
        return _understood(wire.found_case_from_json, answer)

    def candidates(self, case: CaseRecord) -> tuple[Candidate, ...]:
        """See the port: it cannot be searched."""
        return ()

    def file(self, business_id: UUID, case: CaseRecord) -> Outcome:
        """See the port. A case that is not valid is not sent."""
        ready = _valid(case)
        if isinstance(ready, CannotMap):
            return ready
        given = {"business_id": str(business_id), "case": ready}
        try:
            answer = self.endpoint.ask("file", given, limit=MAX_ANSWER, key=str(business_id))
            return wire.outcome_from_json(answer)
        except NotDone as refused:
            return _refused(refused)
        except (NoWord, wire.Unreadable) as silence:
            if self.memory is Memory.NONE:
                raise OutcomeUnknown(f"the endpoint: {silence}") from None
            raise CaseSystemUnavailable(f"the endpoint: {silence}") from None

    def file_many(self, cases: Sequence[tuple[UUID, CaseRecord]]) -> list[Outcome]:
        """See the port."""
        return file_one_by_one(self, cases)

    def update(self, reference: str, case: CaseRecord) -> Outcome:
        """See the port."""
        if Skill.UPDATE not in self.skills:
            return _NOT_OFFERED
        ready = _valid(case)
        if isinstance(ready, CannotMap):
            return ready
        try:
            answer = self.endpoint.ask(
                "update", {"reference": reference, "case": ready}, limit=MAX_ANSWER
            )
            return wire.outcome_from_json(answer)
        except NotDone as refused:
            return _refused(refused)
        except (NoWord, wire.Unreadable) as silence:
            raise CaseSystemUnavailable(f"the endpoint: {silence}") from None

    def erase(self, reference: str) -> Erasing:
        """See the port."""
        if Skill.ERASE not in self.skills:
            return CannotErase("not-supported")
        answer = self._ask("erase", {"reference": reference})
        return _understood(wire.erasing_from_json, answer)

    def poll(self, cursor: str | None) -> Polled:
        """See the port."""
        if Skill.POLL not in self.skills:
            return Polled((), cursor)
        answer = self._ask("poll", {"cursor": cursor}, limit=MAX_CONTENT)
        return _understood(wire.page_from_json, answer)

    def tell(self, case_ref: str, news: News) -> Outcome:
        """See the port. The news' own id is the key: telling it twice changes nothing."""
        if Skill.TELL not in self.skills:
            return _NOT_OFFERED
        given = {"case_ref": case_ref, "news": wire.news_to_json(news)}
        return _understood(wire.outcome_from_json, self._ask("tell", given))

    def read_cases(self, source: Source | None = None) -> Iterator[CaseRecord | RejectedRow]:
        """See the port: it offers none."""
        return iter(())

    def _ask(self, act: str, given: Mapping[str, Any], *, limit: int = MAX_ANSWER) -> wire.Json:
        """An act that may be repeated."""
        try:
            return self.endpoint.ask(act, given, limit=limit)
        except (NotDone, NoWord) as silence:
            raise CaseSystemUnavailable(f"the endpoint: {silence}") from None


def _understood(understand: Callable[[wire.Json], T], answer: wire.Json) -> T:
    try:
        return understand(answer)
    except wire.Unreadable:
        raise CaseSystemUnavailable("the endpoint: not an answer") from None


def _valid(case: CaseRecord) -> dict[str, wire.Json] | CannotMap:
    """The case for the line, its sections canonical; or why it is none."""
    where: list[str] = []
    sections: dict[str, Any] = {}
    for section, content in case.sections.items():
        try:
            sections[section] = section_content(validate_section(section, content))
        except SchemaRefused as refused:
            where += refused.where or (section,)
    return CannotMap(tuple(where)) if where else {**wire.case_to_json(case), "sections": sections}


def _refused(refused: NotDone) -> CannotMap:
    """What a definite no means; raises unless it is about this case alone."""
    if refused.status == TOO_LARGE:
        return CannotMap(("case: too-large",))
    raise CaseSystemUnavailable(f"the endpoint: {refused}") from None


# --- settings ----------------------------------------------------------------------------------

_SETTINGS: Final = frozenset(
    {
        "url",
        "memory",
        "offers",
        "ca",
        "certificate",
        "key",
        "timeout",
        "pause",
        "token_file",
        "failures",
        "rest",
        "unsigned",
    }
)


def make(settings: Mapping[str, Any], tools: Tools) -> WebhookSystem:
    """The adapter from its settings; `docs/adapters.md` lists them.

    Raises:
        SchemaRefused: Names the setting that is missing, unknown or wrong.
    """
    if unknown := set(settings) - _SETTINGS:
        raise SchemaRefused("unknown settings", where=tuple(sorted(unknown)))
    url, is_near = _url(settings.get("url"))
    unsigned = settings.get("unsigned", False)
    if unsigned not in (True, False) or (unsigned and not is_near):
        raise SchemaRefused("requests go unsigned on this machine alone", where=("unsigned",))
    if not unsigned and tools.sign_request is None:
        raise SchemaRefused("the gateway lends no signature", where=("unsigned",))
    try:
        memory = Memory(str(settings.get("memory")))
        skills = frozenset(Skill(each) for each in settings.get("offers", ()))
    except (ValueError, TypeError):
        raise SchemaRefused("unknown words", where=("memory", "offers")) from None
    if not skills <= SKILLS:
        raise SchemaRefused("an endpoint does not offer this", where=("offers",))
    endpoint = Endpoint(
        url=url,
        sign=None if unsigned else tools.sign_request,
        tls=_tls(settings) if url.startswith("https:") else None,
        timeout=_seconds(settings, "timeout", 20.0),
        pause=_path(settings, "pause"),
        breaker=Breaker(
            threshold=_count(settings, "failures", 5), rest=_seconds(settings, "rest", 5.0)
        ),
    )
    if (token_file := _path(settings, "token_file")) is not None:
        endpoint.token = lambda: _secret(token_file)
    return WebhookSystem(endpoint, memory, skills)


def _url(value: object) -> tuple[str, bool]:
    """The base address, and whether it is on this machine: only there may TLS be missing."""
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        is_near = parts.hostname in ("localhost", "127.0.0.1", "::1")
        fits = parts.scheme == "https" or (parts.scheme == "http" and is_near)
        extra = parts.query or parts.fragment or parts.username or parts.password
        if not parts.hostname or not fits or extra or parts.port == 0:
            raise ValueError
    except ValueError:
        raise SchemaRefused("an https address without more is needed", where=("url",)) from None
    return str(value).rstrip("/"), is_near


def _tls(settings: Mapping[str, Any]) -> Tls:
    tls = Tls(
        ca=_path(settings, "ca"),
        certificate=_path(settings, "certificate"),
        key=_path(settings, "key"),
    )
    if (tls.certificate is None) is not (tls.key is None):
        raise SchemaRefused("a certificate and its key go together", where=("certificate", "key"))
    return tls


def _secret(path: Path) -> str:
    """A token from a file for the owner alone."""
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise CaseSystemUnavailable("token_file is open to others; chmod 600")
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise CaseSystemUnavailable("token_file cannot be read") from None
    if not text or not text.isprintable():
        raise CaseSystemUnavailable("token_file holds no token")
    return text


def _path(settings: Mapping[str, Any], name: str) -> Path | None:
    value = settings.get(name)
    if value is None:
        return None
    if not isinstance(value, str | Path) or not Path(value).is_absolute():
        raise SchemaRefused("an absolute path is needed", where=(name,))
    return Path(value)


def _seconds(settings: Mapping[str, Any], name: str, default: float) -> float:
    value = settings.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 600:
        raise SchemaRefused("seconds, up to 600", where=(name,))
    return float(value)


def _count(settings: Mapping[str, Any], name: str, default: int) -> int:
    value = settings.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1000:
        raise SchemaRefused("a number, up to 1000", where=(name,))
    return value
