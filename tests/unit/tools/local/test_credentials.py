"""The keys and tokens of a platform are for their owner, fit each other, and outlive a restart."""

import json
from pathlib import Path

import pytest

from services.kit.auth.principal import Kind
from services.kit.auth.settings import AuthSettings, signed_tokens
from services.kit.auth.sources import Sources
from services.kit.auth.tokens import SignedTokens
from services.kit.charges.keys import ChargeKeys
from tools.local.credentials import Credentials, create_credentials


def service_with(created: Credentials) -> SignedTokens:
    """The check of tokens, as a service of the platform makes it."""
    settings = AuthSettings(
        auth_keys=created.shared["INNOSYSTEM_AUTH_KEYS"],
        auth_token_seconds_max=float(created.shared["INNOSYSTEM_AUTH_TOKEN_SECONDS_MAX"]),
    )
    tokens = signed_tokens(settings, None, Sources())
    tokens.load()
    return tokens


async def test_each_process_has_a_token_of_its_own_kind(tmp_path: Path) -> None:
    created = create_credentials(tmp_path / "c", name="ada")
    service = service_with(created)
    found = {
        **{name: await service.principal(one["INNOSYSTEM_TOKEN"]) for name, one in created.services.items()},
        "runner": await service.principal(created.runner["RUNNER_TOKEN"]),
        "operator": await service.principal(created.operator["INNOSYSTEM_TOKEN"]),
    }
    assert {name: who.actor for name, who in found.items()} == {
        "customers": "service/customers",
        "wallets": "service/wallets",
        "jobs": "service/jobs",
        "runner": "runner/ada",
        "operator": "operator/ada",
    }
    for name, who in found.items():
        assert await service.principal((tmp_path / "c" / f"{name}.token").read_text().strip()) == who


async def test_tokens_and_keys_of_an_earlier_start_stay_valid(tmp_path: Path) -> None:
    first = create_credentials(tmp_path)
    keys = (tmp_path / "charge-keys").read_text()
    second = create_credentials(tmp_path)
    assert (await service_with(second).principal(first.operator["INNOSYSTEM_TOKEN"])).kind is Kind.OPERATOR
    assert (tmp_path / "charge-keys").read_text() == keys
    ChargeKeys("", second.shared["INNOSYSTEM_CHARGE_KEYS_FILE"])


def test_nobody_else_can_read_what_is_secret(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    create_credentials(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert {name for name, mode in modes.items() if mode != 0o600} == {"public-keys.json"}
    assert "d" not in json.loads((folder / "public-keys.json").read_text())["keys"][0]


@pytest.mark.parametrize("missing", ["signing-key.json", "public-keys.json"])
async def test_half_a_pair_of_keys_is_replaced(tmp_path: Path, missing: str) -> None:
    create_credentials(tmp_path)
    (tmp_path / missing).unlink()
    created = create_credentials(tmp_path)
    assert (await service_with(created).principal(created.operator["INNOSYSTEM_TOKEN"])).kind is Kind.OPERATOR
