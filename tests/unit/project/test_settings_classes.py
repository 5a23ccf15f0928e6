"""What holds for every settings class there is: of the services, the runner and the command."""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings

import innosystem.runner
import services


def classes() -> list[type[BaseSettings]]:
    """All of them, found by importing every module that is called settings."""
    for package in (services, innosystem.runner):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.rpartition(".")[2] == "settings":
                importlib.import_module(module.name)
    ours = (one for one in _below(BaseSettings) if one.__module__.startswith(("services.", "innosystem.")))
    return sorted(set(ours), key=lambda one: f"{one.__module__}.{one.__qualname__}")


def _below(kind: type[BaseSettings]) -> Iterator[type[BaseSettings]]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)


def test_there_are_settings_of_all_parts() -> None:
    modules = {one.__module__ for one in classes()}
    parts = {"services.kit", "services.jobs", "services.wallets", "services.customers", "innosystem.runner"}
    assert {f"{part}.settings" for part in parts} <= modules


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_a_setting_that_is_there_without_a_value_is_one_that_is_not_set(
    kind: type[BaseSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in kind.model_fields:
        monkeypatch.setenv(f"OURS_{name}".upper(), "")
    missing = {name for name, field in kind.model_fields.items() if field.is_required()}
    if not missing:
        assert kind(_env_prefix="OURS_") == kind(_env_prefix="NOT_THERE_")
        return
    with pytest.raises(ValidationError) as error:
        kind(_env_prefix="OURS_")
    problems = {(*problem["loc"], problem["type"]) for problem in error.value.errors()}
    assert problems == {(name, "missing") for name in missing}
