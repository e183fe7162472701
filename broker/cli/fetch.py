"""Plain HTTP GETs with the standard library: readiness, checkpoints.

Proxies of the environment are passed by, as `broker.client` does: a hub's address is a setting, and
the loopback of this machine is never behind a proxy.
"""

from __future__ import annotations

import urllib.request
from http.client import HTTPMessage

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str, *, seconds: float) -> tuple[bytes, HTTPMessage]:
    """Body and headers of a 200 answer.

    Raises:
        urllib.error.HTTPError: Another answer.
        OSError: No answer.
    """
    request = urllib.request.Request(url)  # noqa: S310
    with _opener.open(request, timeout=seconds) as answer:
        return answer.read(), answer.headers
