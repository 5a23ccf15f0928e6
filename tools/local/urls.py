"""URLs of databases and of Redis as they may be shown: without passwords.

A password may have characters that end a part of a URL, such as `/` or `@`, and half of it then looks like a host or a
path. Of a URL in which that may be so, nothing but its scheme is shown.
"""

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from sqlalchemy import URL

HIDDEN: Final = "***"

_SECRET: Final = re.compile(r"(?i)([^&=]*(?:password|secret|token)[^&=]*)=[^&]*")


def without_password(url: str) -> str:
    """Return a URL with `***` in place of its passwords, before the host and in its query."""
    parts = _parts(url)
    if parts is None:
        scheme, separator, _ = url.partition("://")
        return f"{scheme}://{HIDDEN}" if separator else HIDDEN
    credentials, at, host = parts.netloc.rpartition("@")
    user, colon, _ = credentials.partition(":")
    shown = f"{user}:{HIDDEN}@{host}" if colon else f"{user}{at}{host}"
    query = _SECRET.sub(rf"\1={HIDDEN}", parts.query)
    return f"{parts.scheme}://{shown}{parts.path}{f'?{query}' if query else ''}"


def place(url: str) -> str:
    """Return the host and the name that a URL has, such as `db.example:5432/jobs`, or the path of a socket.

    The name is alone where the URL has no host.
    """
    if not url:
        return ""
    parts = _parts(url)
    if parts is None:
        return HIDDEN
    host = parts.netloc.rpartition("@")[2]
    name = parts.path if parts.scheme == "unix" else parts.path.lstrip("/")
    return "/".join(filter(None, (host, name))) if host else name


def for_libpq(url: "str | URL") -> str:
    """Return the URL of a database as libpq takes it: without a driver, and with `/` and `?` of a password encoded.

    Args:
        url: A URL as SQLAlchemy takes it.
    """
    from sqlalchemy import make_url

    text = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    before, mark, query = text.partition("?")
    # SQLAlchemy takes `+` of the query for a space, libpq does not.
    return f"{before.replace(' ', '%20')}{mark}{query.replace('+', '%20')}"


def _parts(url: str) -> SplitResult | None:
    """Return the parts of a URL; None if it is none, or a part behind its host may belong to a password."""
    try:
        parts = urlsplit(url)
        # Half of a password is no number.
        parts.port  # noqa: B018
    except ValueError:
        return None
    if "://" not in url or parts.fragment or "@" in f"{parts.path}{parts.query}":
        return None
    return parts
