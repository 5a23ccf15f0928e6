"""The result of checking an input against a schema."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """The result of a check.

    Attributes:
        schema: The schema, as JSON text.
        problem: Where and why the input does not satisfy it; None if it does.
    """

    schema: str
    problem: str | None
