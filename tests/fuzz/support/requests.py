"""Requests: method, bytes, metadata and manner, all of which follow from the seed and the number of the request."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from google.protobuf.json_format import MessageToJson, SerializeToJsonError
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from services.kit.settings import ServerSettings
from tests.fuzz.support import wire
from tests.fuzz.support.callers import Caller, chosen
from tests.fuzz.support.metadata import Metadata, a_metadata
from tests.fuzz.support.methods import Method
from tests.fuzz.support.values import Known, Messages

MESSAGE_BYTES_MAX: int = ServerSettings.model_fields["message_bytes_max"].default
_ABSENT = [
    "/innosystem.jobs.v1.JobService/",
    "/innosystem.jobs.v1.JobService/createJob",
    "/a.B/C",
    "//",
    "/",
    "/" + "a" * 2000,
    "/%C3/%00",
]
_SHOWN_BYTES = 4000
_METADATA_BYTES = 8192

Manner = Literal["patient", "hurried", "leaving"]


@dataclass(frozen=True)
class Request:
    """A request to send.

    Attributes:
        number: Which one of the run it is.
        method: What it calls.
        sort: How its bytes were made.
        body: Its bytes.
        caller: Whose credentials it has.
        metadata: What goes with it.
        manner: `patient` waits for the response, `hurried` has a deadline of milliseconds, `leaving` cancels.
        seconds: The deadline, or when it is cancelled.
        connection: Which connection it takes.
        compressed: Whether its bytes are compressed.
    """

    number: int
    method: Method
    sort: str
    body: bytes
    caller: Caller
    metadata: Metadata
    manner: Manner
    seconds: float
    connection: int
    compressed: bool

    @property
    def is_beyond_metadata(self) -> bool:
        """Whether its metadata are more than gRPC takes without complaint."""
        return sum(len(name) + len(value) for name, value in self.metadata) > _METADATA_BYTES

    def __str__(self) -> str:
        shown = self.body[:_SHOWN_BYTES].hex() + ("..." if len(self.body) > _SHOWN_BYTES else "")
        return (
            f"request {self.number}: {self.method.server} {self.method.path}, {self.sort}, "
            f"{self.manner} {self.seconds:g} s, of {self.caller.name}, metadata {str(self.metadata)[:_SHOWN_BYTES]}\n"
            f"    hex {shown}\n    {self._as_grpcurl()}"
        )

    def _as_grpcurl(self) -> str:
        try:
            message = GetMessageClass(self.method.request).FromString(self.body)
            text = MessageToJson(message, preserving_proto_field_name=True, indent=None)
        except (DecodeError, SerializeToJsonError, ValueError):
            return "nothing that JSON can say, so there is no grpcurl line"
        quoted = text[:_SHOWN_BYTES].replace("'", "'\\''")
        return f"grpcurl -plaintext -d '{quoted}' ADDRESS {self.method.path[1:]}"


class Requests:
    """Makes requests.

    Args:
        seed: Decides on everything.
        methods: What may be called.
        connections: How many connections each service has.
    """

    def __init__(self, seed: int, methods: Sequence[Method], connections: int) -> None:
        self._seed = seed
        self._methods = methods
        self._connections = connections

    def make(self, number: int, known: Known, callers: Sequence[Caller]) -> Request:
        """Make a request.

        Args:
            number: Which one; the same number makes the same request.
            known: What exists. The servers choose some of it, so that it differs from run to run.
            callers: Who may call.
        """
        choose = random.Random(f"{self._seed}:{number}")
        # In turn, so that each method has its share even of a short run.
        method = self._methods[number % len(self._methods)]
        sort, body = self._body(choose, method, known)
        caller = chosen(choose, callers, method)
        metadata = a_metadata(choose, caller)
        roll = choose.random()
        manner: Manner = "hurried" if roll < 0.05 else "leaving" if roll < 0.1 else "patient"
        seconds = choose.choice([0.0005, 0.002, 0.005, 0.02, 0.1]) if manner != "patient" else 30.0
        if choose.random() < 0.005:
            method = Method(method.server, choose.choice(_ABSENT), method.request)
        return Request(
            number,
            method,
            sort,
            body,
            caller,
            metadata,
            manner,
            seconds,
            choose.randrange(self._connections),
            choose.random() < 0.05,
        )

    def _body(self, choose: random.Random, method: Method, known: Known) -> tuple[str, bytes]:
        roll = choose.random()
        if roll < 0.04:
            return "noise", wire.noise(choose)
        messages = Messages(choose, known)
        if roll < 0.75:
            return "message", messages.message(method.request, method.identity, method.listed).SerializeToString(
                deterministic=True
            )
        valid = messages.message(method.request, method.identity, odd=False).SerializeToString(deterministic=True)
        if roll < 0.87:
            return "mutated", wire.mutated(choose, valid)
        if roll < 0.999:
            return "wire", wire.wrong(choose, valid)
        return "huge", wire.huge(choose, valid, MESSAGE_BYTES_MAX)
