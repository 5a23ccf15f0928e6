"""Authentication and authorization: who calls, and whether the contract admits them to the method."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic
from typing import Any

from opentelemetry import trace
from prometheus_client import Counter

from services.kit.auth.authentication import Authentication
from services.kit.auth.principal import ANYONE, Principal, principal
from services.kit.auth.rule import Rule
from services.kit.errors import (
    BadCredentials,
    DatabaseUnavailable,
    DependencyUnavailable,
    DomainError,
    Draining,
    Overloaded,
)
from services.kit.observability.caller import caller
from services.kit.rpc.layers.call import Call, Context

REFUSED = Counter("innosystem_auth_refused", "Calls refused for their credentials, by reason.", ["reason"])


#: The kind of a caller that its request proves, for logs.
CALLBACK = "CALLBACK"
#: How often the credentials of a stream are looked at again, and how often while that fails.
STREAM_CHECK_SECONDS = 30.0
STREAM_RETRY_SECONDS = 5.0
# The credentials may be as good as before.
_UNKNOWN = (DependencyUnavailable, DatabaseUnavailable, Overloaded)


def authorized(call: Call, rule: Rule, authentication: Authentication, *, streams: bool = False) -> Call:
    """Wrap a call in the check, and set its principal.

    Args:
        call: The next layer.
        rule: The callers of the method.
        authentication: How callers prove who they are.
        streams: Whether the method streams its responses: then the check is repeated while the stream lasts.
    """

    async def authorized_call(request: Any, context: Context) -> Any:
        try:
            who = await authentication.principal(context)
            if who is not ANYONE:
                caller.set(caller.get()._replace(actor=who.actor, kind=who.kind or ""))
                trace.get_current_span().set_attribute("enduser.id", who.actor)
            rule.check(who)
        except DomainError as error:
            REFUSED.labels(error.reason).inc()
            raise
        principal.set(who)
        if not streams or who is ANYONE:
            return await call(request, context)
        ask = partial(authentication.principal, context)
        async with _while_allowed(who, ask, rule, authentication.unchecked_seconds):
            return await call(request, context)

    return authorized_call


def proven_by_request(call: Call) -> Call:
    """Wrap a call whose request has the credentials: the method checks them itself, before it does anything else.

    What the caller has besides is not looked at.
    """

    async def proven_call(request: Any, context: Context) -> Any:
        caller.set(caller.get()._replace(kind=CALLBACK))
        try:
            return await call(request, context)
        except BadCredentials as error:
            REFUSED.labels(error.reason).inc()
            raise

    return proven_call


@asynccontextmanager
async def _while_allowed(
    who: Principal, ask: Callable[[], Awaitable[Principal]], rule: Rule, unchecked_seconds: float
) -> AsyncIterator[None]:
    """End a block when the credentials of its caller are no longer good for it, or could not be checked for a while.

    Args:
        who: The caller.
        ask: Checks its credentials again.
        rule: The callers of the method.
        unchecked_seconds: How long the block continues after a check that got no result.

    Raises:
        DomainError: As a new call with them would; DRAINING if the caller is bound to others now.
    """
    problem: DomainError | None = None

    async def check() -> None:
        nonlocal problem
        until: float | None = None
        while problem is None:
            await asyncio.sleep(STREAM_CHECK_SECONDS if until is None else STREAM_RETRY_SECONDS)
            try:
                now = await ask()
                rule.check(now)
                until = None
                if now.tenants != who.tenants:
                    problem = Draining()
            except _UNKNOWN as error:
                until = until or monotonic() + unchecked_seconds
                if monotonic() >= until:
                    problem = error
            except DomainError as error:
                problem = error

    def end(ended: "asyncio.Task[None]") -> None:
        # Also after an error that nobody foresaw: a stream that is not checked ends.
        if not ended.cancelled():
            limit.reschedule(asyncio.get_running_loop().time())

    limit = asyncio.timeout(None)
    try:
        async with limit:
            checking = asyncio.create_task(check())
            checking.add_done_callback(end)
            try:
                yield
            finally:
                checking.cancel()
    except TimeoutError:
        if problem is None:
            raise
        REFUSED.labels(problem.reason).inc()
        raise problem from None
