"""Pages of holds, of which each looks at a bounded number, while ended ones are deleted."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

from services.kit.auth.tenants import ALL_TENANTS
from services.kit.data.repositories import search
from services.kit.data.repositories.search import Search
from services.kit.query.filter import parse_filter
from services.kit.query.order import parse_order_by
from services.kit.query.page import ListQuery
from services.wallets.rules.entities import NewWallet
from services.wallets.rules.requests import Credit, PlaceHold
from services.wallets.rules.resources import HOLDS
from services.wallets.usecases.wallets import WalletsService

COUNT = 30


async def test_what_is_deleted_while_a_page_is_made_hides_no_other_hold(
    service: WalletsService, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = (await service.create(NewWallet(id=uuid7(), customer_id=uuid7()))).wallet.owner
    await service.credit(Credit(transaction_id=uuid7(), owner=owner, amount_cents=1000, idempotency_key="all"))
    wanted: list[UUID] = []
    for number in range(COUNT):
        placed = PlaceHold(hold_id=uuid7(), owner=owner, job_id=uuid7(), amount_cents=2 if number % 6 == 1 else 1)
        await service.place_holds([placed])
        wanted += [placed.hold_id] if placed.amount_cents == 2 else []
    last = Search.last

    def last_after_some_were_deleted(one: Search, columns: Any) -> Any:
        cursor = one.walks[0].cursor
        with psycopg.connect(url) as other:
            other.execute(
                "DELETE FROM holds WHERE id IN"
                " (SELECT id FROM holds WHERE id > %s AND amount_cents = 1 ORDER BY id LIMIT 3)",
                [cursor[-1] if cursor else UUID(int=0)],
            )
        return last(one, columns)

    monkeypatch.setattr(search, "ROWS_READ_MAX", 4)
    monkeypatch.setattr(Search, "last", last_after_some_were_deleted)
    query = ListQuery(parse_order_by("created_at", HOLDS), parse_filter("amount_cents = 2", HOLDS))
    found: list[UUID] = []
    while True:
        page = await service.list_holds(query, ALL_TENANTS)
        found += [hold.id for hold in page.items]
        if page.next_cursor is None:
            break
        query = replace(query, cursor=page.next_cursor)

    assert found == wanted
