"""The limits of the callers of a service."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple
from uuid import UUID

from prometheus_client import Counter

from services.kit.auth.principal import Kind, Principal
from services.kit.errors import RateLimited
from services.kit.limits.buckets import Buckets, Charge
from services.kit.limits.settings import LimitSettings
from services.kit.rates import CustomerLimits, Rate

REFUSED = Counter("innosystem_rate_limited", "Calls, and items of batches, beyond a limit, by limit.", ["limit"])

# A place is free when a call or a stream ends, which nothing foretells.
_CALLS_SECONDS: Final = 0.2
_STREAMS_SECONDS: Final = 2.0


#: The place of a call or a stream: the name of the limit and the actor.
InFlight = tuple[str, str]


class Submitted(NamedTuple):
    """What is submitted for one customer: the number of jobs, and the bytes of their inputs."""

    jobs: int
    input_bytes: int


@dataclass(frozen=True)
class _KindLimits:
    """The limits of each principal of a kind, with their names."""

    requests: tuple[str, Rate]
    submissions: tuple[str, Rate]
    input_bytes: tuple[str, Rate]
    calls: tuple[str, int]
    streams: tuple[str, int]

    def __bool__(self) -> bool:
        return any(getattr(self, one.name)[1] for one in fields(self))

    @classmethod
    def of(cls, kind: Kind, settings: LimitSettings) -> "_KindLimits":
        name = kind.lower()
        return cls(
            requests=(f"{name}_requests", settings.rate(f"{name}_requests")),
            submissions=(f"{name}_submissions", settings.rate(f"{name}_submissions")),
            input_bytes=(f"{name}_input_bytes_per_day", settings.rate(f"{name}_input_bytes_per_day")),
            calls=(f"{name}_calls", getattr(settings, f"{name}_calls")),
            streams=(f"{name}_watches", getattr(settings, f"{name}_watches")),
        )


class Limits:
    """The limits of the callers of a service. A decision is made in memory, and takes microseconds.

    Args:
        settings: The limits; None for none.
        buckets: What callers have used.
        background: The work that shares it with other processes.
    """

    def __init__(
        self,
        settings: LimitSettings | None = None,
        buckets: Buckets | None = None,
        background: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
    ) -> None:
        limits = {} if settings is None else {kind: _KindLimits.of(kind, settings) for kind in Kind}
        settings = settings or LimitSettings()
        # A client also has the limits of its customer.
        self._kinds = {kind: one for kind, one in limits.items() if one or kind is Kind.CLIENT}
        self._customer_requests = settings.rate("customer_requests")
        self._customer_submissions = settings.rate("customer_submissions")
        self._customer_input_bytes = settings.rate("customer_input_bytes_per_day")
        self._buckets = buckets or Buckets()
        self.customer_jobs_waiting = settings.customer_jobs_waiting
        # Calls and streams in flight, by limit and actor.
        self._open: dict[InFlight, int] = {}
        self.background = background

    def apply_to(self, who: Principal) -> bool:
        """Return whether a caller has limits."""
        return who.kind is not None and who.kind in self._kinds

    def begin(self, who: Principal, *, streams: bool) -> "InFlight | None":
        """Count a call.

        Returns:
            The call's place, to be given to `end` when the call has ended; None if there is no limit.

        Raises:
            RateLimited: If a limit of its principal or customer is used up.
        """
        limits = None if who.kind is None else self._kinds.get(who.kind)
        if limits is None:
            return None
        limit, count_max = limits.streams if streams else limits.calls
        place = limit, who.actor
        count = self._open.get(place, 0)
        if count_max and count >= count_max:
            raise refusal(limit, count_max, _STREAMS_SECONDS if streams else _CALLS_SECONDS)
        self._take(self._requests(who, *limits.requests))
        if not count_max:
            return None
        self._open[place] = count + 1
        return place

    def end(self, place: "InFlight") -> None:
        """Free the place of a call."""
        if self._open[place] > 1:
            self._open[place] -= 1
        else:
            del self._open[place]

    def submit(
        self,
        who: Principal,
        submitted: Mapping[UUID, Submitted],
        exceptions: Mapping[UUID, CustomerLimits],
        *,
        only_look: bool = False,
    ) -> Mapping[UUID, RateLimited]:
        """Count submissions.

        Args:
            who: The caller.
            submitted: What it submits, by customer.
            exceptions: The limits of customers that differ from the settings.
            only_look: Whether nothing is used up.

        Returns:
            The customers with a limit that is used up, whose submissions are to be refused.

        Raises:
            RateLimited: If a limit of the principal is used up.
        """
        limits = None if who.kind is None else self._kinds.get(who.kind)
        if limits is None:
            return {}
        jobs = sum(one.jobs for one in submitted.values())
        size = sum(one.input_bytes for one in submitted.values())
        actor = who.actor
        charges = _charges((*limits.submissions, actor, jobs), (*limits.input_bytes, actor, size))
        self._take(charges, only_look=only_look)
        refused = {}
        if who.kind is Kind.CLIENT:
            for customer_id, one in submitted.items():
                try:
                    own = self._submissions(customer_id, one, exceptions.get(customer_id))
                    self._take(own, only_look=only_look)
                except RateLimited as error:
                    refused[customer_id] = error
        return refused

    def _requests(self, who: Principal, limit: str, rate: Rate) -> list[Charge]:
        charges = [Charge(limit, who.actor, rate, 1)] if rate else []
        if who.kind is Kind.CLIENT and who.customers is not None and len(who.customers) == 1:
            own = who.limits.requests
            if rate := self._customer_requests if own is None else own:
                charges.extend(Charge("customer_requests", one, rate, 1) for one in who.customers)
        return charges

    def _submissions(self, customer_id: UUID, one: Submitted, own: CustomerLimits | None) -> list[Charge]:
        jobs, size = self._customer_submissions, self._customer_input_bytes
        if own is not None:
            jobs = jobs if own.submissions is None else own.submissions
            size = size if own.input_bytes_per_day is None else Rate.of_day(own.input_bytes_per_day)
        return _charges(
            ("customer_submissions", jobs, customer_id, one.jobs),
            ("customer_input_bytes_per_day", size, customer_id, one.input_bytes),
        )

    def _take(self, charges: Sequence[Charge], *, only_look: bool = False) -> None:
        try:
            self._buckets.take(charges, only_look=only_look)
        except RateLimited as error:
            REFUSED.labels(error.limit).inc()
            raise


#: No limits, for tests.
UNLIMITED: Final = Limits()


def _charges(*wanted: tuple[str, Rate, Any, int]) -> list[Charge]:
    return [Charge(limit, subject, rate, cost) for limit, rate, subject, cost in wanted if rate and cost]


def refusal(limit: str, count_max: int, seconds: float) -> RateLimited:
    """Return the error of a limit that is no rate, and count it.

    Args:
        limit: The name of the limit.
        count_max: The limit.
        seconds: How long to wait before the next try.
    """
    REFUSED.labels(limit).inc()
    return RateLimited(limit, str(count_max), seconds)
