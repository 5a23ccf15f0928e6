"""What handlers and the job types of a platform say of each other."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tools.cli.commands.handlers.loading import Finding, Loaded, same_schema

if TYPE_CHECKING:
    from innosystem.jobs.v1.job_type_pb2 import JobType
    from innosystem.runner import Handler


@dataclass(frozen=True)
class Comparison:
    """How handlers fit the job types of a platform.

    Attributes:
        findings: What is wrong with the handlers.
        others: The job types that name handlers which are not among them; other runners may have those.
    """

    findings: list[Finding] = field(default_factory=list)
    others: "list[JobType]" = field(default_factory=list)


def compare(loaded: Loaded, job_types: "Sequence[JobType]") -> Comparison:
    """Compare handlers with all job types of a platform.

    Args:
        loaded: The handlers.
        job_types: The job types.
    """
    known = {handler.id for handler in loaded.handlers}
    found = Comparison(others=[each for each in job_types if each.processing_logic_id not in known])
    for handler in loaded.handlers:
        own = calling(handler.id, job_types)
        if not own:
            advice = "`innosystem handlers register` creates one"
            found.findings.append(Finding(handler.id, f"no job type names it, so it gets no jobs: {advice}"))
        for job_type in own:
            found.findings.extend(Finding(handler.id, message) for message in _differences(handler, job_type, loaded))
    return found


def calling(handler: str, job_types: "Sequence[JobType]") -> "list[JobType]":
    """Return the job types that name a handler."""
    return [each for each in job_types if each.processing_logic_id == handler]


def _differences(handler: "Handler", job_type: "JobType", loaded: Loaded) -> list[str]:
    from innosystem.runner.processor_types import type_name, written

    differences = []
    schema = loaded.schemas.get(handler.id)
    if schema is not None and not same_schema(schema, job_type.input_schema_json):
        has = "another input schema than" if job_type.input_schema_json else "no input schema, unlike"
        advice = "`innosystem handlers register` sends it"
        differences.append(f"the job type {job_type.name} has {has} the handler's annotation: {advice}")
    expected, description = written(handler)
    if job_type.processor_type and job_type.processor_type != expected:
        differences.append(
            f"the job type {job_type.name} says {type_name(job_type.processor_type)}, and the handler is {description}:"
            f" `innosystem job-types update {job_type.name} --processor-type {type_name(expected)}`"
        )
    return differences
