"""Requests made from an OpenAPI document, put to the real application in the same process.

Schemathesis makes the requests and judges the answers; they go through our own client, since the
applications live in one event loop with their databases. Ids that exist are put in now and then:
a random one leads nowhere but to `not-found`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

import httpx2
import requests
import schemathesis
from hypothesis import strategies as st

T = TypeVar("T")
W = TypeVar("W")
Headers = Callable[[str, str, bytes], Mapping[str, str]]
"""What a caller of this method, URL and body adds: a signature, a token."""


class Beside(Generic[W]):
    """An event loop in a thread, with something open in it for as long as this is."""

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[W]]) -> None:
        self._make = make
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._end = asyncio.Event()
        self._held: Any = None

    def __enter__(self) -> W:
        self._thread.start()
        ready: asyncio.Future[W] = asyncio.Future(loop=self._loop)

        async def hold() -> None:
            try:
                async with self._make() as made:
                    ready.set_result(made)
                    await self._end.wait()
            except BaseException as error:
                if ready.done():
                    raise
                ready.set_exception(error)

        async def begin() -> W:
            self._held = asyncio.ensure_future(hold())
            return await ready

        return self.run(begin())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        async def finish() -> None:
            self._end.set()
            await self._held

        self.run(finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def operations(document: dict[str, Any]) -> dict[str, Any]:
    """Every operation of a document, by `GET /path`."""
    schema = schemathesis.openapi.from_dict(document)
    found = (cast(Any, result).ok() for result in schema.get_all_operations())
    return {f"{one.method.upper()} {one.path}": one for one in found}


def cases(operation: Any, known: Mapping[str, Sequence[str]]) -> st.SearchStrategy[Any]:
    """Requests of one operation, as its schema has it; of a name that we know a value, sometimes that."""
    chosen = st.fixed_dictionaries(
        {
            name: st.none() | st.sampled_from(list(known[name]))
            for name in dict.fromkeys((*_parameters(operation), IN_A_BODY))
            if name in known
        }
    )
    return st.tuples(operation.as_strategy(), chosen).map(_put_in)


IN_A_BODY = "case"
"""A person's rights are asked for under a number that stands in no URL."""
WAIT = "wait"
"""Of the mailbox and of a message: for how long to wait. Nobody waits for a letter here."""


def _parameters(operation: Any) -> list[str]:
    return [one.name for one in operation.iter_parameters()]


def _put_in(drawn: tuple[Any, Mapping[str, str | None]]) -> Any:
    case, chosen = drawn
    for name, value in chosen.items():
        for place in (case.path_parameters, case.query, case.body):
            if value is not None and isinstance(place, dict) and name in place:
                place[name] = value
    if WAIT in _parameters(case.operation):
        case.query[WAIT] = 0
    return case


def put(http: httpx2.AsyncClient, case: Any, headers: Headers) -> httpx2.Request:
    """The request that a case stands for, as our own client sends it."""
    ready = requests.Request(**case.as_transport_kwargs(base_url=str(http.base_url))).prepare()
    method, url, body = str(ready.method), str(ready.url), cast("str | bytes", ready.body or b"")
    content = body.encode() if isinstance(body, str) else body
    more = httpx2.Headers({name: str(value) for name, value in ready.headers.items()})
    more.update(dict(headers(method, url, content)))
    return http.build_request(method, url, headers=more, content=content)
