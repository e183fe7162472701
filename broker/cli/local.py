"""Talk to a gateway's own API on this machine: what a worker may do, as that worker.

The address comes from `<home>/gateway.toml`, the worker's token from `<home>/workers/<name>.token`
(mode 0600). A gateway answers on loopback only. Standard library alone: a command must be quick.
"""

from __future__ import annotations

import http.client
import json
import tomllib
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from broker.cli.homes.passphrase import warn_if_open
from broker.cli.terminal.failures import error_named
from schemas.errors import BrokerError, Unavailable

TIMEOUT_SECONDS = 30.0
PAGE = 1000
"""Messages asked for at once."""
Command = TypeVar("Command", bound=Callable[..., Any])


class LocalApi:
    """A gateway's local API, for one worker.

    Every method raises the `BrokerError` that the gateway answered, or `Unavailable` when nothing
    answers there.
    """

    def __init__(self, host: str, port: int, token: str, *, home: Path | None = None) -> None:
        self.host = host
        self.port = port
        self.home = home or Path()
        self._token = token

    def get(self, path: str, **query: str | int | None) -> dict[str, Any]:
        return self._object("GET", path, query=query)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return self._object("POST", path, body=body or {})

    def items(self, path: str, member: str, **query: str | int | None) -> list[dict[str, Any]]:
        """The array that a collection answers under `member`."""
        found = self.get(path, **query).get(member, [])
        return [dict(item) for item in found]

    def pages(
        self, path: str, member: str, **query: str | int | None
    ) -> Iterator[list[dict[str, Any]]]:
        """A collection page by page, however long it is."""
        after: int | None = None
        while True:
            answer = self.get(path, after=after, limit=PAGE, **query)
            yield [dict(item) for item in answer.get(member, [])]
            after = answer.get("next")
            if after is None:
                return

    def text(self, path: str, **query: str | int | None) -> str:
        """A document with a format of its own, as it came."""
        return self._request("GET", path, query=query)[1].decode()

    def _object(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | None] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        _, content = self._request(method, path, query=query, body=body)
        value = json.loads(content) if content else {}
        return value if isinstance(value, dict) else {"items": value}

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | None] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> tuple[int, bytes]:
        chosen = {key: value for key, value in (query or {}).items() if value is not None}
        if chosen:
            path += "?" + urllib.parse.urlencode(chosen)
        connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(
                method,
                path,
                body=None if body is None else json.dumps(body).encode(),
                headers={
                    "Authorization": f"Bearer {self._token}",
                    "Content-Type": "application/json",
                },
            )
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(
                f"no gateway answers at {self.host}:{self.port} ({type(error).__name__})"
            ) from None
        finally:
            connection.close()
        if answer.status >= 400:
            raise _problem(answer.status, content)
        return answer.status, content


def _problem(status: int, content: bytes) -> BrokerError:
    try:
        document = json.loads(content)
    except ValueError:
        document = {}
    if not isinstance(document, dict) or "code" not in document:
        if status >= 500:
            return Unavailable(f"the gateway answered {status}")
        return error_named("refused", detail=f"the gateway answered {status}")
    return error_named(
        str(document["code"]),
        family=str(document.get("family", "")),
        detail=str(document.get("detail", "")),
        where=tuple(str(item) for item in document.get("where", ())),
    )


def open_home(home: Path, worker: str | None = None) -> LocalApi:
    """The API of the gateway whose home this is, as `worker` (or the only one there is).

    Raises:
        click.UsageError: No such home, no worker, or several and none was chosen.
    """
    settings_file = home / "gateway.toml"
    if not settings_file.is_file():
        raise click.UsageError(
            f"{home} is no gateway home: it has no gateway.toml. Say which with --home FOLDER"
        )
    try:
        api = tomllib.loads(settings_file.read_text(encoding="utf-8")).get("api", {})
    except tomllib.TOMLDecodeError as error:
        raise click.UsageError(f"{settings_file} is no TOML: {error}") from None
    tokens = {path.stem: path for path in sorted((home / "workers").glob("*.token"))}
    if worker is None and len(tokens) == 1:
        worker = next(iter(tokens))
    add = f"referral gateway worker add {worker or 'NAME'} --home {home}"
    if worker is None:
        named = f"with --worker NAME ({', '.join(tokens)})" if tokens else f"({add})"
        raise click.UsageError(f"say which worker {named}")
    if worker not in tokens:
        raise click.UsageError(f"no worker {worker} here: {add}")
    warn_if_open(tokens[worker])
    token = tokens[worker].read_bytes().strip()
    if not token.isascii() or not token:
        raise click.UsageError(f"{tokens[worker]} holds no token: {add}")
    return LocalApi(
        str(api.get("host", "127.0.0.1")),
        int(api.get("port", 8420)),
        token.decode(),
        home=home,
    )


def with_gateway(command: Command) -> Command:
    """Add `--home` and `--worker`; the command gets the open API as `api`."""

    def opened(*args: Any, home: Path, worker: str | None, **kwargs: Any) -> Any:
        return command(*args, api=open_home(home, worker), **kwargs)

    opened.__name__ = command.__name__
    opened.__doc__ = command.__doc__
    opened.__dict__.update(command.__dict__)
    wrapped = click.option(
        "--home",
        type=click.Path(path_type=Path),
        envvar="REFERRAL_HOME",
        default=".",
        show_default="REFERRAL_HOME or here",
        help="The gateway's home folder.",
    )(opened)
    worker = click.option("--worker", metavar="NAME", help="Who asks; needs a token in HOME.")
    return worker(wrapped)  # type: ignore[return-value]
