"""The caller of the call that is being served, set by the server for each call, for logs and the audit trail."""

from contextvars import ContextVar
from typing import NamedTuple


class Caller(NamedTuple):
    """The source of a change.

    Attributes:
        actor: The author of the call: its network address, as callers do not authenticate yet.
        method: The RPC, such as `/innosystem.jobs.v1.JobTypeService/UpdateJobType`.
        request_id: The request that the call belongs to.
    """

    actor: str = ""
    method: str = ""
    request_id: str = ""


_PROCESS = Caller()

#: The caller of the call that is being served; empty for work that a process does by itself.
caller: ContextVar[Caller] = ContextVar("caller", default=_PROCESS)
