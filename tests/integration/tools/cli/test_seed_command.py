"""Example customers with invented money are not put beside the customers of others."""

import json

from tests.integration.tools.cli.conftest import Run


def test_seeding_a_platform_that_others_use_is_refused_and_writes_nothing(innosystem: Run) -> None:
    made = innosystem("customers", "create", "--name", "Paying Ltd", "--email", "paying@example.com")
    assert made.returncode == 0, made.stderr
    refused = innosystem("seed")
    assert refused.returncode == 1
    assert "has its own customers, such as 'Paying Ltd'" in refused.stderr
    assert "--beside-others" in refused.stderr
    for noun in ("wallets", "job-types"):
        assert json.loads(innosystem(noun, "list", "--json").stdout) == []
    assert [each["name"] for each in json.loads(innosystem("customers", "list", "--json").stdout)] == ["Paying Ltd"]

    asked_for = innosystem("seed", "--beside-others")
    assert (asked_for.returncode, asked_for.stderr) == (0, "")
    again = innosystem("seed")
    assert again.returncode == 0, again.stderr
    assert "All examples exist already." in again.stdout
