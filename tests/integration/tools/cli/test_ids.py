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


def test_a_customer_is_named_by_the_email_address_wherever_an_id_is_taken(
    found: Found, innosystem: Run, tmp_path: Any
) -> None:
    found("seed")
    email = f"Zoe-{uuid4()}@example.com"
    customer = found("customers", "create", "--name", "Zoe", "--email", email)["customer"]["id"]
    assert found("customers", "show", email.upper())["id"] == customer
    assert found("wallets", "create", "--customer-id", email)["customer_id"] == customer
    assert (
        found("wallets", "credit", "--customer-id", email, "--amount", "1EUR", "--yes")["wallet"]["customer_id"]
        == customer
    )
    assert found("wallets", "show", "--customer-id", email)["wallet"]["customer_id"] == customer
    assert len(found("customers", "keys", "list", email)) == 1
    one = ["--job-type", "python.source-stats", "--input", '{"path": "a", "source": ""}']
    assert found("submit", *one, "--customer-id", email)["customer_id"] == customer
    file = tmp_path / "of_zoe.jsonl"
    file.write_text('{"job_type": "python.source-stats", "input": {"path": "b", "source": ""}}')
    (job_id,) = found("submit", str(file), "--customer-id", email)["job_ids"]
    assert found("jobs", "show", job_id)["customer_id"] == customer

    unknown = innosystem("customers", "show", f"no-{email}")
    assert unknown.stderr == (
        f"innosystem: no customer has the email address no-{email}: `innosystem customers list` shows them\n"
    )


@pytest.mark.parametrize(("name", "what"), [("ada", "no customer has an ID that starts with ada"), ("Zoe", "'Zoe' is")])
def test_a_name_instead_of_an_id_is_answered_with_the_filter_that_finds_it(
    innosystem: Run, name: str, what: str
) -> None:
    said = innosystem("customers", "show", name).stderr
    assert what in said
    assert f"""`innosystem customers list --filter 'name = "{name}*"'` finds customers by name""" in said


def test_a_misspelt_job_type_is_answered_with_the_nearest(found: Found, innosystem: Run) -> None:
    found("seed")
    for command in (["job-types", "show"], ["submit", "--customer-id", ADA, "--input", "{}", "--job-type"]):
        done = innosystem(*command, "python.source-stat")
        assert done.returncode == 1
        assert done.stderr == (
            "innosystem: JOB_TYPE_NOT_FOUND: there is no job type python.source-stat: "
            "did you mean python.source-stats?\n"
        )
    far = innosystem("job-types", "show", "zzz")
    assert "look for the right one with `innosystem job-types list`" in far.stderr


async def test_a_whole_id_costs_no_call(client: Innosystem) -> None:
    unknown = str(new_id())
    assert await whole_id(client, JOB, unknown.upper()) == unknown


@pytest.mark.parametrize("text", ["", "xyz", "0199g", "-", "0" * 33])
async def test_what_no_id_starts_with_is_refused_without_a_call(client: Innosystem, text: str) -> None:
    with pytest.raises(CommandError, match="give a UUID, or the start of one"):
        await whole_id(client, JOB, text)
