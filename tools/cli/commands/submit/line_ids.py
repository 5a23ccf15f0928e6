"""IDs of submitted lines: the same line is the same job, however often its file is submitted."""

from collections import Counter
from typing import Final
from uuid import UUID, uuid5

from innosystem.jobs.v1.job_service_pb2 import CreateJobRequest
from innosystem.jobs.v1.job_type_pb2 import Priority

_NAMESPACE: Final = UUID("0f2a4c5e-1d0b-5b52-9d0e-6d2a8f3b7c41")


class LineIds:
    """Makes the IDs of one submission from what its lines say, so that no record of an earlier one is needed.

    A line that was repaired or added changes no other line's job; where it stands in the file does not count either.
    Lines that say the same are told apart by which of them it is: the first, the second, and so on.

    Args:
        key: Lines under another key are other jobs.
    """

    def __init__(self, key: str = "") -> None:
        self._key = key
        self._seen: Counter[UUID] = Counter()

    def of(self, line: str, request: CreateJobRequest) -> str:
        """Make the ID of the next line.

        Args:
            line: What it says.
            request: What it became with the defaults, which are no part of it.
        """
        priority = Priority.Name(request.priority)
        said = "\0".join((self._key, request.customer_id, request.job_type, priority, line.strip()))
        first = uuid5(_NAMESPACE, said)
        self._seen[first] += 1
        return str(first if self._seen[first] == 1 else uuid5(first, str(self._seen[first])))
