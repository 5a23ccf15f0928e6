"""The example handler, tested with the helpers for tests of handlers."""

from typing import Any

import pytest

from innosystem.runner import HandlerRegistrationError, JobContext, JobError
from innosystem.runner.examples.source_stats import source_stats
from innosystem.runner.testing import run_handler, run_handler_async

SOURCE = '''
class Shop:
    def price(self, items):
        """1 + for + if + and + or = 5"""
        for item in items:
            if item and item.price or self:
                def bonus():
                    return 1 if item else 0
                return bonus()
        return 0

    async def sell(self, what):
        match what:
            case 1: return
            case [x] if x: return
            case _: return

def names(rows):
    try:
        return [row.name for row in rows if row]
    except ValueError:
        return []
'''


def test_it_counts_lines_functions_classes_and_complexity() -> None:
    assert run_handler("python.source-stats", {"path": "shop.py", "source": SOURCE}) == {
        "lines": 22,
        "functions": 4,
        "classes": 1,
        "complexity": 5 + 2 + 3 + 4,
        "most_complex": {"name": "Shop.price", "complexity": 5},
    }


def test_a_file_without_functions_has_no_most_complex_one() -> None:
    assert run_handler(source_stats, {"source": "x = 1\n"})["most_complex"] is None


@pytest.mark.parametrize(("source", "type"), [("def (", "SyntaxError"), ("a\x00b", None), ("(" * 100_000, None)])
def test_what_is_not_python_can_not_be_retried(source: str, type: str | None) -> None:
    with pytest.raises(JobError, match=r"^shop\.py: ") as caught:
        run_handler(source_stats, {"path": "shop.py", "source": source})

    assert not caught.value.retryable
    assert type in (None, caught.value.type)


@pytest.mark.parametrize("input", [None, [], {}, {"source": 1}])
def test_an_input_without_a_source_is_refused(input: Any) -> None:
    with pytest.raises(JobError, match="source"):
        run_handler(source_stats, input)


async def test_the_kit_runs_coroutines_with_the_job_that_a_test_describes() -> None:
    async def greet(input: Any, job: JobContext) -> Any:
        return input["name"], job.attempt, job.labels

    output = await run_handler_async(greet, {"name": "Ada"}, attempt=2, labels={"a": "b"})

    assert output == ["Ada", 2, {"a": "b"}]


def test_the_kit_raises_what_the_handler_raises() -> None:
    def broken(input: Any) -> Any:
        return input["name"]

    with pytest.raises(KeyError):
        run_handler(broken, {})


def test_the_kit_refuses_what_a_runner_would_refuse() -> None:
    with pytest.raises(JobError, match="not JSON"):
        run_handler(lambda input: {1, 2})


def test_the_kit_names_a_handler_that_is_not_there() -> None:
    with pytest.raises(HandlerRegistrationError, match="nowhere"):
        run_handler("nowhere", {})
