"""Where a database is, in words for logs and messages: the host, the port, the name and the user, never a password."""

from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote, quote_plus

from sqlalchemy.engine import URL, make_url

_SECRETS = ("password", "sslpassword")
_MASK = "***"


@dataclass(frozen=True)
class DatabaseAddress:
    """The address of a database.

    Attributes:
        variable: The setting that has the address, such as `JOBS_DATABASE_URL`; empty if it is not known.
        host: The host, or the folder of its socket; empty for the driver's default.
        port: The port; empty for the driver's default.
        database: The name of the database; empty for the driver's default.
        user: The role; empty for the driver's default.
    """

    variable: str
    host: str
    port: str
    database: str
    user: str
    _secrets: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, url: str | URL, variable: str = "") -> Self:
        """Return the address that a URL names, in its parts or in its query.

        Raises:
            sqlalchemy.exc.ArgumentError: If it is no URL.
        """
        parts = make_url(url)

        def named(value: str | int | None, *keys: str) -> str:
            given = str(value) if value else next((parts.query[key] for key in keys if key in parts.query), "")
            return given if isinstance(given, str) else ",".join(given)

        passwords = [named(parts.password), *(named(None, key) for key in _SECRETS)]
        # As they are, and as a URL has them.
        secrets = {form for one in passwords if one for form in (one, quote(one, safe=""), quote_plus(one))}
        return cls(
            variable,
            named(parts.host, "host", "hostaddr"),
            named(parts.port, "port"),
            named(parts.database, "dbname"),
            named(parts.username, "user"),
            tuple(sorted(secrets, key=len, reverse=True)),
        )

    def __str__(self) -> str:
        """Return `JOBS_DATABASE_URL (user@host:port/name)`."""
        where = f"{self.user}@" if self.user else ""
        where += f"{self.host}:{self.port}" if self.port else self.host
        where += f"/{self.database}" if self.database else ""
        return f"{self.variable} ({where})" if self.variable else where

    @property
    def fields(self) -> dict[str, Any]:
        """The parts, as fields of a log line."""
        return {"host": self.host, "port": self.port, "database": self.database, "user": self.user}

    def said(self, error: BaseException) -> str:
        """Return what a driver says about a failure, in one line, without the password."""
        lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
        text = "; ".join(lines) or type(error).__name__
        for secret in self._secrets:
            text = text.replace(secret, _MASK)
        return text
