"""Which services `innosystem verify` calls."""

from uuid import uuid4

import pytest

from tools.cli.commands import verify
from tools.errors import CommandError
from tools.verify.repair import HoldNotReleased


def unreachable() -> object:
    raise CommandError("the wallets service uses another database")


async def test_no_service_is_called_unless_a_hold_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "platform", unreachable)

    async with verify._releasing() as release:
        with pytest.raises(HoldNotReleased, match="not released: the wallets service uses another database"):
            await release(uuid4())
