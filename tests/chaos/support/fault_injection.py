"""Has faults happen to the platform."""

import asyncio
import os
import shutil
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING
from uuid import UUID

import grpc
import psycopg
import redis

from innosystem.client import error_from_status
from innosystem.jobs.v1 import job_service_pb2
from tests.chaos.support.calls import PAUSE_SECONDS, is_undecided
from tests.chaos.support.faults import Fault
from tests.chaos.support.kinds import POISON
from tests.chaos.support.load import Load
from tests.chaos.support.platform import Platform
from tests.chaos.support.row_faults import locked_row, with_later_value
from tests.support.until import until_sync

if TYPE_CHECKING:
    # The type of a stub over an aio channel exists for type checkers only.
    from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceAsyncStub

LISTS = tuple(f"jobs:p{priority}:pending" for priority in range(3))
# Not all of these are text, and not all that are text could be an ID.
RUBBISH = (b"", b"rubbish", b"\xff\xfe\x00", b"0" * 100_000, b"{}", b"00000000-0000-0000-0000-00000000000g")

_WAITING = (
    "SELECT id::text FROM jobs WHERE status IN ('PENDING', 'RUNNING', 'SUCCEEDED') AND queue = 'default'"
    " ORDER BY queued_at DESC LIMIT 40"
)
_LEASES = "SELECT id || ' ' || lease_id FROM jobs WHERE status = 'RUNNING' LIMIT 100"
_END_BACKENDS = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)
_DELAY_SECONDS = 0.25
_CALL_SECONDS = 5
_LATE_TRIES = 5
# A hundred thousand jobs in the minute that a run of five minutes has for it, and far fewer in a short run.
_FLOOD = 28


class Inflictor:
    """Does what the schedule says.

    Attributes:
        done: How many faults of each sort have happened.
        complaints: What should not have been possible.
    """

    def __init__(self, platform: Platform, jobs: "JobServiceAsyncStub", load: Load) -> None:
        """Take the platform, a client of the jobs service for completions that come late, and who submits jobs."""
        self.done: Counter[str] = Counter()
        self.late_completions: Counter[str] = Counter()
        self.complaints: list[str] = []
        self._platform = platform
        self._jobs = jobs
        self._load = load
        self._server_turns = {"postgres": asyncio.Lock(), "redis": asyncio.Lock()}
        self._link_turns = {name: asyncio.Lock() for name in platform.links}
        self._ways: Mapping[str, Callable[[Fault], Awaitable[None]]] = {
            "kill a runner": self._kill,
            "freeze a runner": self._freeze,
            "roll a runner": self._roll,
            "kill a replica": self._kill,
            "freeze a replica": self._freeze,
            "roll a replica": self._roll,
            "crash PostgreSQL": self._crash_postgres,
            "end all backends": self._end_backends,
            "crash Redis, empty afterwards": self._crash_redis,
            "empty Redis": self._empty_redis,
            "pause Redis": self._pause_redis,
            "delay a link": self._delay,
            "reset a link": self._reset,
            "black-hole a link": self._black_hole,
            "drop replies of a link": self._drop_replies,
            "freeze a runner and complete late": self._complete_late,
            "push duplicates": self._push_duplicates,
            "push unknown IDs": self._push_unknown,
            "push rubbish": self._push_rubbish,
            "lock a row": self._lock_row,
            "freeze a replica for long": self._freeze,
            "fail Redis over": self._fail_redis_over,
            "reconnect to a read-only PostgreSQL": self._reconnect_read_only,
            "write a value of a later release": self._write_later_value,
            "put a foreign key under a list's name": self._put_foreign_key,
            "submit a poison job": self._submit_poison,
            "stop the wallets service": self._stop_service,
            "flood by one customer": self._flood,
        }

    async def inflict(self, fault: Fault) -> None:
        """Has one fault happen, and waits until it is over. If the server it needs is down just then, it is none."""
        with suppress(redis.RedisError, psycopg.OperationalError):
            await self._ways[fault.sort](fault)
            self.done[fault.sort] += 1

    async def _lock_row(self, fault: Fault) -> None:
        async with locked_row(self._platform.postgres.url(fault.target), fault.target):
            await asyncio.sleep(fault.seconds)

    async def _write_later_value(self, fault: Fault) -> None:
        async with with_later_value(self._platform.postgres.url("jobs")):
            await asyncio.sleep(fault.seconds)

    async def _reconnect_read_only(self, fault: Fault) -> None:
        async with self._server_turns["postgres"]:
            await asyncio.to_thread(self._platform.make_read_only, fault.target)
            await asyncio.sleep(fault.seconds)
            await asyncio.to_thread(self._platform.make_writable, fault.target)

    async def _fail_redis_over(self, _: Fault) -> None:
        async with self._server_turns["redis"]:
            await asyncio.to_thread(self._platform.fail_redis_over)

    async def _put_foreign_key(self, fault: Fault) -> None:
        """A key of another type, as another program may write it that uses the same Redis."""
        name = LISTS[int(fault.chance * len(LISTS))]

        def replace(client: "redis.Redis") -> None:
            client.delete(name)
            client.set(name, "foreign")

        await asyncio.to_thread(self._redis, replace)
        await asyncio.sleep(fault.seconds)
        await asyncio.to_thread(self._redis, lambda client: client.delete(name))

    async def _submit_poison(self, _: Fault) -> None:
        self._load.submit(POISON)

    async def _stop_service(self, fault: Fault) -> None:
        members = [member for name, member in self._platform.members.items() if name.startswith(fault.target)]
        async with AsyncExitStack() as turns:
            for member in members:
                await turns.enter_async_context(member.turn)
                await member.kill()
            await asyncio.sleep(fault.seconds)
            for member in members:
                member.start()

    async def _flood(self, fault: Fault) -> None:
        await self._load.submit_flood(round(fault.seconds**2 * _FLOOD))
        await asyncio.sleep(fault.seconds)
        await self._load.cancel_flood()

    async def _kill(self, fault: Fault) -> None:
        member = self._platform.members[fault.target]
        async with member.turn:
            await member.kill()
            member.start()

    async def _freeze(self, fault: Fault) -> None:
        member = self._platform.members[fault.target]
        async with member.turn:
            member.freeze()
            await asyncio.sleep(fault.seconds)
            member.thaw()

    async def _roll(self, fault: Fault) -> None:
        member = self._platform.members[fault.target]
        async with member.turn:
            await member.roll()

    async def _crash_postgres(self, fault: Fault) -> None:
        async with self._server_turns["postgres"]:
            await asyncio.to_thread(self._platform.postgres.stop, "immediate")
            await asyncio.sleep(fault.seconds)
            await asyncio.to_thread(self._platform.postgres.start)

    async def _end_backends(self, _: Fault) -> None:
        await asyncio.to_thread(self._query, "postgres", _END_BACKENDS)

    async def _crash_redis(self, fault: Fault) -> None:
        async with self._server_turns["redis"]:
            await asyncio.to_thread(self._kill_redis)
            await asyncio.sleep(fault.seconds)
            await asyncio.to_thread(self._platform.redis.start)

    def _kill_redis(self) -> None:
        server = self._platform.redis
        if (pid := server.pid) is not None:
            os.kill(pid, signal.SIGKILL)
        until_sync(lambda: not server.running)
        shutil.rmtree(self._platform.redis_data)

    async def _empty_redis(self, _: Fault) -> None:
        await asyncio.to_thread(self._redis, lambda client: client.flushall())

    async def _pause_redis(self, fault: Fault) -> None:
        await asyncio.to_thread(self._redis, lambda client: client.client_pause(int(fault.seconds * 1000)))

    async def _delay(self, fault: Fault) -> None:
        link = self._platform.links[fault.target]
        async with self._link_turns[fault.target]:
            link.delay(_DELAY_SECONDS * fault.chance)
            await asyncio.sleep(fault.seconds)
            link.heal()

    async def _reset(self, fault: Fault) -> None:
        self._platform.links[fault.target].reset()

    async def _black_hole(self, fault: Fault) -> None:
        """What stood in it arrives late, or never."""
        link = self._platform.links[fault.target]
        async with self._link_turns[fault.target]:
            link.black_hole()
            await asyncio.sleep(fault.seconds)
            if fault.chance < 0.5:
                link.reset()
            link.heal()

    async def _drop_replies(self, fault: Fault) -> None:
        link = self._platform.links[fault.target]
        async with self._link_turns[fault.target]:
            link.swallow_replies()
            await asyncio.sleep(fault.seconds)
            link.reset()
            link.heal()

    async def _complete_late(self, fault: Fault) -> None:
        """Report results under leases that have ended meanwhile, as a frozen runner does that comes back."""
        member = self._platform.members[fault.target]
        async with member.turn:
            member.freeze()
            try:
                leases = await asyncio.to_thread(self._query, "jobs", _LEASES)
                await asyncio.sleep(fault.seconds)
                kept = await asyncio.to_thread(self._query, "jobs", _LEASES)
                ended = [lease.split() for lease in set(leases) - set(kept)]
                if ended:
                    await self._complete([(job_id, lease_id) for job_id, lease_id in ended])
            finally:
                member.thaw()

    async def _complete(self, ended: Sequence[tuple[str, str]]) -> None:
        left = [
            job_service_pb2.JobCompletion(job_id=job_id, lease_id=lease_id, output_json='"stolen"')
            for job_id, lease_id in ended
        ]
        for _ in range(_LATE_TRIES):
            request = job_service_pb2.CompleteJobsRequest(completions=left)
            try:
                response = await self._jobs.CompleteJobs(request, timeout=_CALL_SECONDS)
            except grpc.RpcError:
                continue
            left = [
                one for one, result in zip(left, response.results, strict=True) if not self._is_decided(one, result)
            ]
            if not left:
                return
            await asyncio.sleep(PAUSE_SECONDS)

    def _is_decided(self, late: job_service_pb2.JobCompletion, result: job_service_pb2.JobCompletionResult) -> bool:
        """Note what became of a completion; nothing may be recorded. Of a row that is locked, say, it is not known."""
        failure = error_from_status(result.error) if result.HasField("error") else None
        reason = "recorded" if failure is None else failure.reason
        self.late_completions[reason] += 1
        if reason == "LEASE_LOST":
            return True
        if failure is not None and is_undecided(failure):
            return False
        self.complaints.append(f"{late.job_id}: a completion under a lease that had ended: {reason}")
        return True

    async def _push_duplicates(self, _: Fault) -> None:
        job_ids = await asyncio.to_thread(self._query, "jobs", _WAITING)
        if job_ids:
            await asyncio.to_thread(self._push, [job_id.encode() for job_id in job_ids] * 3)

    async def _push_unknown(self, fault: Fault) -> None:
        count = 1 + int(50 * fault.chance)
        await asyncio.to_thread(self._push, [str(UUID(int=number, version=4)).encode() for number in range(count)])

    async def _push_rubbish(self, _: Fault) -> None:
        await asyncio.to_thread(self._push, list(RUBBISH))

    def _push(self, values: list[bytes]) -> None:
        def push(client: "redis.Redis") -> None:
            for name in LISTS:
                client.lpush(name, *values)
                client.rpush(name, *values)

        self._redis(push)

    def _redis(self, act: "Callable[[redis.Redis], object]") -> None:
        with redis.Redis.from_url(self._platform.redis.url, socket_timeout=5) as client:
            act(client)

    def _query(self, database: str, statement: str, *values: object) -> list[str]:
        with psycopg.connect(self._platform.postgres.url(database), connect_timeout=5) as connection:
            return [str(value) for [value] in connection.execute(statement.encode(), values).fetchall()]
