"""Who caused what happens now: the actor and the call, set by the server for each call. For the audit trail."""

from contextvars import ContextVar
from typing import NamedTuple


class Origin(NamedTuple):
    """Where a change comes from.

    Attributes:
        actor: Who makes the call: as long as callers do not prove who they are, the address they call from.
        method: The RPC, such as `/innosystem.jobs.v1.JobTypeService/UpdateJobType`.
        request_id: The request that it belongs to.
    """

    actor: str = ""
    method: str = ""
    request_id: str = ""


_BY_ITSELF = Origin()

#: Of the call that is being served; empty in what a process does by itself.
origin: ContextVar[Origin] = ContextVar("origin", default=_BY_ITSELF)
