"""Authentication and authorization: who calls, and whether the contract admits them to the method."""

from typing import Any

from opentelemetry import trace
from prometheus_client import Counter

from services.kit.auth.authentication import Authentication
from services.kit.auth.principal import ANYONE, principal
from services.kit.auth.rule import Rule
from services.kit.errors import DomainError
from services.kit.observability.caller import caller
from services.kit.rpc.layers.call import Call, Context

REFUSED = Counter("innosystem_auth_refused", "Calls refused for their credentials, by reason.", ["reason"])


def authorized(call: Call, rule: Rule, authentication: Authentication) -> Call:
    """Wrap a call in the check, and set its principal."""

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
        return await call(request, context)

    return authorized_call
