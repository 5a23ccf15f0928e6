"""The handlers of modules, without running them, and what is wrong with them whatever the platform is."""

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from innosystem.runner import Handler


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes:
        handler: The ID of the handler; empty for what concerns a module or all of its handlers.
        message: What is wrong, and what to do about it.
    """

    handler: str
    message: str

    def __str__(self) -> str:
        return f"{self.handler}: {self.message}" if self.handler else self.message


@dataclass(frozen=True)
class Loaded:
    """The handlers of some modules.

    Attributes:
        handlers: Those that are registered, by their IDs.
        schemas: The JSON Schema of the inputs of each that has one, as it is sent to the platform.
        findings: What is wrong.
    """

    handlers: "Sequence[Handler]"
    schemas: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def load(modules: Sequence[str]) -> Loaded:
    """Import modules with handlers, each on its own, and check what they have registered.

    Nothing is run but the modules themselves: no resource is made. What they print goes to standard error.

    Args:
        modules: Names of modules, or paths of Python files.
    """
    from innosystem.runner import HandlerRegistrationError
    from innosystem.runner.registry import default_registry

    findings = []
    for module in dict.fromkeys(modules):
        try:
            with redirect_stdout(sys.stderr):
                default_registry.import_modules([module])
        except HandlerRegistrationError as error:
            findings.append(Finding("", str(error)))
    handlers = [handler for each in default_registry if (handler := default_registry.get(each)) is not None]
    loaded = Loaded(handlers, findings=findings)
    for handler in handlers:
        try:
            default_registry.resources_of(handler)
        except HandlerRegistrationError as error:
            findings.append(Finding(handler.id, str(error)))
        _add_schema(handler, loaded)
    if not findings:
        # Those of middleware and of on_failure. What handlers lack is found above.
        try:
            default_registry.resources_of_runner()
        except HandlerRegistrationError as error:
            findings.append(Finding("", str(error)))
    if not handlers and not findings:
        findings.append(Finding("", f'there is no handler in {", ".join(modules)}: each needs @handler("the.id")'))
    return loaded


def _add_schema(handler: "Handler", loaded: Loaded) -> None:
    """Make the schemas of a handler, and check that the platform takes that of its inputs."""
    from services.jobs.rules.schemas.schema import InvalidSchema, Schema

    try:
        of_inputs, _ = handler.input_schema(), handler.output_schema()
    except Exception as error:  # noqa: BLE001 - pydantic and msgspec raise errors of several kinds, authors' types any
        why = next(iter(str(error).splitlines()), type(error).__name__)
        loaded.findings.append(Finding(handler.id, f"its annotations have no JSON Schema: {why}"))
        return
    if of_inputs is None:
        return
    text = as_text(of_inputs)
    try:
        refused = Schema(text).too_heavy()
    except InvalidSchema as error:
        refused = str(error)
    if refused is not None:
        loaded.findings.append(Finding(handler.id, f"the platform refuses the JSON Schema of its input: {refused}"))
        return
    loaded.schemas[handler.id] = text


def as_text(schema: Any) -> str:
    """Return a schema as the platform stores it."""
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))


def same_schema(one: str, other: str) -> bool:
    """Return whether two schemas are the same document; empty is none."""
    return one == other or (bool(one) and bool(other) and json.loads(one) == json.loads(other))
