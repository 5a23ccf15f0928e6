"""The example in docs/data-layer.md, put together and run (D1, D5, D6)."""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
from google.rpc import code_pb2
from grpc_tools import protoc
from pydantic import SecretStr
from sqlalchemy import create_engine
from uuid_utils.compat import uuid7

from innosystem.client import error_from
from services.kit.auth.authentication import OFF
from services.kit.data.engine.database import Database
from services.kit.data.errors import AlreadyExists
from services.kit.data.transactions.memory import MemoryTransactions
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.errors import InvalidField
from services.kit.query.page import PageTokens
from services.kit.rpc.layers.stack import Layers, Load
from services.kit.rpc.serving.registration import Registrations
from services.kit.settings import DatabaseSettings

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = ROOT / "docs" / "data-layer.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The stubs of the document's contract, made as those of ours are, for the time of the module."""
    folder = tmp_path_factory.mktemp("stubs")
    [contract] = blocks("proto")
    source = folder / "innosystem" / "notes" / "v1" / "notes.proto"
    source.parent.mkdir(parents=True)
    source.write_text(contract)
    packages = Path(code_pb2.__file__).parents[2]
    known = [folder, ROOT / "protos", packages, packages / "grpc_tools" / "_proto"]
    paths = [*(f"-I{one}" for one in known), f"--python_out={folder}", f"--grpc_python_out={folder}"]
    assert protoc.main(["protoc", *paths, str(source.relative_to(folder))]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield


@pytest.fixture(scope="module")
def example(stubs: None) -> SimpleNamespace:
    """What the blocks of the document define."""
    assert len(blocks("python")) == 6
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile("\n".join(blocks("python")), str(DOCUMENT), "exec"), names)
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


class NoRules:
    """The contract's rules for messages that are not in the contract."""

    def reader(self, name: str, deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        return deserialize


@pytest.fixture
async def stub(service: Any, example: SimpleNamespace, tmp_path: Path) -> AsyncIterator[Any]:
    """A client of the example's server, which has the layers that all our servers have."""
    notes_pb2_grpc = import_module("innosystem.notes.v1.notes_pb2_grpc")
    layers = Layers(Load(10, 10), 10, OFF, cast("Any", NoRules()))
    server = grpc.aio.server()
    servicer = example.NoteServicer(service, PageTokens(b"0123456789abcdef"))
    notes_pb2_grpc.add_NoteServiceServicer_to_server(servicer, Registrations(server, layers))
    address = f"unix:{tmp_path / 's'}"
    server.add_insecure_port(address)
    await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        yield notes_pb2_grpc.NoteServiceStub(channel)
    await server.stop(None)


async def test_the_examples_rpc_lists_by_filter_and_order(service: Any, stub: Any, example: SimpleNamespace) -> None:
    for stars, title in enumerate(["a", "b", "c", "d"]):
        await written(service, example, title, stars)
    request = example.pb.ListNotesRequest(filter='stars >= 1 AND title != "c"', order_by="title desc", page_size=1)
    titles: list[str] = []
    while True:
        response = await stub.ListNotes(request)
        titles += [note.title for note in response.notes]
        if not response.next_page_token:
            break
        request.page_token = response.next_page_token
    assert titles == ["d", "b"]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"filter": "owner = 1"}, "INVALID_FILTER"),
        ({"order_by": "owner"}, "INVALID_ORDER_BY"),
        ({"page_token": "made-up"}, "INVALID_PAGE_TOKEN"),
    ],
)
async def test_the_examples_rpc_refuses_what_it_does_not_understand(
    stub: Any, example: SimpleNamespace, wrong: dict[str, str], reason: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ListNotes(example.pb.ListNotesRequest(**wrong))
    error = error_from(caught.value)
    assert error is not None
    assert error.reason == reason


async def test_the_example_refuses_what_its_rules_and_constraints_refuse(
    service: Any, example: SimpleNamespace
) -> None:
    with pytest.raises(InvalidField):
        await written(service, example, "less than nothing", -1)
    await written(service, example, "once", 0)
    with pytest.raises(AlreadyExists) as caught:
        await written(service, example, "once", 0)
    assert caught.value.constraint == "uq_notes_title"
