"""What differs between a call and its repeat is named by its path in the contract."""

from uuid import uuid4

import pytest
from google.protobuf.descriptor import Descriptor

from innosystem.jobs.v1 import job_type_pb2
from innosystem.jobs.v1.job_service_pb2 import CreateJobRequest
from innosystem.jobs.v1.job_type_service_pb2 import CreateJobTypeRequest
from services.jobs.rpc.job_type_convert import new_job_type
from services.jobs.rules.job_types import NewJobType, ProcessorType
from services.jobs.rules.submission import Submission
from services.jobs.usecases.job_types import parameters
from services.kit.idempotency import digest

# Of the job type below, as CreateJobType of release 0.1.0 stored it.
DIGEST_OF_0_1_0 = (
    "f3a7d5f1c81b31fd362d7c4f8992f971f3a7d5f1c81b31fd8b6fd3fb46f028881bf41ef6fd6f6f6cb2e2dce80ae07090"
    "2dec20237ee10e83ba216781116c80e02f4fbbf83be42787f6fc42039fba3776d43889444878844593311dcbc5cbe9f5"
    "b7effef424381bdbe4ab9b5ed07da7c83d0d609619180492536fd5a56c585c00"
)


def has(message: Descriptor | None, path: str) -> bool:
    name, _, rest = path.partition(".")
    field = None if message is None else message.fields_by_name.get(name)
    return field is not None and (not rest or has(field.message_type, rest))


@pytest.mark.parametrize("job_type", [uuid4(), "python.source-stats"])
def test_the_parameters_of_a_submission_are_fields_of_the_request(job_type: object) -> None:
    submission = Submission(job_id=uuid4(), customer_id=uuid4(), job_type=job_type)  # type: ignore[arg-type]
    assert [name for name in submission.parameters if not has(CreateJobRequest.DESCRIPTOR, name)] == []


def test_a_job_type_without_attempts_has_the_digest_that_release_0_1_0_gave_it() -> None:
    new = job_type_pb2.JobType(
        id="01990000-0000-7000-8000-000000000101",
        name="python.source-stats",
        description="Parses a Python source file.",
        processing_logic_id="python.source-stats",
        processor_type=job_type_pb2.PROCESSOR_TYPE_SYNC,
        standard_cost_cents=2,
        currency="EUR",
    )
    assert digest(parameters(new_job_type(new))).hex() == DIGEST_OF_0_1_0


def test_the_parameters_of_a_job_type_are_fields_of_the_request() -> None:
    job_type = NewJobType(id=uuid4(), name="a", processing_logic_id="a", processor_type=ProcessorType.SYNC)
    assert [name for name in parameters(job_type) if not has(CreateJobTypeRequest.DESCRIPTOR, name)] == []
