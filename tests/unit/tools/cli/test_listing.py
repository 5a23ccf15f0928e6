"""Lists that are read page by page, and what is said of those that are cut."""

from types import SimpleNamespace
from typing import Any

from tools.cli.listing import collect


class Service:
    """A service with a list of numbers, in pages of at most 1,000."""

    def __init__(self, entries: int) -> None:
        self.entries = list(range(entries))
        self.calls = 0

    async def list(self, request: Any) -> Any:
        self.calls += 1
        start = int(request.page_token or 0)
        end = start + min(request.page_size, 1000)
        return SimpleNamespace(
            entries=self.entries[start:end], next_page_token=str(end) if end < len(self.entries) else ""
        )


async def read(service: Service, limit: int, **options: Any) -> tuple[list[int], str]:
    request = SimpleNamespace(page_size=0, page_token="")
    found = await collect(service.list, request, "entries", limit, **options)
    return list(found), found.note


async def test_a_whole_list_has_no_note() -> None:
    service = Service(50)
    assert await read(service, 50) == (list(range(50)), "")
    assert service.calls == 1


async def test_pages_are_read_until_the_limit() -> None:
    assert len((await read(Service(5000), 2500))[0]) == 2500


async def test_a_cut_list_says_how_long_it_is() -> None:
    service = Service(1034)
    assert (await read(service, 50))[1] == "50 of 1,034 shown; --limit 100 for more"
    assert service.calls == 2


async def test_a_very_long_list_is_not_counted_to_its_end() -> None:
    service = Service(100_000)
    assert (await read(service, 50))[1] == "50 of more than 1,050 shown; --limit 100 for more"
    assert service.calls == 2


async def test_large_pages_are_not_read_only_to_be_counted() -> None:
    service = Service(100)
    note = (await read(service, 10, option="--transactions", count=False))[1]
    assert note == "10 shown, and there may be more; --transactions 20 for more"
    assert service.calls == 1


async def test_nothing_is_read_for_nothing() -> None:
    service = Service(5)
    assert await read(service, 0) == ([], "")
    assert service.calls == 0
