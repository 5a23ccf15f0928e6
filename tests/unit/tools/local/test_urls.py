"""URLs are shown without passwords, whatever characters these have."""

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL

from tools.local.urls import for_libpq, place, without_password


@pytest.mark.parametrize(
    ("url", "shown", "where"),
    [
        ("postgresql://me:secret@db:5432/jobs", "postgresql://me:***@db:5432/jobs", "db:5432/jobs"),
        ("postgresql://me@db/jobs?sslmode=require", "postgresql://me@db/jobs?sslmode=require", "db/jobs"),
        ("postgresql://postgres@/jobs?host=/run/pg", "postgresql://postgres@/jobs?host=/run/pg", "jobs"),
        (
            "postgresql://db/jobs?user=me&password=secret&sslpassword=secret&sslmode=require",
            "postgresql://db/jobs?user=me&password=***&sslpassword=***&sslmode=require",
            "db/jobs",
        ),
        ("redis://:secret@cache:6379/0", "redis://:***@cache:6379/0", "cache:6379/0"),
        ("unix:///run/redis.sock?password=secret&db=0", "unix:///run/redis.sock?password=***&db=0", "/run/redis.sock"),
        ("postgresql://me:secret@[::1]:5432/jobs", "postgresql://me:***@[::1]:5432/jobs", "[::1]:5432/jobs"),
    ],
)
def test_a_url_is_shown_without_its_passwords(url: str, shown: str, where: str) -> None:
    assert without_password(url) == shown
    assert place(url) == where


@pytest.mark.parametrize("scheme", ["postgresql", "redis"])
@pytest.mark.parametrize(
    "password",
    ["sec@ret", "@ret", "sec@", "sec/ret", "sec@/ret", "sec/@ret", "12/ret", "sec?ret", "12?ret", "sec#ret", "1#ret"],
)
def test_no_half_of_a_password_is_shown_where_it_looks_like_another_part(scheme: str, password: str) -> None:
    url = f"{scheme}://me:{password}@db:5432/jobs"

    shown = without_password(url) + place(url)

    assert "ret" not in shown
    assert "sec" not in shown
    assert "12" not in shown


@pytest.mark.parametrize("text", ["host=db password=secret", "secret", "postgresql://[secret", "//me:secret@db"])
def test_of_a_text_that_is_no_url_nothing_is_shown(text: str) -> None:
    assert "secret" not in without_password(text) + place(text)


@pytest.mark.parametrize("password", ["sec/ret", "sec?ret", "sec ret", "sec+ret", "sec#ret", "sec%ret", "sec@ret"])
@pytest.mark.parametrize("folder", ["/run/pg", "/run/my pg", "/run/my+pg"])
def test_libpq_and_sqlalchemy_find_the_same_in_a_url(password: str, folder: str) -> None:
    url = URL.create("postgresql+psycopg", "me", password, database="jobs", query={"host": folder})

    found = conninfo_to_dict(for_libpq(url.render_as_string(hide_password=False)))

    assert found == {"user": "me", "password": password, "dbname": "jobs", "host": folder}
