"""Bytes that are no such message, or not quite: protobuf's wire format, and what is wrong in it."""

import random

_VARINT, _I64, _LEN, _GROUP, _END, _I32 = range(6)
# CESU-8, overlong, cut, and what is no UTF-8 at all.
_NO_UTF8 = [
    b"\xed\xa0\x80",
    b"\xed\xb0\x80\xed\xa0\x80",
    b"\xc0\x80",
    b"\xe2\x82",
    b"\xff\xfe",
    b"\xf4\x90\x80\x80",
    b"a\x80",
]
_DEEP = [10, 99, 101, 2000, 20_000]


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def field(number: int, kind: int, content: bytes) -> bytes:
    """A field with its tag, and its length if it has one."""
    return varint(number << 3 | kind) + (varint(len(content)) if kind == _LEN else b"") + content


def mutated(choose: random.Random, valid: bytes) -> bytes:
    """The bytes of a message with a few changes."""
    changed = bytearray(valid)
    for _ in range(choose.choice([1, 1, 1, 2, 3, 8])):
        place = choose.randrange(len(changed) + 1)
        end = min(len(changed), place + choose.choice([1, 1, 2, 4, 16]))
        match choose.randrange(6):
            case 0 if place < len(changed):
                changed[place] ^= 1 << choose.randrange(8)
            case 1:
                del changed[place:end]
            case 2:
                changed[place:place] = choose.randbytes(choose.choice([1, 2, 8]))
            case 3:
                changed[place:place] = changed[place:end] * choose.choice([1, 2, 50])
            case 4 if place < len(changed):
                changed[place] = choose.choice([0, 1, 0x7F, 0x80, 0xFF])
            case _:
                del changed[place:]
    return bytes(changed)


def wrong(choose: random.Random, valid: bytes) -> bytes:
    """The bytes of a message with something beside it that protobuf has its own rules for."""
    number = choose.choice([1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 1000, 18_999, 19_000, 2**29 - 1])
    deep = choose.choice(_DEEP)
    nested = b""
    for _ in range(min(deep, 300)):
        nested = field(choose.choice([1, 1, 1, 2, 3]), _LEN, nested)
    beside = choose.choice(
        [
            field(number, _LEN, choose.choice(_NO_UTF8)),
            field(number, _VARINT, varint(choose.getrandbits(64))),
            field(number, _VARINT, b"\xff" * 9 + b"\x01"),
            field(number, _VARINT, b"\xff" * 12),
            field(number, _I64, choose.randbytes(8)),
            field(number, _I32, choose.randbytes(4)),
            field(number, 6, b""),
            field(number, 7, b""),
            field(0, _LEN, b"a"),
            varint(number << 3 | _GROUP) * deep,
            varint(number << 3 | _GROUP) * deep + varint(number << 3 | _END) * deep,
            varint(number << 3 | _END),
            varint(number << 3 | _LEN) + varint(2**31 - 1),
            varint(number << 3 | _LEN) + varint(2**63),
            field(number, _LEN, nested),
            field(number, _LEN, choose.randbytes(choose.choice([0, 1, 100, 10_000]))),
            field(number, _LEN, valid),
            valid,
            b"".join(field(2000 + index, _VARINT, b"\0") for index in range(choose.choice([10, 5000]))),
        ]
    )
    return choose.choice([beside + valid, valid + beside, beside])


def noise(choose: random.Random) -> bytes:
    """Any bytes."""
    return choose.randbytes(choose.choice([0, 1, 2, 8, 64, 1000, 65_536]))


def huge(choose: random.Random, valid: bytes, bytes_max: int) -> bytes:
    """A message about as large as a server takes."""
    size = max(0, bytes_max - len(valid) + choose.choice([-100, -16, 0, 16, bytes_max]))
    return valid + field(choose.choice([1, 2, 7, 3000]), _LEN, choose.choice([b"a", b"\0", b"\xff"]) * size)
