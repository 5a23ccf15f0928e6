"""Between messages and Python's types: what is converted by hand agrees with protobuf's own way."""

from datetime import UTC, datetime, timedelta, timezone
from enum import Enum

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from innosystem.jobs.v1 import job_pb2
from services.jobs.rules.entities import JobStatus
from services.kit.rpc.convert import numbers, timestamp


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-7, minutes=30))])))
def test_a_moment_becomes_what_protobuf_makes_of_it(moment: datetime) -> None:
    expected = Timestamp()
    try:
        expected.FromDatetime(moment)
    except ValueError:
        # Before the year 1 in UTC.
        return
    assert timestamp(moment) == expected


def test_no_moment_leaves_the_field_unset() -> None:
    assert timestamp(None) is None


def test_members_have_the_numbers_of_the_contract() -> None:
    found = numbers(JobStatus, job_pb2.JobStatus, "JOB_STATUS_")
    assert set(found) == set(JobStatus)
    assert found[JobStatus.RUNNING] == job_pb2.JOB_STATUS_RUNNING


def test_a_member_that_the_contract_does_not_have_is_refused() -> None:
    class Unknown(Enum):
        NOTHING = "nothing"

    with pytest.raises(ValueError, match="JOB_STATUS_NOTHING"):
        numbers(Unknown, job_pb2.JobStatus, "JOB_STATUS_")
