"""Who calls: a caller of each kind with its credentials, and those whose credentials are worth nothing."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from joserfc import jwt
from joserfc.jwk import OKPKey

from innosystem.options.v1 import options_pb2
from services.kit.auth.issuing import create_key, create_token
from services.kit.auth.principal import Kind
from services.kit.auth.signing_keys import ALGORITHMS
from tests.fuzz.support.methods import Method
from tools.local.credentials import Credentials

_LIFE = timedelta(days=1)
_KINDS = {
    options_pb2.CALLER_CLIENT: Kind.CLIENT,
    options_pb2.CALLER_RUNNER: Kind.RUNNER,
    options_pb2.CALLER_OPERATOR: Kind.OPERATOR,
    options_pb2.CALLER_SERVICE: Kind.SERVICE,
}
# Operators and services are believed without a charge token or a receipt. What they say about charges at random would
# be in the books, so that only runners, which have to prove it, say something about them.
_BELIEVED = frozenset({Kind.OPERATOR, Kind.SERVICE})
_PROVEN = frozenset({"Deduct", "BatchDeduct", "SettleJobs"})


@dataclass(frozen=True)
class Caller:
    """A caller.

    Attributes:
        name: What it is called in reports.
        token: What it sends; None for one that sends something else each time, and empty for nothing.
        kind: What the contract knows it as; None if it must not be admitted anywhere.
        is_bound: Whether others have customers or queues that are not its own.
        scopes: What its API key may do; None for everything that its kind may.
        customer_id: The one customer that it is bound to; empty for others.
    """

    name: str
    token: str | None
    kind: Kind | None = None
    is_bound: bool = False
    scopes: frozenset[int] | None = None
    customer_id: str = ""

    def may_call(self, method: Method) -> bool:
        """Whether the contract lets it call a method."""
        policy = method.policy
        if policy is None:
            # Health is for everybody. Reflection shows the contract to operators.
            return method.standard and (method.name != "ServerReflectionInfo" or self.kind is Kind.OPERATOR)
        if options_pb2.CALLER_CALLBACK in policy.callers:
            # A field of the request proves its sender, and no credential of the call is looked at.
            return True
        return (
            self.kind in {_KINDS[one] for one in policy.callers}
            and not (self.is_bound and policy.binding == options_pb2.BINDING_UNSPECIFIED)
            and (self.scopes is None or policy.scope in self.scopes)
        )

    def says_at_random(self, method: Method) -> bool:
        """Whether what it sends to a method may be anything: not if it were believed, and wrong in the books."""
        return not (self.kind in _BELIEVED and method.name in _PROVEN)


NOBODY = Caller("nobody", "")
MALFORMED = Caller("malformed", None)


def chosen(choose: random.Random, callers: Sequence[Caller], method: Method, *, trusted_share: float = 0.75) -> Caller:
    """Choose who calls a method: mostly one of those that may, and each of those as often as the others.

    Args:
        choose: Makes the same each time.
        callers: All of them.
        method: What is called.
        trusted_share: How often it is one that may.
    """
    possible = [one for one in callers if one.says_at_random(method)]
    admitted = [one for one in possible if one.may_call(method)]
    return choose.choice(admitted if admitted and choose.random() < trusted_share else possible)


class Tokens:
    """Signs tokens of all kinds of callers, good ones and bad ones.

    Args:
        folder: The folder of the credentials of the services.
        issued: These.
    """

    def __init__(self, folder: Path, issued: Credentials) -> None:
        self._key = folder / "signing-key.json"
        self._other = folder / "another-key.json"
        create_key(self._other, folder / "unknown-keys.json")
        self.operator = issued.operator["INNOSYSTEM_TOKEN"]
        self.runner = issued.runner["RUNNER_TOKEN"]
        self._unbound = [
            Caller("operator", self.operator, Kind.OPERATOR),
            Caller("service", issued.services["jobs"]["INNOSYSTEM_TOKEN"], Kind.SERVICE),
            Caller("client", self._token(Kind.CLIENT, "all"), Kind.CLIENT),
            Caller("runner", self.runner, Kind.RUNNER),
            NOBODY,
            MALFORMED,
            *(Caller(name, token) for name, token in self._bad()),
        ]

    def callers(self, customer_id: str, queue: str) -> Sequence[Caller]:
        """Return the callers that have tokens.

        Args:
            customer_id: The customer that a client is bound to.
            queue: The queue that a runner is bound to.
        """
        client = self._token(Kind.CLIENT, "of-one", customers=[UUID(customer_id)])
        runner = self._token(Kind.RUNNER, "of-one", queues=[queue])
        return [
            *self._unbound,
            Caller("client of A", client, Kind.CLIENT, is_bound=True, customer_id=customer_id),
            Caller("runner of a queue", runner, Kind.RUNNER, is_bound=True),
        ]

    def _token(self, kind: Kind, name: str, **bound: Any) -> str:
        return create_token(self._key, kind=kind, name=name, ttl=_LIFE, **bound)

    def _bad(self) -> Iterator[tuple[str, str]]:
        """Tokens that look good, and are worth nothing."""
        head, claims, signature = self.operator.split(".")
        yield (
            "forged: signed by a key that nobody knows",
            create_token(self._other, kind=Kind.OPERATOR, name="local", ttl=_LIFE),
        )
        client = self._token(Kind.CLIENT, "all").split(".")
        yield "forged: the claims of another token", ".".join([client[0], claims, client[2]])
        yield "forged: without its signature", f"{head}.{claims}."
        yield "forged: an altered signature", f"{head}.{claims}.{'AB'[signature[0] == 'A']}{signature[1:]}"
        known = OKPKey.import_key(json.loads(self._key.read_bytes()))
        # Far beyond what the clocks of two machines may differ by.
        past = {"iat": 1_700_000_000, "exp": 1_700_003_600}
        granted = jwt.decode(self.operator, known, registry=ALGORITHMS).claims
        yield "expired", jwt.encode({"alg": "EdDSA", "kid": known.kid}, granted | past, known, registry=ALGORITHMS)
        yield (
            "forged: of another audience",
            jwt.encode({"alg": "EdDSA", "kid": known.kid}, granted | {"aud": "others"}, known, registry=ALGORITHMS),
        )
