"""IDs of submitted lines: the same line is the same job, however often its file is submitted."""

from collections import Counter
from typing import Final
from uuid import UUID, uuid5

from innosystem.jobs.v1.job_service_pb2 import CreateJobRequest
from innosystem.jobs.v1.job_type_pb2 import Priority

_NAMESPACE: Final = UUID("0f2a4c5e-1d0b-5b52-9d0e-6d2a8f3b7c41")


class LineIds:
    """The IDs of one submission, derived from its lines, so that no record of earlier submissions is needed.

    A corrected or added line changes no other line's job, and the position in the file does not matter. Identical lines
    are numbered: the first, the second, and so on.

    Args:
        key: The idempotency key; lines under another key are different jobs.
    """

    def __init__(self, key: str = "") -> None:
        self._key = key
        self._seen: Counter[UUID] = Counter()

    def of(self, line: str, request: CreateJobRequest) -> str:
        """Return the ID of the next line.

        Args:
            line: The text of the line.
            request: The request for its job, with the defaults, which the line lacks.
        """
        priority = Priority.Name(request.priority)
        said = "\0".join((self._key, request.customer_id, request.job_type, priority, line.strip()))
        first = uuid5(_NAMESPACE, said)
        self._seen[first] += 1
        return str(first if self._seen[first] == 1 else uuid5(first, str(self._seen[first])))
