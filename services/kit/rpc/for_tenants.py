"""Methods of servicers whose results depend on the caller.

    @for_tenants
    async def GetNote(self, request: pb.GetNoteRequest, context: Context, tenants: Tenants) -> pb.GetNoteResponse:
        note = await self._notes.get(required_id(request.note_id, "note_id"), tenants)

A method that the contract gives BINDING_OWN must be one of them: without, its server does not start.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import grpc.aio

from services.kit.auth.principal import principal
from services.kit.auth.tenants import Tenants

Context = grpc.aio.ServicerContext[Any, Any]

S = TypeVar("S")
Q = TypeVar("Q")
A = TypeVar("A")

_MARK = "takes_tenants"


def for_tenants(method: Callable[[S, Q, Context, Tenants], A]) -> Callable[[S, Q, Context], A]:
    """Hand the tenants of the caller to a method of a servicer, or to one that streams its responses."""

    @wraps(method)
    def with_tenants(self: S, request: Q, context: Context) -> A:
        return method(self, request, context, principal.get().tenants)

    setattr(with_tenants, _MARK, True)
    return with_tenants


def takes_tenants(method: Callable[..., Any]) -> bool:
    """Return whether a method of a servicer is given the tenants of its caller."""
    return getattr(method, _MARK, False)
