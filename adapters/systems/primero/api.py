"""Primero's API version 2: signing in, and the calls that the adapter makes.

Everything is wrapped in `{"data": …}`. A change may be answered with 204 and no body, an error with
something that is no JSON, and a change of a referral's status that its state does not permit with
200 and the old status: what an answer says is looked at, not that there is one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from adapters.systems.rest import Answer, Json, Rest, read_secret
from schemas.errors import CaseSystemUnavailable

Record: TypeAlias = dict[str, Any]

PER = 500
MOST_PAGES = 2000


class Primero:
    """One installation, as one user. Threads may share it."""

    def __init__(self, rest: Rest, user: str, password_file: Path) -> None:
        self._rest, self._user, self._password_file = rest, user, password_file
        self._token: str | None = None
        self._lock = threading.Lock()

    def ask(self, method: str, path: str, data: Json = None, **query: str) -> Answer:
        """A call, signed in; once more with a new token if the old one has expired.

        Raises:
            CaseSystemUnavailable: No answer, or no entry.
        """
        body = None if data is None else {"data": data}
        for token in (self._token or self._sign_in(None), None):
            given = token or self._sign_in(self._token)
            answer = self._rest.call(
                method,
                f"api/v2/{path}",
                json_body=body,
                query=query or None,
                headers={"authorization": given},
                sign_in=True,
            )
            if answer.status != 401:
                return answer
        raise CaseSystemUnavailable("answered 401")

    def _sign_in(self, expired: str | None) -> str:
        with self._lock:
            if self._token is not None and self._token != expired:
                return self._token  # another thread has signed in meanwhile
            password = read_secret(self._password_file)
            user = {"user_name": self._user, "password": password}
            answer = self._rest.call("POST", "api/v2/tokens", json_body={"user": user})
            token = answer.headers.get("authorization", "")
            if not answer.good or not token.startswith("Bearer "):
                raise CaseSystemUnavailable("not let in")
            self._token = token
            return token

    def case(self, id_: str) -> Record | None:
        """A record, or None if there is none."""
        answer = self.ask("GET", f"cases/{id_}")
        if answer.status == 404:
            return None
        record = _data(answer)
        if not isinstance(record, dict):
            raise CaseSystemUnavailable("answered without a record")
        return record

    def cases(self, **query: str) -> Iterator[Record]:
        """Every record that matches, page by page."""
        for page in range(1, MOST_PAGES):
            answer = self.ask("GET", "cases", page=str(page), per=str(PER), **query)
            records = _data(answer)
            if not isinstance(records, list):
                raise CaseSystemUnavailable("answered without records")
            yield from (each for each in records if isinstance(each, dict))
            total = (answer.body.get("metadata") or {}).get("total")
            # `per` may have been cut down by the server: what it says of the total counts.
            per = (answer.body.get("metadata") or {}).get("per")
            if not records or not isinstance(total, int) or not isinstance(per, int):
                return
            if page * per >= total:
                return

    def referrals(self, case: str) -> list[Record]:
        """The referrals of a record, and of no other."""
        return self._transitions(case, "referrals", "Referral")

    def transfers(self, case: str) -> list[Record]:
        """The transfers of a record, and of no other."""
        return self._transitions(case, "transfers", "Transfer")

    def _transitions(self, case: str, path: str, kind: str) -> list[Record]:
        found = _data(self.ask("GET", f"cases/{case}/{path}"))
        if not isinstance(found, list):
            raise CaseSystemUnavailable(f"answered without {path}")
        return [
            each
            for each in found
            if isinstance(each, dict)
            and each.get("record_id") == case
            and each.get("type", kind) == kind
        ]

    def field_names(self) -> frozenset[str]:
        """Every field of every form that this user can see."""
        names: set[str] = set()
        for form in _data(self.ask("GET", "forms", record_type="case")) or ():
            names |= {str(field.get("name")) for field in form.get("fields", ())}
        return frozenset(names)


def _data(answer: Answer) -> Any:
    if not answer.good:
        raise CaseSystemUnavailable(f"answered {answer.status}")
    return answer.body.get("data") if isinstance(answer.body, Mapping) else None


def status_of(answer: Answer) -> str | None:
    """What a referral's status is after a change, as the server says it."""
    found = _data(answer) if answer.good else None
    return found.get("status") if isinstance(found, dict) else None
