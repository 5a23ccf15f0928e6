"""The settings of a stack of the bench."""

from tools.bench.platform.stack_under_test import own_settings


def test_the_bench_is_not_led_to_databases_and_lists_of_others() -> None:
    given = {
        "JOBS_DATABASE_URL": "postgresql://service@db/theirs",
        "JOBS_DATABASE_OWNER_URL": "postgresql://owner@db/theirs",
        "REDIS_KEY_PREFIX": "theirs:",
        "REDIS_URL": "redis://redis",
    }

    told = own_settings(given, {"jobs": "postgresql://owner@db/ours"})

    assert "theirs" not in str(told)
    assert told["JOBS_DATABASE_URL"] == "postgresql://owner@db/ours"
    assert told["REDIS_URL"] == "redis://redis"
