"""API keys of customers as bearer tokens: each is looked up once, and remembered for seconds.

| a key | what happens |
| --- | --- |
| of a wrong form | it is refused without a lookup |
| remembered | no lookup, for `ttl_seconds`: if it is revoked, it is refused by then, or when the message arrives |
| remembered for longer | it is looked up again; without a response it works for `stale_seconds` more |
| unknown | it is looked up; without a response the call fails as unavailable, not as unauthenticated |
| wrong a moment ago | it is refused without a lookup |

Many different wrong keys neither grow the memory nor reach the database without bound: when an address sends too many
of them at the same time, its keys that are not remembered are refused as OVERLOADED. Those that are remembered still
work, and so do all keys from other addresses.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Final
from uuid import UUID

from cachetools import TTLCache
from prometheus_client import Counter

from services.kit.auth.authentication import Bearers
from services.kit.auth.peers import Expenses, Room, address_of
from services.kit.auth.principal import API_KEY, Kind, Principal, Scope
from services.kit.auth.settings import ApiKeySettings
from services.kit.cache.cache import Cache
from services.kit.cache.names import API_KEYS
from services.kit.cache.strategy import Strategy
from services.kit.errors import BadCredentials, DatabaseUnavailable, DependencyUnavailable, Overloaded
from services.kit.rates import NO_EXCEPTIONS, CustomerLimits

LOOKUPS: Final = Counter(
    "innosystem_api_key_lookups",
    "Lookups of API keys that were not remembered, by outcome: known, wrong, stale, unavailable, refused.",
    ["outcome"],
)

PREFIX: Final = "inno_"
_FORM: Final = re.compile(r"inno_[A-Za-z0-9_-]{43}")
# How many different wrong keys may be looked up in that time, and how many unknown keys at the same moment; of each,
# an address alone gets half.
_WRONG_SECONDS: Final = 1.0
_WRONG_MAX: Final = 400
_LOOKUPS_MAX: Final = 100
# How many calls with unknown keys may wait for lookups.
_WAITING_MAX: Final = 2000
# How long the calls of a remembered key wait for its next lookup before they continue without.
_PATIENCE_SECONDS: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class ResolvedKey:
    """An API key that works.

    Attributes:
        expires_at: When it ends; None for a key without an end.
        limits: The limits of its customer that differ from the settings.
    """

    key_id: UUID
    customer_id: UUID
    scopes: frozenset[Scope]
    expires_at: datetime | None = None
    limits: CustomerLimits = NO_EXCEPTIONS


Resolve = Callable[[str], Awaitable[ResolvedKey]]
"""Looks an API key up. Raises BadCredentials if it is unknown or has ended."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A key that worked.

    Attributes:
        looked_up: The monotonic time of the lookup.
    """

    principal: Principal
    expires_at: datetime | None
    looked_up: float


class KnownKeys(Cache[str, _Known]):
    """The keys that are remembered, by their digests; `Invalidations` may join it.

    Args:
        settings: How many keys, and for how long.
        clock: Returns a monotonic time in seconds.
    """

    def __init__(self, settings: ApiKeySettings, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(
            API_KEYS,
            size=settings.cache_size,
            ttl_seconds=settings.ttl_seconds,
            strategy=Strategy.NONSTRICT_READ_WRITE,
            clock=clock,
        )
        self.clock = clock
        self._stale_seconds = settings.stale_seconds
        remembered_seconds = settings.ttl_seconds + settings.stale_seconds
        self._last: TTLCache[str, _Known] = TTLCache(settings.cache_size, remembered_seconds, clock)
        self._ended = 0

    def last(self, key: str) -> _Known | None:
        """Return what the last lookup of a key found, if it is remembered."""
        return self._last.get(key)

    def still_works(self, known: _Known) -> bool:
        """Whether a key may be used for `ttl_seconds` more although its lookup got no response."""
        return self.clock() - known.looked_up < self._stale_seconds

    def remember(self, key: str, known: _Known, ended: int) -> None:
        """Keep what a lookup found, unless any key has ended since `ended` was read: it may be this one."""
        if ended == self._ended:
            self._last[key] = known

    def drop(self, key: str) -> None:
        """Keep nothing of a key that a lookup has found wrong."""
        self._last.pop(key, None)

    @property
    def ended(self) -> int:
        """How often keys have ended."""
        return self._ended

    def forget(self, keys: Collection[str] | None) -> None:
        """Drop keys that have ended. When any may have ended, which is None, all are looked up again."""
        super().forget(keys)
        if keys is not None:
            self._ended += 1
            for key in keys:
                self._last.pop(key, None)


class ApiKeys(Bearers):
    """API keys of customers.

    Args:
        resolve: Looks a key up.
        known: The keys that are remembered.
        now: Returns the time, by which keys expire.
    """

    def __init__(self, resolve: Resolve, known: KnownKeys, now: Callable[[], datetime]) -> None:
        self._resolve = resolve
        self._known = known
        self._now = now
        self._wrong = Expenses(_WRONG_MAX, _WRONG_SECONDS, known.clock)
        self._lookups = Room(_LOOKUPS_MAX)
        self._waiting = Room(_WAITING_MAX)

    def knows(self, token: str) -> bool:
        """Whether a token looks like an API key."""
        return token.startswith(PREFIX)

    async def principal(self, token: str, peer: str = "") -> Principal:
        """Return the principal of an API key: `client/<customer ID>/<key ID>`, bound to its customer.

        Args:
            token: The key.
            peer: Who has sent it, as gRPC names it.

        Raises:
            BadCredentials: If it is unknown or has ended.
            DependencyUnavailable: If the customers service does not respond, and the key is not remembered.
            DatabaseUnavailable: In the customers service itself, if its database does not respond.
            Overloaded: If its address sends too many unknown keys at the moment, and this one is not remembered.
        """
        if _FORM.fullmatch(token) is None:
            raise BadCredentials
        key = sha256(token.encode()).hexdigest()
        if key in self._wrong:
            raise BadCredentials
        address = address_of(peer)
        load = partial(self._load, token, address)
        if self._known.last(key) is not None:
            found = await self._known.get(key, load)
        else:
            with self._place(self._waiting, address):
                found = await self._known.get(key, load)
        if found is None or (found.expires_at is not None and self._now() >= found.expires_at):
            raise BadCredentials
        return found.principal

    @contextmanager
    def _place(self, room: Room, address: str) -> Iterator[None]:
        if not room.has_place(address):
            LOOKUPS.labels("refused").inc()
        with room.place(address):
            yield

    async def _load(self, token: str, address: str, key: str) -> _Known | None:
        last = self._known.last(key)
        if last is not None:
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    return await self._looked_up(token, address, key)
            except (TimeoutError, DependencyUnavailable, DatabaseUnavailable):
                if self._known.still_works(last):
                    LOOKUPS.labels("stale").inc()
                    return last
        if not self._wrong.has_place(address):
            LOOKUPS.labels("refused").inc()
            raise Overloaded
        with self._place(self._lookups, address):
            try:
                return await self._looked_up(token, address, key)
            except (DependencyUnavailable, DatabaseUnavailable):
                LOOKUPS.labels("unavailable").inc()
                raise

    async def _looked_up(self, token: str, address: str, key: str) -> _Known | None:
        began, ended = self._known.clock(), self._known.ended
        try:
            found = await self._resolve(token)
        except BadCredentials:
            LOOKUPS.labels("wrong").inc()
            self._wrong.add(key, address)
            self._known.drop(key)
            return None
        LOOKUPS.labels("known").inc()
        who = Principal(
            kind=Kind.CLIENT,
            name=f"{found.customer_id}/{found.key_id}",
            customers=frozenset([found.customer_id]),
            scopes=found.scopes,
            credential=API_KEY,
            limits=found.limits,
        )
        known = _Known(who, found.expires_at, began)
        self._known.remember(key, known, ended)
        return known
