"""A process that cannot listen says so before it serves anybody."""

from __future__ import annotations

import socket

import pytest

from broker.http import require_free
from schemas.errors import Unavailable


def test_an_address_where_another_program_listens_is_named_with_the_reason() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            Unavailable, match=f"cannot listen at 127.0.0.1:{port}: another program"
        ):
            require_free("127.0.0.1", port)
    require_free("127.0.0.1", port)
    require_free("localhost", 0)


def test_an_address_that_is_none_of_this_machines_is_named() -> None:
    with pytest.raises(Unavailable, match=r"cannot listen at 192\.0\.2\.1:8420: "):
        require_free("192.0.2.1", 8420)
