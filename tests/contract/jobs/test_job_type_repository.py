"""What every job type repository promises (D1)."""

from dataclasses import replace
from datetime import timedelta

import pytest
from uuid_utils.compat import uuid7

from services.jobs.rules import constraints
from services.jobs.rules.job_types import JobType, NewJobType, Priority, ProcessorType
from services.jobs.rules.resources import JOB_TYPES
from services.kit.data.errors import AlreadyExists, Conflict
from services.kit.query.page import ListQuery
from tests.support.jobs_examples import new_job_type
from tests.support.jobs_work import BeginJobs


async def stored(begin: BeginJobs, new: NewJobType) -> JobType:
    async with begin() as work:
        job_type = await work.job_types.create(new)
        await work.commit()
    return job_type


async def test_a_stored_job_type_is_read_back_as_it_was(begin: BeginJobs) -> None:
    new = new_job_type(
        processor_type=ProcessorType.SYNC,
        default_priority=Priority.LOW,
        timeout=timedelta(seconds=1.5),
        expires_after=timedelta(days=3),
        retry_multiplier=1.5,
        input_schema='{"type": "object"}',
        metering_unit="token",
        unit_price_micro_cents=2_000,
        max_cost_cents=2**63 - 1,
    )
    job_type = await stored(begin, new)
    async with begin() as work:
        assert await work.job_types.get(new.id) == job_type
        assert await work.job_types.get_by_name(new.name) == job_type
        assert await work.job_types.get(uuid7()) is None
        assert await work.job_types.get_by_name("nobody") is None
    assert {name: getattr(job_type, name) for name in vars(new)} == vars(new)


async def test_ids_and_names_are_used_once(begin: BeginJobs) -> None:
    job_type = await stored(begin, new_job_type())
    for twin, constraint in [
        (new_job_type(id=job_type.id), constraints.JOB_TYPE_ID),
        (new_job_type(name=job_type.name), constraints.JOB_TYPE_NAME),
    ]:
        async with begin() as work:
            with pytest.raises(AlreadyExists) as caught:
                await work.job_types.create(twin)
        assert caught.value.constraint == constraint


async def test_job_types_are_resolved_by_id_and_by_name_and_unknown_ones_are_left_out(begin: BeginJobs) -> None:
    first = await stored(begin, new_job_type())
    second = await stored(begin, new_job_type())
    async with begin() as work:
        found = await work.job_types.resolve([first.id, uuid7()], [second.name, "nobody"])
    assert (found[first.id], found[second.name]) == (first, second)
    assert set(found) == {first.id, first.name, second.id, second.name}


async def test_an_update_stores_the_next_version_and_a_stale_one_is_a_conflict(begin: BeginJobs) -> None:
    job_type = await stored(begin, new_job_type())
    async with begin() as work:
        changed = await work.job_types.update(replace(job_type, enabled=False))
        await work.commit()
    assert (changed.enabled, changed.version) == (False, job_type.version + 1)
    async with begin() as work:
        with pytest.raises(Conflict):
            await work.job_types.update(replace(job_type, enabled=True))
    async with begin() as work:
        assert await work.job_types.get(job_type.id) == changed


async def test_a_job_type_can_not_take_the_name_of_another(begin: BeginJobs) -> None:
    first = await stored(begin, new_job_type())
    second = await stored(begin, new_job_type())
    async with begin() as work:
        with pytest.raises(AlreadyExists) as caught:
            await work.job_types.update(replace(second, name=first.name))
    assert caught.value.constraint == constraints.JOB_TYPE_NAME


async def test_a_job_type_is_deleted_once(begin: BeginJobs) -> None:
    job_type = await stored(begin, new_job_type())
    async with begin() as work:
        assert await work.job_types.delete(job_type.id)
        assert not await work.job_types.delete(job_type.id)
        await work.commit()
    async with begin() as work:
        assert await work.job_types.get(job_type.id) is None


async def test_lists_are_in_the_order_of_names(begin: BeginJobs) -> None:
    names = [(await stored(begin, new_job_type(name=name))).name for name in ("b", "c", "a")]
    async with begin() as work:
        page = await work.job_types.list_page(ListQuery(JOB_TYPES.default_ordering))
    assert [one.name for one in page.items] == sorted(names)
