"""A document from outside can be read in one way only, or is refused."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.strict_json import MAX_DEPTH, MAX_INTEGER, parse, parse_object
from schemas.errors import MalformedJson, TooLarge

LIMIT = 10_000

REFUSED = {
    "duplicate member": b'{"to":"al.nrm","to":"xx.evil"}',
    "duplicate member, one escaped": b'{"to":1,"\\u0074o":2}',
    "duplicate member, deep": b'[{"a":{"b":1,"b":1}}]',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":Infinity}',
    "minus Infinity": b'{"a":-Infinity}',
    "a number that becomes infinite": b'{"a":1e999}',
    "an integer beyond 2^53 - 1": b'{"a":9007199254740992}',
    "an integer of a million digits": b"9" * 9_000,
    "a byte order mark": b'\xef\xbb\xbf{"a":1}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "not UTF-8": b'{"a":"\xff"}',
    "overlong UTF-8": b'{"a":"\xc0\x80"}',
    "half a surrogate pair": b'{"a":"\\ud800"}',
    "half a surrogate pair as a name": b'{"\\udfff":1}',
    "a surrogate as UTF-8": b'{"a":"\xed\xa0\x80"}',
    "too deep": b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    "far too deep": b"[" * 9_000,
    "something after the end": b"{} {}",
    "a trailing comma": b'{"a":1,}',
    "a comment": b'{"a":1}//',
    "single quotes": b"{'a':1}",
    "a control character": b'{"a":"\x01"}',
    "NUL": b'{"a":1}\x00',
    "a leading zero": b'{"a":01}',
    "nothing": b"",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_what_two_readers_could_read_differently_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedJson) as refusal:
        parse(data, limit=LIMIT)
    assert "evil" not in str(refusal.value)


def test_what_is_strict_is_read_as_it_stands() -> None:
    text = '{"a":[1,-0.5,true,null,"\\u00e9ж"],"b":{"c":{}}}'
    assert parse(text.encode(), limit=LIMIT) == json.loads(text)
    assert parse(str(MAX_INTEGER).encode(), limit=LIMIT) == MAX_INTEGER
    assert parse(str(-MAX_INTEGER).encode(), limit=LIMIT) == -MAX_INTEGER
    assert parse(b'"\\ud83d\\ude00"', limit=LIMIT) == "😀"


def test_depth_is_counted_in_objects_and_arrays_alike() -> None:
    deep = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert parse(deep, limit=LIMIT)
    assert parse(b'{"a":"b"}', limit=LIMIT, depth=1)
    with pytest.raises(MalformedJson):
        parse(b'{"a":[]}', limit=LIMIT, depth=1)


def test_size_is_asked_before_anything_else() -> None:
    with pytest.raises(TooLarge):
        parse(b"\xff" * (LIMIT + 1), limit=LIMIT)
    assert parse(b'"' + b"x" * (LIMIT - 2) + b'"', limit=LIMIT)


@pytest.mark.parametrize("data", [b"[]", b'"a"', b"1", b"null"])
def test_only_an_object_will_do_where_one_is_wanted(data: bytes) -> None:
    with pytest.raises(MalformedJson):
        parse_object(data, limit=LIMIT)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(JSON)
def test_every_document_that_we_write_is_read_back(value: object) -> None:
    for ascii_only in (True, False):
        data = json.dumps(value, ensure_ascii=ascii_only).encode()
        assert parse(data, limit=10**6) == value


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_no_bytes_at_all_raise_anything_but_a_refusal(data: bytes) -> None:
    with contextlib.suppress(MalformedJson, TooLarge):
        parse(data, limit=200)


@given(st.text('{}[]",:0123456789.eE+-\\u aN', max_size=60))
def test_nothing_that_looks_like_json_does_either(text: str) -> None:
    try:
        value = parse(text.encode(), limit=200)
    except MalformedJson:
        return
    assert value == json.loads(text)
