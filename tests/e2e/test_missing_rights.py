"""A service whose role may not do what the service does."""

import psycopg

from tests.conftest import migrations, service_role
from tests.e2e.stack import Stack
from tests.support.until import until_sync


def test_a_service_that_lacks_a_right_says_so_and_serves_as_soon_as_it_is_granted(stack: Stack) -> None:
    url = stack.database_urls["customers"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"REVOKE INSERT ON api_keys FROM {service_role('customers')}".encode())

    stack.start("customers")

    told = stack.processes["customers"].logged("dependency_down", dependency="database", required=True)
    assert f"role {service_role('customers')} may not INSERT on api_keys in the database" in told["error"]
    assert stack.health("customers") == "NOT_SERVING"
    migrations("customers", url).up()
    until_sync(lambda: stack.health("customers") == "SERVING")
    assert stack.customer()
