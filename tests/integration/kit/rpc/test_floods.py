"""Who sends wrong credentials without end takes room from its own address, and from nobody else."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_urlsafe
from uuid import UUID, uuid4

import grpc

from innosystem.client import error_from
from services.kit.auth.api_keys import ApiKeys, KnownKeys, ResolvedKey
from services.kit.auth.authentication import Authentication
from services.kit.auth.principal import Scope
from services.kit.auth.settings import ApiKeySettings
from services.kit.errors import BadCredentials
from tests.integration.kit.rpc.serving import ID, Running, running
from tests.support.until import until


class Lookups:
    """A customers service that knows the keys of one customer, and says nothing of any other until a test lets it."""

    def __init__(self) -> None:
        self.right = {new_key(): uuid4() for _ in range(3)}
        self.opened = asyncio.Event()
        self.wrong = 0

    async def resolve(self, token: str) -> ResolvedKey:
        if token in self.right:
            return ResolvedKey(key_id=self.right[token], customer_id=UUID(ID), scopes=frozenset(Scope))
        self.wrong += 1
        await self.opened.wait()
        raise BadCredentials

    def authentication(self) -> Authentication:
        """Return what knows callers by these keys. By its clock, everything happens in the same second."""
        known = KnownKeys(ApiKeySettings(), lambda: 0.0)
        return Authentication(required=True, bearers=[ApiKeys(self.resolve, known, lambda: datetime.now(UTC))])


def new_key() -> str:
    return "inno_" + token_urlsafe(32)


async def said(server: Running, key: str) -> str:
    try:
        await server.get(metadata=[("authorization", f"Bearer {key}")])
    except grpc.aio.AioRpcError as error:
        refused = error_from(error)
        return refused.reason if refused else error.code().name
    return "OK"


@asynccontextmanager
async def two_peers(folder: Path, lookups: Lookups) -> AsyncIterator[tuple[Running, Running]]:
    async with (
        running(folder, authentication=lookups.authentication()) as flooder,
        grpc.aio.insecure_channel(flooder.tcp) as channel,
    ):
        yield flooder, replace(flooder, channel=channel)


async def test_a_flood_of_wrong_keys_that_are_being_looked_up_leaves_room_for_the_right_keys_of_another_peer(
    tmp_path: Path,
) -> None:
    lookups = Lookups()
    known, new, late = lookups.right
    async with two_peers(tmp_path, lookups) as (flooder, other):
        assert await said(flooder, known) == "OK"
        flood = [asyncio.create_task(said(flooder, new_key())) for _ in range(300)]
        await until(lambda: sum(one.done() for one in flood) == 250)
        assert lookups.wrong == 50
        assert await said(other, new) == "OK"
        assert [await said(flooder, key) for key in (known, late)] == ["OK", "OVERLOADED"]
        lookups.opened.set()
        assert Counter(await asyncio.gather(*flood)) == {"OVERLOADED": 250, "BAD_CREDENTIALS": 50}


async def test_a_flood_of_wrong_keys_one_after_the_other_leaves_room_for_the_right_keys_of_another_peer(
    tmp_path: Path,
) -> None:
    lookups = Lookups()
    lookups.opened.set()
    known, new, late = lookups.right
    async with two_peers(tmp_path, lookups) as (flooder, other):
        assert await said(flooder, known) == "OK"
        refusals = Counter([await said(flooder, new_key()) for _ in range(250)])
        assert refusals == {"BAD_CREDENTIALS": 200, "OVERLOADED": 50}
        assert await said(other, new) == "OK"
        assert [await said(flooder, key) for key in (known, late)] == ["OK", "OVERLOADED"]
