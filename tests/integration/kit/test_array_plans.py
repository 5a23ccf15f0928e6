"""Statements with arrays do not depend on a lucky plan."""

from collections.abc import Callable
from uuid import uuid4

import psycopg
from sqlalchemy import Uuid, select

from services.kit.data.array_parameters import any_of
from services.kit.data.engine.prepared import Prepared
from services.wallets.store.tables import holds

READ = Prepared(select(holds.c.id).where(holds.c.id == any_of("ids", Uuid)).order_by(holds.c.id).with_for_update())
NO_INDEXES = "SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off"


def test_the_text_of_an_array_is_not_read_again_for_each_row_that_no_index_leads_to(
    fresh_database: Callable[[str], str],
) -> None:
    with psycopg.connect(fresh_database("wallets")) as connection:
        connection.execute(NO_INDEXES)
        plan = connection.execute(f"EXPLAIN {READ.text}".encode(), READ.bound({"ids": [uuid4()]})).fetchall()

    lines = [line.strip() for (line,) in plan]
    assert any("Seq Scan on holds" in line for line in lines)
    assert not [line for line in lines if line.startswith("Filter:") and "uuid[]" in line], lines
