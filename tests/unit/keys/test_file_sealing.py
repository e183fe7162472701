"""A country's own files open with its key, in any JOSE library, and with nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwcrypto.jwe import JWE
from jwcrypto.jwk import JWK

from keys.file_sealing import (
    file_key_jwk,
    keys_of,
    new_file_key,
    open_file,
    open_with_any,
    seal_file,
)
from schemas.base import b64u
from schemas.errors import CannotOpen, SchemaRefused

KEY = bytes(range(32))


@given(st.binary(max_size=300))
def test_what_was_sealed_opens(content: bytes) -> None:
    assert open_file(seal_file(content, KEY), KEY) == content


def test_another_library_opens_ours_and_we_open_its() -> None:
    key = JWK(**file_key_jwk(KEY))
    theirs = JWE()
    theirs.deserialize(seal_file(b"invented", KEY).decode(), key)
    assert theirs.payload == b"invented"
    made = JWE(b"invented", json.dumps({"alg": "dir", "enc": "A256GCM"}), recipient=key)
    assert open_file(made.serialize(compact=True).encode(), KEY) == b"invented"


def test_the_same_content_is_never_sealed_twice_alike() -> None:
    assert seal_file(b"invented", KEY) != seal_file(b"invented", KEY)


@pytest.mark.parametrize("place", [0, 1, 2, 3, 4])
def test_what_was_changed_does_not_open(place: int) -> None:
    parts = seal_file(b"invented", KEY).decode().split(".")
    changed = ("A" if parts[place][:1] != "A" else "B") + parts[place][1:]
    parts[place] = changed
    with pytest.raises(CannotOpen):
        open_file(".".join(parts).encode(), KEY)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "dir", "enc": "A128CBC-HS256"},
        {"alg": "dir", "enc": "A256GCM", "zip": "DEF"},
        ["dir"],
    ],
)
def test_the_file_does_not_choose_how_it_is_opened(header: object) -> None:
    parts = seal_file(b"invented", KEY).decode().split(".")
    parts[0] = b64u(json.dumps(header).encode())
    with pytest.raises(CannotOpen):
        open_file(".".join(parts).encode(), KEY)


@pytest.mark.parametrize("data", [b"", b"....", b"x_case_ref,\n", b"\xff.a.b.c.d", b"a.b.c.d.e.f"])
def test_what_is_no_sealed_file_does_not_open(data: bytes) -> None:
    with pytest.raises(CannotOpen):
        open_file(data, KEY)


def test_another_key_does_not_open_it() -> None:
    with pytest.raises(CannotOpen):
        open_file(seal_file(b"invented", KEY), new_file_key())


def test_the_key_is_named_as_rfc_7638_says() -> None:
    jwk = file_key_jwk(KEY)
    assert JWK(**jwk).thumbprint() == jwk["kid"]


def test_one_of_several_keys_opens_also_where_the_file_does_not_say_which() -> None:
    old, new = new_file_key(), new_file_key()
    unnamed = JWE(
        b"invented",
        json.dumps({"alg": "dir", "enc": "A256GCM"}),
        recipient=JWK(**file_key_jwk(old)),
    )
    for data in (seal_file(b"invented", old), unnamed.serialize(compact=True).encode()):
        assert open_with_any(data, (new, old)) == b"invented"
        with pytest.raises(CannotOpen):
            open_with_any(data, (new,))
    with pytest.raises(CannotOpen):
        open_with_any(b"\xff", (new, old))


def test_a_ring_is_keys_one_after_the_other() -> None:
    old, new = new_file_key(), new_file_key()
    assert keys_of(new + old) == (new, old)
    for wrong in (b"", old[:-1]):
        with pytest.raises(SchemaRefused):
            keys_of(wrong)
