"""The base of settings classes whose secrets may be in files.

The SDK alone has no settings classes, and does not import this module.
"""

from typing import Any, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource
from typing_extensions import override

from innosystem.shared.secret_files import secrets_in_files


class SecretsFromFiles(BaseSettings):
    """The base of settings classes: each secret field is also read from the file that its variable with _FILE names."""

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # The environment as a whole comes before `.env` as a whole, files or not.
        sources = (env_settings, dotenv_settings)
        files = [_Files(settings_cls, one) for one in sources if isinstance(one, EnvSettingsSource)]
        pairs = [each for pair in zip(files, sources, strict=True) for each in pair]
        return (init_settings, *pairs)


class _Files(PydanticBaseSettingsSource):
    """The files that one source of variables names."""

    def __init__(self, settings_cls: type[BaseSettings], variables: EnvSettingsSource) -> None:
        super().__init__(settings_cls)
        self._prefix = variables.env_prefix
        self._variables = variables.env_vars

    @override
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    @override
    def __call__(self) -> dict[str, Any]:
        names = {f"{self._prefix}{name}".upper(): name for name in secret_fields(self.settings_cls)}
        given = {name.upper(): value for name, value in self._variables.items() if value}
        return {names[name]: value for name, value in secrets_in_files(given, names).items()}


def secret_fields(kind: type[BaseSettings]) -> list[str]:
    """Return the secret fields of a settings class, without those that have a field of their own for a file."""
    fields = kind.model_fields
    return [
        name
        for name, field in fields.items()
        if f"{name}_file" not in fields and SecretStr in (field.annotation, *get_args(field.annotation))
    ]
