"""Messages from descriptors: values that the rules of the contract allow, and values at and beyond their bounds."""

import random
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tests.fuzz.support import texts
from tests.fuzz.support.methods import rules

Known = Mapping[str, Sequence[str]]
"""IDs and tokens of what exists, by the names of the fields that hold them."""
# The published types of descriptors allow None almost everywhere, so that fields are Any here.

_DEPTH_MAX = 5
# How many of the values of a message are made to be refused; with None it is one of them.
_ODD_SHARES = [0.0, 0.0, None, None, 0.1, 0.4]
_LEAVES = 24
_FLOATS = [0.0, -0.0, 1.0, -1.0, 2.5, 1e308, 5e-324, float("inf"), float("-inf"), float("nan")]
_SECONDS = [0, 1, -1, 60, 86_400, 1_800_000_000, 253_402_300_799, 253_402_300_800, -62_135_596_800, 2**63 - 1, -(2**63)]
_NANOS = [0, 1, 999_999_999, 1_000_000_000, -1, 2**31 - 1, -(2**31)]
# What makes a call get further than to the checks. Amounts are small: money must be left for the next request.
_GOOD_NUMBERS = {
    "amount_cents": [1, 5], "nanos": [0], "page_size": [1, 5], "limit": [1, 5], "max_attempts": [1, 2],
    "multiplier": [2.0], "processor_type": [1, 2], "default_priority": [1, 2, 3], "priority": [1, 2, 3],
    "view": [1, 2], "standard_cost_cents": [0, 5], "max_cost_cents": [100], "outcome": [1, 2, 3], "slots": [4],
    "refunded_cents": [1],
}  # fmt: skip
# What is deleted is nothing that others need: nobody could submit jobs for most of the run, or it is in use.
_DELETED = {"DeleteCustomerRequest": "customer_id", "DeleteJobTypeRequest": "job_type_id"}
_BYTES = [b"", b"\0", b"\xff" * 10, b"x" * 32, b"x" * 5000]


class Messages:
    """Makes messages; about half of them are such that a call gets further than to the checks.

    Args:
        choose: Makes the same messages each time.
        known: What exists.
    """

    def __init__(self, choose: random.Random, known: Known) -> None:
        self._random = choose
        self._known = known
        self._share: float | None = 0.0
        self._until_odd = -1
        self._identity = ""
        self._paths: list[str] = []
        self._fields: Sequence[str] = ()

    def message(
        self, descriptor: Descriptor, identity: str = "", fields: Sequence[str] = (), *, odd: bool = True
    ) -> Message:
        """Make a message.

        Args:
            descriptor: Its type.
            identity: The field with the ID of what the call creates, as the contract names it: mostly a new one.
            fields: What a list may be filtered and sorted by.
            odd: Whether values may be such that they are refused.
        """
        self._identity = identity.rpartition(".")[2]
        resources = [one.message_type for one in descriptor.fields if one.message_type is not None]
        self._paths = [one.name for resource in resources[:1] for one in resource.fields] + ["name", "timeout"] * 8
        self._fields = fields
        self._share = self._random.choice(_ODD_SHARES) if odd else 0.0
        self._until_odd = self._random.randrange(_LEAVES) if self._share is None else -1
        return self._filled(GetMessageClass(descriptor)(), 0)

    def _is_odd(self) -> bool:
        if self._share is None:
            self._until_odd -= 1
            return self._until_odd == -1
        return self._random.random() < self._share

    def _filled(self, message: Any, depth: int) -> Message:
        choose = self._random
        chosen = {choose.choice(one.fields).name for one in message.DESCRIPTOR.oneofs}
        for field in message.DESCRIPTOR.fields:
            optional = 0.25 if field.containing_oneof is not None and len(field.containing_oneof.fields) == 1 else 0.05
            if choose.random() < optional + (self._share or 0) / 2 or depth > _DEPTH_MAX:
                continue
            if field.containing_oneof is not None and field.name not in chosen:
                continue
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                self._fill_map(getattr(message, field.name), field)
            elif field.is_repeated:
                self._fill_list(getattr(message, field.name), field, depth)
            elif field.message_type is not None:
                getattr(message, field.name).SetInParent()
                self._filled(getattr(message, field.name), depth + 1)
            else:
                setattr(message, field.name, self._value(field))
        self._agree(message)
        return message  # type: ignore[no-any-return] # it is one

    def _agree(self, message: Any) -> None:
        """Have fields of a message agree as the services demand: without that hardly any charge would be made."""
        fields = set(message.DESCRIPTOR.fields_by_name)
        if "hold_id" in fields:
            self._copy(message, "charges", "customer_id currency job_id hold_id amount_cents charge_token", 0.6)
        if {"job_id", "lease_id"} <= fields:
            self._copy(message, "leases", "job_id lease_id", 0.6)
        if {"job_id", "callback_token"} <= fields:
            self._copy(message, "callbacks", "job_id callback_token", 0.6)
        if {"job_id", "transaction", "declined"} <= fields:
            self._settle(message)
        if {"job_id", "idempotency_key", "hold_id"} <= fields and message.job_id and self._random.random() < 0.7:
            message.idempotency_key = f"job:{message.job_id}"
        if "update_mask" in fields and self._share in (0, None):
            self._change(message)
        if self._random.random() < 0.8:
            # Times must be near the present one, and the generator knows no clock; an etag is known of job types only.
            for name in {"run_at", "expires_at", "at", "etag"} & fields:
                message.ClearField(name)
            for name in {"metering", "external_api", "webhook"} & fields:
                # A job type has them as its processor type says: one at random is refused, and no job type created.
                message.ClearField(name)
            for kind, name in _DELETED.items():
                if message.DESCRIPTOR.name == kind and f"idle_{name}" in self._known:
                    setattr(message, name, self._random.choice(self._known[f"idle_{name}"]))
            if message.DESCRIPTOR.name == "GetJobTypeRequest" and "job_type" in self._known:
                place = message.WhichOneof("job_type") or "id"
                setattr(
                    message, place, self._random.choice(self._known["job_type_id" if place == "id" else "job_type"])
                )

    def _copy(self, message: Any, name: str, fields: str, share: float) -> None:
        """Copy what belongs together into some messages, such as what a charge token is for."""
        known = self._known.get(name, ())
        if not known or self._random.random() >= share:
            return
        for field, value in zip(fields.split(), self._random.choice(known).split(" "), strict=True):
            descriptor = message.DESCRIPTOR.fields_by_name.get(field)
            if descriptor is None or (field == self._identity and self._random.random() < 0.9):
                continue
            kind = descriptor.type
            setattr(
                message,
                field,
                bytes.fromhex(value)
                if kind == FieldDescriptor.TYPE_BYTES
                else value
                if kind == FieldDescriptor.TYPE_STRING
                else int(value),
            )

    def _settle(self, message: Any) -> None:
        receipts, charges = self._known.get("receipts", ()), self._known.get("charges", ())
        roll = self._random.random()
        if receipts and roll < 0.5:
            message.job_id, message.transaction.id, receipt = self._random.choice(receipts).split(" ")
            message.transaction.receipt = bytes.fromhex(receipt)
        elif charges and roll < 0.6:
            charge = self._random.choice(charges).split(" ")
            message.job_id, message.declined.charge_token = charge[2], bytes.fromhex(charge[5])
            message.declined.reason = self._random.choice(["INSUFFICIENT_FUNDS", "WALLET_NOT_FOUND"])

    def _change(self, message: Any) -> None:
        """Have an update name what exists, and what may be changed."""
        for name in ("customer", "job_type"):
            if name in message.DESCRIPTOR.fields_by_name and f"{name}_id" in self._known:
                resource = getattr(message, name)
                resource.id = self._random.choice([*self._known[f"{name}_id"]])
                resource.name = resource.name or f"n{self._random.getrandbits(32)}"
                resource.ClearField("etag")
                paths = ["name", "email"] if name == "customer" else ["name", "description", "default_priority"]
                paths += ["limits"] if name == "customer" and self._random.random() < 0.2 else []
                if name == "customer":
                    resource.email = f"{self._random.getrandbits(64)}@example.com"
                message.update_mask.paths[:] = self._random.sample(paths, self._random.randrange(1, len(paths)))

    def _fill_map(self, entries: Any, field: Any) -> None:
        key, value = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
        for _ in range(33 if self._is_odd() else self._random.randrange(3)):
            if value.message_type is None:
                entries[self._value(key)] = self._value(value)
            else:
                self._filled(entries[self._value(key)], _DEPTH_MAX)

    def _fill_list(self, items: Any, field: Any, depth: int) -> None:
        most = rules(field).repeated.max_items or 20
        # The largest lists are of small things: a thousand whole jobs a request would be a test of load.
        long = field.message_type is None and self._is_odd()
        count = self._random.choice([0, most, most + 1]) if long else self._random.choice([1, 1, 1, 2, 3])
        for _ in range(count):
            if field.message_type is None:
                items.append(self._value(field))
            else:
                self._filled(items.add(), depth + 1)

    def _value(self, field: Any) -> Any:
        choose: Any = self._random.choice
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_STRING:
                return self._text(field)
            case FieldDescriptor.CPPTYPE_STRING:
                return choose(_BYTES)
            case FieldDescriptor.CPPTYPE_BOOL:
                return choose([True, False])
            case FieldDescriptor.CPPTYPE_ENUM:
                values = [one.number for one in field.enum_type.values]
                return choose([0, -1, max(values) + 1, 77, 2**31 - 1] if self._is_odd() else values[1:] or values)
            case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
                good = _GOOD_NUMBERS.get(field.name, [1.0])
                return choose([*_FLOATS, *_bounds(field)] if self._is_odd() else good)
        return self._integer(field)

    def _integer(self, field: Any) -> int:
        choose: Any = self._random.choice
        if field.name in _GOOD_NUMBERS and not self._is_odd():
            return int(choose(_GOOD_NUMBERS[field.name]))
        bits = 31 if field.cpp_type in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32) else 63
        if field.name == "seconds":
            of_time = field.containing_type.name == "Timestamp"
            return int(choose(_SECONDS)) if self._is_odd() else 2_000_000_000 if of_time else 60
        if field.name == "nanos":
            return int(choose(_NANOS))
        unsigned = field.cpp_type in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64)
        values = [0, 1, 2, 50, 1000, 2**bits - 1, *(int(bound) for bound in _bounds(field))]
        values += [2**31 - 1] if unsigned else [-1, -(2**bits), 2 ** (bits // 2)]
        value = int(choose(values))
        return max(0, value) if unsigned else max(-(2**bits), min(2**bits - 1, value))

    def _text(self, field: Any) -> str:
        choose: Callable[[list[str]], str] = self._random.choice
        name = str(field.name)
        if name in ("filter", "order_by", "page_token"):
            return self._of_a_list(name)
        if name.endswith("_json"):
            return choose(texts.JSON) if self._random.random() < (0.4 if self._share != 0 else 0.05) else '{"n": 1}'
        text = rules(field).string
        if self._is_odd():
            bounds = [one for one in (text.min_len, text.max_len, text.max_bytes) if one]
            lengths = ["x" * (one + more) for one in bounds for more in (-1, 0, 1) if one + more >= 0]
            return choose(texts.TEXTS + lengths * 3)
        fresh = str(UUID(int=self._random.getrandbits(128)))
        key = name.removesuffix("s") if name.endswith("ids") else name
        if (
            key in self._known
            and key not in (self._identity, "email")
            and (self._random.random() < 0.92 or not text.uuid)
        ):
            return choose([*self._known[key]])
        if text.uuid:
            if name == self._identity and self._random.random() < 0.7:
                return fresh
            return choose([one for ids in self._known.values() for one in ids if _is_uuid(one)] + [fresh] * 20)
        good = {
            "currency": choose(["EUR", "EUR", "USD", "JPY"]), "email": f"{fresh}@example.com", "queue": "fuzz",
            "queues": "fuzz", "name": f"n{fresh}",
            "idempotency_key": choose([f"k{fresh}", f"k{self._random.randrange(50)}"]), "reason": "WHY",
            "processing_logic_id": "echo", "runner_version": "1.0",
            "paths": choose(self._paths * 5 + ["*", "nothing", "retry_policy.multiplier"]),
        }  # fmt: skip
        return good.get(name, "".join(self._random.choices(string.ascii_lowercase, k=self._random.randrange(1, 12))))

    def _of_a_list(self, name: str) -> str:
        roll = self._random.random()
        if name == "page_token":
            tokens = self._known.get("page_token", ())
            return "" if roll < 0.8 or not tokens else texts.a_token(self._random, self._random.choice(tokens))
        if roll < (0.4 if self._share != 0 else 0.8):
            return ""
        if self._is_odd():
            return self._random.choice(texts.FILTERS)
        return (
            texts.a_filter(self._random, self._fields)
            if name == "filter"
            else texts.an_order(self._random, self._fields)
        )


def _bounds(field: Any) -> list[float]:
    """The bounds that the rules name, and what is just beyond them."""
    number = field.type
    kinds = {
        FieldDescriptor.TYPE_INT32: "int32", FieldDescriptor.TYPE_INT64: "int64",
        FieldDescriptor.TYPE_DOUBLE: "double", FieldDescriptor.TYPE_UINT32: "uint32",
        FieldDescriptor.TYPE_UINT64: "uint64", FieldDescriptor.TYPE_FLOAT: "float",
    }  # fmt: skip
    if number not in kinds:
        return []
    of_kind = getattr(rules(field), kinds[number])
    named = [getattr(of_kind, one) for one in ("gt", "gte", "lt", "lte") if of_kind.HasField(one)]
    return [bound + beyond for bound in named for beyond in (-1, 0, 1)]


def _is_uuid(text: str) -> bool:
    return len(text) == 36 and text.count("-") == 4
