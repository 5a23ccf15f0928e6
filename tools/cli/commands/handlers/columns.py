"""The columns of handlers, and of what `register` does for each."""

from typing import TYPE_CHECKING, Any, Final

from tools.cli.commands.handlers.comparing import calling
from tools.cli.commands.handlers.loading import Loaded
from tools.cli.commands.handlers.registering import Step
from tools.cli.output import NOTHING, Column, Columns

if TYPE_CHECKING:
    from innosystem.jobs.v1.job_type_pb2 import JobType
    from innosystem.runner import Handler


def _text(name: str, title: str = "", **layout: Any) -> Column:
    """Return the column of a field of a document."""

    def show(document: dict[str, Any], _now: Any) -> str:
        value = document[name]
        return (", ".join(value) if isinstance(value, list) else str(value)) if value else NOTHING

    return Column(title or name.replace("_", " "), show, fields=(name,), **layout)


HANDLERS: Final = Columns(
    (
        _text("id", usual=16),
        _text("mode", priority=1, usual=9),
        _text("input", priority=2, cut=16),
        _text("output", priority=3, cut=16),
        _text("job_types", priority=4, cut=16),
        _text("queues", priority=5, cut=12),
        _text("resources", priority=6, cut=16),
        _text("place", wide=True),
    ),
    document=dict,
)
STEPS: Final = Columns(
    (
        _text("handler", usual=16),
        _text("job_type", usual=16),
        _text("change", usual=14),
        _text("queue", priority=1, cut=12),
        _text("price", priority=1, usual=9, right=True),
        _text("id", wide=True),
    ),
    name="job_type",
    document=dict,
)


def handler_documents(loaded: Loaded, job_types: "list[JobType] | None") -> list[dict[str, Any]]:
    """Return what is known of handlers.

    Args:
        loaded: The handlers.
        job_types: All job types of the platform; None if they are not known.
    """
    return [_document(handler, loaded, calling(handler.id, job_types or [])) for handler in loaded.handlers]


def _document(handler: "Handler", loaded: Loaded, job_types: "list[JobType]") -> dict[str, Any]:
    return {
        "id": handler.id,
        "mode": "batch" if handler.batch else handler.mode.value,
        "input": handler.input.name,
        "output": handler.output.name,
        "resources": sorted(getattr(one, "__qualname__", repr(one)) for one in handler.resources.values()),
        "job_types": [one.name for one in job_types],
        "queues": sorted({one.queue for one in job_types}),
        "place": handler.place,
        "input_schema": handler.input_schema() if handler.id in loaded.schemas else None,
    }


def step_document(step: Step, *, dry_run: bool) -> dict[str, Any]:
    """Return what was done for a handler, or would be done."""
    from services.kit.currencies import money

    job_type = step.job_type
    return {
        "handler": step.handler,
        "job_type": job_type.name,
        "change": step.outcome(dry_run=dry_run),
        "queue": job_type.queue or "default",
        "price": money(job_type.standard_cost_cents, job_type.currency),
        "id": job_type.id,
        "input_schema_json": job_type.input_schema_json,
        "refused": step.refused,
    }
