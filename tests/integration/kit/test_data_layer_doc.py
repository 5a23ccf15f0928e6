"""The example in docs/data-layer.md, put together and run."""

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine
from uuid_utils.compat import uuid7

from services.kit.data.database import Database
from services.kit.data.errors import AlreadyExists
from services.kit.data.transactions_memory import MemoryTransactions
from services.kit.data.transactions_sql import SqlTransactions
from services.kit.errors import InvalidField
from services.kit.query.listing import Lists
from services.kit.query.page import PageTokens
from services.kit.settings import DatabaseSettings

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "data-layer.md"


@pytest.fixture(scope="module")
def example() -> SimpleNamespace:
    """What the blocks of the document define."""
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert len(blocks) == 5
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile("\n".join(blocks), str(DOCUMENT), "exec"), names)
    return SimpleNamespace(**names)


@pytest.fixture(params=["memory", "postgresql"])
async def service(
    request: pytest.FixtureRequest, example: SimpleNamespace, fresh_database: Callable[[str], str]
) -> AsyncIterator[Any]:
    """The use cases of the example on one implementation."""
    if request.param == "memory":
        memory = MemoryTransactions()
        yield example.NotesService(memory, example.MemoryNoteRepository(memory))
        return
    url = fresh_database("customers")
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    example.metadata.create_all(engine)
    engine.dispose()
    database = Database.connect(DatabaseSettings(url=SecretStr(url)), application_name="test")
    transactions = SqlTransactions(database)
    yield example.NotesService(transactions, example.SqlNoteRepository(transactions))
    await database.close()


async def written(service: Any, example: SimpleNamespace, title: str, stars: int) -> Any:
    return await service.write(example.NewNote(id=uuid7(), title=title, stars=stars))


async def test_the_example_writes_changes_and_finds(service: Any, example: SimpleNamespace) -> None:
    best = await written(service, example, "best", 2)
    await written(service, example, "Draft of another", 5)
    assert list(await service.good()) == []
    starred = await service.star(best.id)
    assert (starred.stars, starred.version) == (3, 2)
    assert list(await service.good()) == [starred]


async def test_the_example_lists_by_filter_and_order(service: Any, example: SimpleNamespace) -> None:
    for stars, title in enumerate(["a", "b", "c", "d"]):
        await written(service, example, title, stars)
    lists = Lists(example.NOTES, PageTokens(b"0123456789abcdef"))
    token, titles = "", []
    while True:
        query = lists.query(filter='stars >= 1 AND title != "c"', order_by="title desc", page_size=1, page_token=token)
        page = await service.list_page(query)
        titles += [note.title for note in page.items]
        if not (token := lists.next_page_token(query, page)):
            break
    assert titles == ["d", "b"]


async def test_the_example_refuses_what_its_rules_and_constraints_refuse(
    service: Any, example: SimpleNamespace
) -> None:
    with pytest.raises(InvalidField):
        await written(service, example, "less than nothing", -1)
    await written(service, example, "once", 0)
    with pytest.raises(AlreadyExists) as caught:
        await written(service, example, "once", 0)
    assert caught.value.constraint == "uq_notes_title"
