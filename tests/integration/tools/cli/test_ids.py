"""The starts of IDs, against real services."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from innosystem.client import Innosystem, new_id
from tests.integration.tools.cli.conftest import Found, Run
from tools.cli.connect import platform
from tools.cli.ids import CUSTOMER, HOLD, JOB, JOB_TYPE, WALLET, whole_id, whole_ids
from tools.errors import CommandError

ADA = "01990000-0000-7000-8000-000000000201"


@pytest.fixture
def jobs(found: Found, tmp_path: Any) -> list[str]:
    """The IDs of three jobs; the first two start alike."""
    found("seed")
    common = str(uuid4())[:-2]
    run_at = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    ids = [f"{common}0a", f"{common}0b", str(uuid4())]
    line = {"job_type": "python.source-stats", "customer_id": ADA, "run_at": run_at}
    file = tmp_path / "jobs.jsonl"
    file.write_text("\n".join(json.dumps({**line, "job_id": job_id}) for job_id in ids))
    found("submit", str(file))
    return ids


@pytest.fixture
async def client(found: Found) -> AsyncIterator[Innosystem]:
    async with platform() as client:
        yield client


def test_a_command_takes_the_start_of_an_id(jobs: list[str], found: Found) -> None:
    assert found("jobs", "show", jobs[2][:13])["id"] == jobs[2]
    assert found("jobs", "show", jobs[2].upper().replace("-", "")[:20])["id"] == jobs[2]
    assert found("jobs", "show", f"{jobs[2][:14]}…")["id"] == jobs[2]
    assert found("jobs", "show", jobs[0])["id"] == jobs[0]


def test_an_ambiguous_start_lists_the_candidates(jobs: list[str], innosystem: Run) -> None:
    done = innosystem("jobs", "show", jobs[0][:-1])
    assert done.returncode == 1
    assert done.stderr == (
        f"innosystem: several IDs of a job start with {jobs[0][:-1]}: type more of it\n  {jobs[0]}\n  {jobs[1]}\n"
    )


def test_an_unknown_start_is_said(jobs: list[str], innosystem: Run) -> None:
    unknown = str(new_id())[:-3]
    assert innosystem("jobs", "show", unknown).stderr == f"innosystem: no job has an ID that starts with {unknown}\n"


def test_everything_with_an_id_is_found_by_its_start(jobs: list[str], found: Found) -> None:
    hold = found("jobs", "show", jobs[0])["hold_id"]
    job_type = found("job-types", "show", "python.source-stats")["id"]
    # Those of the examples differ only in their last digits.
    customer = found("customers", "create", "--name", "Ivy", "--email", f"{uuid4()}@example.com")["customer"]["id"]
    wallet = found("wallets", "create", "--customer-id", customer)["id"]
    whole = {CUSTOMER: customer, WALLET: wallet, HOLD: hold, JOB_TYPE: job_type}

    async def resolve() -> tuple[list[str], list[str]]:
        async with platform() as client:
            several = await whole_ids(client, JOB, [jobs[2][:14], jobs[0]])
            return [await whole_id(client, listed, one[:-1]) for listed, one in whole.items()], several

    assert asyncio.run(resolve()) == (list(whole.values()), [jobs[2], jobs[0]])


async def test_a_whole_id_costs_no_call(client: Innosystem) -> None:
    unknown = str(new_id())
    assert await whole_id(client, JOB, unknown.upper()) == unknown


@pytest.mark.parametrize("text", ["", "xyz", "0199g", "-", "0" * 33])
async def test_what_no_id_starts_with_is_refused_without_a_call(client: Innosystem, text: str) -> None:
    with pytest.raises(CommandError, match="give a UUID, or the start of one"):
        await whole_id(client, JOB, text)
