"""IDs of submitted jobs: the same job is the same ID, however its line is written and whenever it is submitted."""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid5

from google.protobuf.timestamp_pb2 import Timestamp

from innosystem.jobs.v1.job_service_pb2 import CreateJobRequest
from innosystem.jobs.v1.job_type_pb2 import Priority

_NAMESPACE: Final = UUID("0f2a4c5e-1d0b-5b52-9d0e-6d2a8f3b7c41")


class LineIds:
    """The IDs of one submission, derived from its jobs, so that no record of earlier submissions is needed.

    A corrected or added line changes no other line's job, and the position in the file does not matter. Lines that say
    the same are numbered: the first, the second, and so on.

    Args:
        key: The idempotency key; jobs under another key are different jobs.
    """

    def __init__(self, key: str = "") -> None:
        self._key = key
        self._seen: Counter[UUID] = Counter()

    def of(self, request: CreateJobRequest) -> str:
        """Return the ID of the next job.

        Args:
            request: The request for it, whose ID does not count.

        Raises:
            ValueError: The input is not JSON.
        """
        said = (
            self._key,
            _uuid(request.customer_id),
            request.job_type,
            Priority.Name(request.priority),
            # An input that is left out is null.
            _INPUT.decode(request.input_json.strip() or "null"),
            dict(request.labels),
            str(request.max_cost_cents) if request.HasField("max_cost_cents") else None,
            _time(request.run_at),
            _time(request.expires_at),
        )
        first = uuid5(_NAMESPACE, json.dumps(said, sort_keys=True, separators=(",", ":"), default=_Number.as_written))
        self._seen[first] += 1
        return str(first if self._seen[first] == 1 else uuid5(first, str(self._seen[first])))


@dataclass(frozen=True)
class _Number:
    """A number as it is written: 1.10 is not 1.1 to every reader, and no length is too long."""

    text: str

    def as_written(self) -> list[Any]:
        # Nothing else that is encoded has a bare number, so that no array of an input looks like this.
        return [0, self.text]


_INPUT: Final = json.JSONDecoder(parse_int=_Number, parse_float=_Number)


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        # The service refuses it.
        return text


def _time(moment: Timestamp) -> str:
    return moment.ToJsonString() if moment.ByteSize() else ""
