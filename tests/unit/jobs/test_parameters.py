"""What differs between a call and its repeat is named by its path in the contract."""

from uuid import uuid4

import pytest
from google.protobuf.descriptor import Descriptor

from innosystem.jobs.v1.job_service_pb2 import CreateJobRequest
from innosystem.jobs.v1.job_type_service_pb2 import CreateJobTypeRequest
from services.jobs.rules.job_types import NewJobType, ProcessorType
from services.jobs.rules.submission import Submission
from services.jobs.usecases.job_types import parameters


def has(message: Descriptor | None, path: str) -> bool:
    name, _, rest = path.partition(".")
    field = None if message is None else message.fields_by_name.get(name)
    return field is not None and (not rest or has(field.message_type, rest))


@pytest.mark.parametrize("job_type", [uuid4(), "python.source-stats"])
def test_the_parameters_of_a_submission_are_fields_of_the_request(job_type: object) -> None:
    submission = Submission(job_id=uuid4(), customer_id=uuid4(), job_type=job_type)  # type: ignore[arg-type]
    assert [name for name in submission.parameters if not has(CreateJobRequest.DESCRIPTOR, name)] == []


def test_the_parameters_of_a_job_type_are_fields_of_the_request() -> None:
    job_type = NewJobType(id=uuid4(), name="a", processing_logic_id="a", processor_type=ProcessorType.SYNC)
    assert [name for name in parameters(job_type) if not has(CreateJobTypeRequest.DESCRIPTOR, name)] == []
