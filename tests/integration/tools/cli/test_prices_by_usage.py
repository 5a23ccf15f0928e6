"""Prices by usage and quotes on the command line, against real services."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.tools.cli.conftest import Found, Run

METERED = ("--standard-cost", "0.04EUR", "--unit", "page", "--unit-price", "0.00002EUR", "--maximum-cost", "5EUR")


@pytest.fixture
def customer(found: Found) -> str:
    """A customer with 10 EUR."""
    created = found("customers", "create", "--name", "Ada", "--email", f"{uuid4()}@example.com")
    customer_id: str = created["customer"]["id"]
    found("wallets", "create", "--customer-id", customer_id, "--currency", "EUR")
    found("wallets", "credit", "--customer-id", customer_id, "--amount", "10EUR", "--yes")
    return customer_id


@pytest.fixture
def job_type(found: Found) -> str:
    """A metered job type whose jobs no runner takes."""
    name = f"pages-{uuid4()}"
    found("job-types", "create", "--name", name, *METERED, "--queue", name[:50])
    return name


def line(**fields: Any) -> str:
    return json.dumps(fields)


def test_a_price_by_usage_is_created_shown_changed_and_removed(found: Found, innosystem: Run, job_type: str) -> None:
    shown = innosystem("job-types", "show", job_type).stdout
    assert "0.00002 EUR per page, at most 5.00 EUR" in shown
    changed = found("job-types", "update", job_type, "--unit-price", "0.5EUR")
    assert changed["metering"]["unit_price_micro_cents"] in (50_000_000, "50000000")
    assert changed["metering"]["unit"] == "page"
    assert "metering" not in found("job-types", "update", job_type, "--no-metering")


def test_a_dry_run_shows_price_and_what_is_left_and_submits_nothing(
    found: Found, innosystem: Run, customer: str, job_type: str
) -> None:
    asked = ("submit", "--job-type", job_type, "--customer-id", customer, "--dry-run")
    done = innosystem(*asked)
    assert done.returncode == 0, done.stderr
    lines = dict(one.split(maxsplit=1) for one in done.stdout.splitlines() if not one.startswith("by usage"))
    assert (lines["price"], lines["reserved"]) == ("0.04 EUR", "5.00 EUR")
    assert lines["available"] == "10.00 EUR, 5.00 EUR after it"
    assert "by usage" in done.stdout
    assert found(*asked)["hold_cents"] in (500, "500")
    assert found("jobs", "list", "--filter", f'customer_id = "{customer}"') == []


def test_a_dry_run_fails_with_the_error_of_the_submission(innosystem: Run, customer: str, job_type: str) -> None:
    done = innosystem("submit", "--job-type", job_type, "--customer-id", customer, "--max-cost", "4EUR", "--dry-run")
    assert done.returncode == 1
    assert "PRICE_ABOVE_MAXIMUM" in done.stderr


def test_a_dry_run_of_a_file_adds_up_what_would_be_reserved(
    found: Found, innosystem: Run, customer: str, job_type: str, tmp_path: Path
) -> None:
    file = tmp_path / "jobs.jsonl"
    good = [line(job_type=job_type, customer_id=customer, input=number) for number in range(3)]
    file.write_text("\n".join([*good, "{", line(job_type="nothing", customer_id=customer)]))
    done = innosystem("submit", str(file), "--dry-run")
    assert done.returncode == 1
    assert "line 4: MALFORMED_LINE" in done.stderr
    assert "line 5: JOB_TYPE_NOT_FOUND" in done.stderr
    report = json.loads(innosystem("submit", str(file), "--dry-run", "--json").stdout)
    assert (report["quoted"], report["reserved_cents"]) == (3, {"EUR": 1500})
    assert found("jobs", "list", "--filter", f'customer_id = "{customer}"') == []


def test_a_dry_run_of_a_job_that_was_submitted_names_it(
    found: Found, innosystem: Run, customer: str, job_type: str
) -> None:
    asked = ("submit", "--job-type", job_type, "--customer-id", customer)
    job_id = innosystem(*asked).stdout.strip()
    assert job_id in innosystem(*asked, "--dry-run").stdout
    found("jobs", "cancel", job_id, "--yes")


@pytest.mark.parametrize(
    ("arguments", "problem"), [(("--wait",), "nothing to --wait for"), (("-o", "csv"), "is for lists")]
)
def test_options_that_a_dry_run_can_not_have_are_refused(
    innosystem: Run, customer: str, job_type: str, arguments: tuple[str, ...], problem: str
) -> None:
    done = innosystem("submit", "--job-type", job_type, "--customer-id", customer, "--dry-run", *arguments)
    assert (done.returncode, problem in done.stderr) == (2, True), done.stderr
