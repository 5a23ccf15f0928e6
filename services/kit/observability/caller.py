"""The caller of the call that is being served, set by the server for each call, for logs and the audit trail."""

from contextvars import ContextVar
from typing import NamedTuple


class Caller(NamedTuple):
    """The source of a change.

    Attributes:
        actor: The author of the call, such as `operator/ada`; its network address if it does not authenticate.
        method: The RPC, such as `/innosystem.jobs.v1.JobTypeService/UpdateJobType`.
        request_id: The request that the call belongs to.
        kind: The kind of caller, such as OPERATOR; empty if it does not authenticate.
    """

    actor: str = ""
    method: str = ""
    request_id: str = ""
    kind: str = ""


_PROCESS = Caller()

#: The caller of the call that is being served; empty for work that a process does by itself.
caller: ContextVar[Caller] = ContextVar("caller", default=_PROCESS)
