"""What travels between processes arrives as it was sent."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kit.cache import keys
from services.kit.cache.keys import Key
from services.kit.cache.messages import Invalidation, decode, encode

SENDER = UUID(int=7)
parts = st.uuids() | st.text() | st.integers()
cache_keys: st.SearchStrategy[Key] = st.recursive(parts, lambda inner: st.lists(inner, max_size=3).map(tuple))


@given(st.text(), st.none() | st.sets(cache_keys, max_size=4))
def test_a_message_arrives_as_it_was_sent(cache: str, sent: set[Key] | None) -> None:
    told = decode(encode(SENDER, cache, None if sent is None else {keys.dump(key) for key in sent}).encode())

    assert (told.sender, told.cache) == (SENDER, cache)
    assert (told.keys if told.keys is None else set(told.keys)) == sent


def test_a_uuid_and_its_text_are_different_keys() -> None:
    assert keys.parse(keys.dump(SENDER)) == SENDER
    assert keys.parse(keys.dump(str(SENDER))) == str(SENDER)


def test_what_is_no_key_is_refused_when_it_is_noted() -> None:
    with pytest.raises(TypeError, match="float"):
        keys.dump(("a", 1.5))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"sender": "x", "cache": "a", "keys": null}',
        b'{"cache": "a", "keys": null}',
        b'{"sender": "00000000000000000000000000000007", "cache": "a", "keys": [1]}',
        b'{"sender": "00000000000000000000000000000007", "cache": "a", "keys": ["1.5"]}',
    ],
)
def test_what_is_not_understood_is_an_error_of_one_kind(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(data)


def test_a_message_to_drop_everything_names_no_keys() -> None:
    assert decode(encode(SENDER, "types", None)) == Invalidation(SENDER, "types", None)
