"""Resources are made once in the order of what they take, injected by type, and closed in the opposite order."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import structlog

from innosystem.runner import HandlerRegistrationError, JobContext, Registry, resources
from innosystem.runner.registry import describe
from innosystem.runner.resources import made
from innosystem.runner.testing import run_handler


class Database:
    def __init__(self, name: str = "") -> None:
        self.name = name


class Repository:
    def __init__(self, database: Database) -> None:
        self.database = database


def nothing(input: Any) -> None: ...


async def test_resources_are_made_after_what_they_take_and_closed_before_it() -> None:
    happened: list[str] = []

    async def database() -> AsyncIterator[Database]:
        happened.append("database made")
        yield Database("orders")
        happened.append("database closed")

    def repository(database: Database) -> Iterator[Repository]:
        happened.append("repository made")
        yield Repository(database)
        happened.append("repository closed")

    registry = Registry()
    registry.add_resource(repository)
    registry.add_resource(database)

    def handler(input: Any, orders: Repository, *, database: Database) -> list[str]:
        return [orders.database.name, database.name]

    registry.add("orders", handler)
    async with made(registry.resources_of_runner()) as values:
        bound = registry.get("orders")
        assert bound is not None
        assert bound.bound(values).call(None) == ["orders", "orders"]
        happened.append("job")

    assert happened == ["database made", "repository made", "job", "repository closed", "database closed"]


async def test_a_resource_may_be_returned_by_a_def_or_an_async_def() -> None:
    async def database() -> Database:
        return Database("awaited")

    def repository(database: Database) -> Repository:
        return Repository(database)

    registry = Registry()
    registry.add_resource(database)
    registry.add_resource(repository)

    def handler(input: Any, job: JobContext, orders: Repository) -> None: ...

    registry.add("orders", handler)
    async with made(registry.resources_of_runner()) as values:
        assert values[Repository].database.name == "awaited"


async def test_only_what_handlers_take_is_made() -> None:
    def database() -> Database:
        raise AssertionError("nothing takes it")

    registry = Registry()
    registry.add_resource(database)
    registry.add("nothing", nothing)

    assert registry.resources_of_runner() == []


def written_without_a_type() -> Any:
    return Database()


def positional(input: Any, orders: Repository, /) -> None: ...


def job_behind_a_resource(input: Any, orders: Repository, context: JobContext) -> None: ...


def no_type(input: Any, job: Any, orders) -> None: ...  # type: ignore[no-untyped-def] # the mistake


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (positional, "'orders' accepts a position only"),
        (job_behind_a_resource, "the job is the second argument, and here it is 'context'"),
        (no_type, "'orders' has no annotation"),
    ],
    ids=["by-position", "job-last", "no-type"],
)
def test_a_parameter_that_is_neither_job_nor_resource_is_refused(function: Callable[..., Any], reason: str) -> None:
    with pytest.raises(HandlerRegistrationError, match=reason):
        describe(function, handler_id="x")


def test_a_type_that_no_resource_makes_is_refused_when_the_modules_are_loaded() -> None:
    registry = Registry()

    def handler(input: Any, orders: Repository) -> None: ...

    registry.add("orders", handler)
    with pytest.raises(HandlerRegistrationError, match=r"'orders' \(.*\) takes Repository, which no resource makes"):
        registry.load([])


def test_a_resource_names_its_type_and_makes_it_alone() -> None:
    def database() -> Database:
        return Database()

    def another() -> Database:
        return Database()

    registry = Registry()
    registry.add_resource(database)
    with pytest.raises(HandlerRegistrationError, match=r"Two resources make the same type: .*database.* and .*another"):
        registry.add_resource(another)
    with pytest.raises(HandlerRegistrationError, match="needs the annotation of what it makes"):
        registry.add_resource(written_without_a_type)


def test_resources_that_take_each_other_are_refused() -> None:
    def database(orders: Repository) -> Database:
        return Database()

    def repository(database: Database) -> Repository:
        return Repository(database)

    def handler(input: Any, orders: Repository) -> None: ...

    registry = Registry()
    registry.add_resource(database)
    registry.add_resource(repository)
    registry.add("orders", handler)
    with pytest.raises(HandlerRegistrationError, match="takes itself"):
        registry.resources_of_runner()


@pytest.mark.parametrize("error", [OSError("the database does not respond"), SystemExit(3)], ids=["error", "exit"])
async def test_a_resource_that_cannot_be_made_is_shown_with_its_authors_traceback(error: BaseException) -> None:
    def connect() -> Database:
        raise error

    async def database() -> AsyncIterator[Database]:
        yield connect()

    def handler(input: Any, database: Database) -> None: ...

    registry = Registry()
    registry.add_resource(database)
    registry.add("orders", handler)
    with pytest.raises(HandlerRegistrationError) as failure:
        async with made(registry.resources_of_runner()):
            raise AssertionError("not reached")

    lines = str(failure.value).splitlines()
    assert "cannot be made" in lines[0]
    assert "test_resources.py" in lines[2]
    assert lines[-1].startswith(type(error).__name__)


async def test_a_resource_that_takes_too_long_to_be_made_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_MAKE_SECONDS", 0.01)

    async def database() -> Database:
        await asyncio.Event().wait()
        return Database()

    registry = Registry()
    registry.add_resource(database)

    def handler(input: Any, database: Database) -> None: ...

    registry.add("orders", handler)
    with pytest.raises(HandlerRegistrationError, match=r"it took longer than 0\.01 s"):
        async with made(registry.resources_of_runner()):
            raise AssertionError("not reached")


async def test_a_resource_that_cannot_be_closed_is_logged_and_the_others_are_closed() -> None:
    closed: list[str] = []

    def database() -> Iterator[Database]:
        yield Database()
        closed.append("database")

    def repository(database: Database) -> Iterator[Repository]:
        yield Repository(database)
        raise OSError("away")

    def handler(input: Any, orders: Repository) -> None: ...

    registry = Registry()
    registry.add_resource(database)
    registry.add_resource(repository)
    registry.add("orders", handler)
    with structlog.testing.capture_logs() as lines:
        async with made(registry.resources_of_runner()):
            pass

    assert [line["event"] for line in lines] == ["resource_not_closed"]
    assert closed == ["database"]


def test_a_test_gives_a_handler_other_resources() -> None:
    def handler(input: Any, database: Database) -> str:
        return database.name

    assert run_handler(handler, resources={Database: Database("of the test")}) == "of the test"
    with pytest.raises(HandlerRegistrationError, match="takes Database, which no resource makes"):
        run_handler(handler)
