"""Requests made at random, of every unary method: whatever a caller sends, it is never an INTERNAL error."""

import random
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.status_pb2 import Status

from tests.support.rpc.jobs_stack import JobsStack

SERVICES = {
    "customers": "innosystem.customers.v1.CustomerService",
    "wallets": "innosystem.wallets.v1.WalletService",
    "job_types": "innosystem.jobs.v1.JobTypeService",
    "jobs": "innosystem.jobs.v1.JobService",
}
METHODS = [
    (stub, method.name, method.input_type.full_name)
    for stub, name in SERVICES.items()
    for method in descriptor_pool.Default().FindServiceByName(name).methods
    if not method.server_streaming
]
CALLS = 120
SCHEMA = '{"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}'
SEED = 14
DEPTH_MAX = 5
ACCIDENTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.RESOURCE_EXHAUSTED}

ODD_JSON = [
    "", "[" * 300 + "]" * 300, "{" * 50, '"\\ud800"', '"\\u0000"', "[1e308, 1e-308, 1e0001]", '"text"', "true", "5",
    "null",
    '{"type": "object", "properties": {"a": {"$ref": "#"}}}', '{"$ref": "#/nowhere"}', '{"pattern": "(a*)*\\\\1(?!b)"}',
    '{"$dynamicRef": "#a"}', '{"$id": "::"}', '{"const": 1e308}', '{"multipleOf": 1e-308}', '{"enum": [[[]]]}', "1e999",
    '{"not": ' * 300 + "{}" + "}" * 300, '{"$ref": "https://a.example/b"}', '{"type": 5}', '{"required": "a"}', "[]",
]  # fmt: skip
ODD_FILTERS = [
    'status = "PENDING"', "status = PENDING AND NOT", "(" * 40, "a = 1 " * 200, 'labels."\0" = "a"', "labels.a:*",
    "id < 5", "created_at desc", "id, id", "amount_cents > 9223372036854775808", 'name = "*"', '"' * 5000,
    'created_at > "9999-12-31T23:59:59Z"', 'created_at < "0001-01-01T00:00:00+14:00"', "-" * 400, "NOT " * 200,
]  # fmt: skip
ODD_TEXTS = [
    "", " ", "\0", "x", "x" * 300, "x" * 70_000, "\U0001d11e" * 80, "\u202e", "%", "'", '"', "\\", "null", "-1",
    "a@example.com", "eur", "default", "AWAY", "00000000-0000-0000-0000-000000000000", "job:x", "write-off:x",
    "{00000000-0000-0000-0000-000000000000}", "urn:uuid:00000000-0000-0000-0000-000000000000", "\ufffe", "A" * 64,
]  # fmt: skip
GOOD_NUMBERS = {
    "amount_cents": 1, "seconds": 60, "nanos": 0, "page_size": 5, "limit": 5, "max_attempts": 2, "multiplier": 2.0,
    "processor_type": 1, "default_priority": 1, "priority": 1, "standard_cost_cents": 0, "view": 1,
}  # fmt: skip
# How many of the values of a request are made to be refused; else it is one of them.
ODD_SHARES = [0.0, 0.0, 0.1, 0.3]
LEAVES = 12
JSON_SHARE = 0.4
INTEGERS = [0, 1, -1, 2, 50, 1000, 2**31 - 1, -(2**31)]
LONGS = [*INTEGERS, 2**63 - 1, -(2**63), 10**15]
FLOATS = [0.0, 1.0, -1.0, 2.5, 1e308, float("inf"), float("nan")]
SECONDS = [0, 1, -1, 60, 86_400, 1_800_000_000, 253_402_300_799, -62_135_596_800, 2**63 - 1, -(2**63)]
NANOS = [0, 1, 999_999_999, 1_000_000_000, -1, 2**31 - 1]


class Requests:
    """Makes requests; half of their values are such that a call gets further than to the checks.

    Args:
        seed: Makes the same requests each time.
        known: IDs of existing resources, by the names of the fields that hold them.
    """

    def __init__(self, seed: str, known: dict[str, str]) -> None:
        self._random = random.Random(seed)
        self._known = known

    def message(self, name: str) -> Message:
        self._share = self._random.choice(ODD_SHARES)
        self._until_odd = self._random.randrange(LEAVES * 2)
        return self._filled(GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))(), 0)

    def _is_odd(self) -> bool:
        self._until_odd -= 1
        return self._random.random() < self._share or (not self._share and self._until_odd == 0)

    def _filled(self, message: Any, depth: int) -> Message:
        chosen = {self._random.choice(one.fields).name for one in message.DESCRIPTOR.oneofs}
        for field in message.DESCRIPTOR.fields:
            if self._random.random() < self._share / 2 or depth > DEPTH_MAX:
                continue
            if field.containing_oneof is not None and field.name not in chosen:
                continue
            if _is_map(field):
                for _ in range(self._random.randrange(3)):
                    getattr(message, field.name)[self._text("key")] = self._text("value")
            elif field.is_repeated:
                for _ in range(self._random.randrange(4)):
                    if field.message_type is None:
                        getattr(message, field.name).append(self._value(field))
                    else:
                        self._filled(getattr(message, field.name).add(), depth + 1)
            elif field.message_type is not None:
                getattr(message, field.name).SetInParent()
                self._filled(getattr(message, field.name), depth + 1)
            else:
                setattr(message, field.name, self._value(field))
        return message  # type: ignore[no-any-return] # it is one

    def _value(self, field: FieldDescriptor) -> Any:
        choose = self._random.choice
        if field.type == FieldDescriptor.TYPE_STRING:
            return self._text(field.name)
        if not self._is_odd() and (good := GOOD_NUMBERS.get(field.name)) is not None:
            return good
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING:
                return choose([b"", b"\xff" * 10])
            case FieldDescriptor.CPPTYPE_BOOL:
                return choose([True, False])
            case FieldDescriptor.CPPTYPE_ENUM:
                return choose([0, 1, 2, 3, 77])
            case FieldDescriptor.CPPTYPE_DOUBLE:
                return choose(FLOATS)
        if field.name == "seconds":
            return choose(SECONDS)
        if field.name == "nanos":
            return choose(NANOS)
        return choose(INTEGERS if field.cpp_type == FieldDescriptor.CPPTYPE_INT32 else LONGS)

    def _text(self, name: str) -> str:
        choose = self._random.choice
        if self._is_odd() or (name.endswith("_json") and self._random.random() < JSON_SHARE):
            kinds = {"filter": ODD_FILTERS, "order_by": ODD_FILTERS}
            return choose(ODD_JSON if name.endswith("_json") else kinds.get(name, ODD_TEXTS))
        if name.endswith(("id", "ids")):
            fresh = str(UUID(int=self._random.getrandbits(128)))
            if name in ("id", "job_id", "wallet_id", "processing_logic_id") and self._random.random() < 1 / 2:
                return "echo" if name == "processing_logic_id" else fresh
            return choose([self._known.get(name.removesuffix("s"), fresh)] * 9 + [fresh])
        good = {
            "currency": "EUR", "email": f"{self._random.random()}@example.com", "queue": "fuzz", "queues": "fuzz",
            "filter": 'queue = "fuzz-nothing"', "order_by": "id", "page_token": "", "name": f"n{self._random.random()}",
            "input_json": "{}", "output_json": "1", "paths": choose(["name", "email", "timeout", "input_schema_json"]),
            "input_schema_json": '{"type": "object"}', "idempotency_key": f"k{self._random.random()}", "etag": "1",
            "reason": "WHY", "processing_logic_id": "echo", "job_type": "fuzz",
        }  # fmt: skip
        return good.get(name, "text")


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def statuses(message: Any) -> Iterator[Status]:
    """Return the errors of the items of a response."""
    for result in getattr(message, "results", ()):
        if result.HasField("error"):
            yield result.error


@pytest.fixture(scope="module")
def known() -> dict[str, str]:
    """IDs of existing resources, added by the first test."""
    return {}


@pytest.mark.parametrize(("stub", "method", "request_name"), METHODS, ids=[f"{one[0]}.{one[1]}" for one in METHODS])
def test_nothing_that_a_caller_sends_is_an_accident(
    world: JobsStack, known: dict[str, str], stub: str, method: str, request_name: str
) -> None:
    if not known:
        world.job_type(name="fuzz", queue="fuzz", input_schema_json=SCHEMA)
        job, lease_id = world.running()
        transaction_id = world.credit(job.customer_id, 1)
        known |= {
            "job_id": job.id,
            "customer_id": job.customer_id,
            "job_type_id": job.job_type_id,
            "lease_id": lease_id,
        }
        known |= {
            "hold_id": job.hold_id,
            "wallet_id": world.wallet(job.customer_id).id,
            "transaction_id": transaction_id,
        }
        known |= {"waiting": world.job().id, "succeeded": world.succeeded().id}
    requests = Requests(f"{SEED}{method}", known)
    call: Callable[[Message], Any] = getattr(getattr(world, stub), method)
    accidents: list[tuple[object, str]] = []
    succeeded = 0
    for _ in range(CALLS):
        request = requests.message(request_name)
        try:
            response = call(request)
        except grpc.RpcError as error:
            if error.code() in ACCIDENTS:
                accidents.append((error.code(), str(request)[:2000]))
            continue
        succeeded += 1
        accidents += [
            (status.code, str(request)[:2000])
            for status in statuses(response)
            if status.code in {code.value[0] for code in ACCIDENTS}
        ]
    print(f"{method}: {succeeded} of {CALLS} calls were carried out")
    assert not accidents, accidents[:3]
