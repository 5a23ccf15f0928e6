"""What came of checking an input with a schema."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes:
        schema: The schema that was checked with.
        problem: Where and why the input does not satisfy it; None if it does.
    """

    schema: str
    problem: str | None
