"""`innosystem customers`."""

from datetime import timedelta
from typing import Annotated

from cyclopts import App, Parameter

from tools.cli.confirmation import DryRun, Yes, confirmed
from tools.cli.connect import platform
from tools.cli.listing import collect
from tools.cli.options import Filter, Json, Limit, OrderBy
from tools.cli.output import print_json, print_message, print_messages

app = App(name="customers", help="List, show or create customers, and manage their API keys.")

_KEY_COLUMNS = ("id", "prefix", "created_at", "expires_at")
_COLUMNS = ("id", "name", "email", "active", "created_at")


@app.command(name="list")
async def list_customers(
    *,
    filter: Filter = "",
    order_by: OrderBy = "",
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List customers, the newest first."""
    from innosystem.customers.v1.customer_service_pb2 import ListCustomersRequest

    request = ListCustomersRequest(filter=filter, order_by=order_by)
    async with platform() as client:
        found = await collect(client.customers.ListCustomers, request, "customers", limit)
    print_messages(found, _COLUMNS, as_json=as_json, nothing="No customers found.")


@app.command
async def show(customer_id: Annotated[str, Parameter(name="ID")], /, *, as_json: Json = False) -> None:
    """Show one customer.

    Args:
        customer_id: The customer's UUID.
    """
    from innosystem.customers.v1.customer_service_pb2 import GetCustomerRequest

    async with platform() as client:
        response = await client.customers.GetCustomer(GetCustomerRequest(customer_id=customer_id))
    print_message(response.customer, as_json=as_json)


@app.command
async def create(*, name: str, email: str, customer_id: str = "", as_json: Json = False) -> None:
    """Create a customer and print its API key, this once.

    Args:
        name: The customer's name.
        email: The customer's email address, which must be unique.
        customer_id: The customer's UUID; by default a new one. Repeating the call changes nothing.
    """
    from innosystem.client import create_customer
    from innosystem.customers.v1.customer_service_pb2 import CreateCustomerRequest

    request = CreateCustomerRequest(customer_id=customer_id, name=name, email=email)
    async with platform() as client:
        response = await create_customer(client.customers, request)
    if as_json:
        print_json(response)
        return
    print_message(response.customer, as_json=False)
    if response.api_key:
        _print_key(response.api_key)
    else:
        print(
            "\nThe customer existed before: its API key was shown at its creation. If the key is lost, "
            f"`innosystem customers rotate-key {response.customer.id}` creates another."
        )


@app.command(name="keys")
async def list_keys(
    customer_id: Annotated[str, Parameter(name="ID")],
    /,
    *,
    filter: Filter = "",
    order_by: OrderBy = "",
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List the API keys of a customer, the newest first.

    A key without `expires_at` works until it is replaced or revoked.

    Args:
        customer_id: The customer's UUID.
    """
    from innosystem.customers.v1.customer_service_pb2 import ListApiKeysRequest

    request = ListApiKeysRequest(customer_id=customer_id, filter=filter, order_by=order_by)
    async with platform() as client:
        found = await collect(client.customers.ListApiKeys, request, "api_keys", limit)
    print_messages(found, _KEY_COLUMNS, as_json=as_json, nothing="No API keys found.")


@app.command
async def rotate_key(
    customer_id: Annotated[str, Parameter(name="ID")], /, *, overlap_hours: float = 24, as_json: Json = False
) -> None:
    """Create a new API key for a customer and print it, this once.

    Args:
        customer_id: The customer's UUID.
        overlap_hours: How long the present key still works, at most 720; with 0 it ends immediately.
    """
    from innosystem.client import rotate_api_key
    from innosystem.customers.v1.customer_service_pb2 import RotateApiKeyRequest

    request = RotateApiKeyRequest(customer_id=customer_id)
    request.overlap.FromTimedelta(timedelta(hours=overlap_hours))
    async with platform() as client:
        response = await rotate_api_key(client.customers, request)
    if as_json:
        print_json(response)
        return
    print_message(response.key, as_json=False)
    _print_key(response.api_key)


@app.command
async def revoke_key(
    customer_id: Annotated[str, Parameter(name="ID")],
    api_key_id: Annotated[str, Parameter(name="KEY_ID")],
    /,
    *,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Revoke an API key immediately and for good.

    Args:
        customer_id: The customer's UUID.
        api_key_id: The key's UUID, as `innosystem customers keys` shows it.
    """
    plan = [f"The API key {api_key_id} of the customer {customer_id} will be refused from now on."]
    if not confirmed(plan, yes=yes, dry_run=dry_run):
        return
    from innosystem.customers.v1.customer_service_pb2 import RevokeApiKeyRequest

    request = RevokeApiKeyRequest(customer_id=customer_id, api_key_id=api_key_id)
    async with platform() as client:
        response = await client.customers.RevokeApiKey(request)
    print_message(response.key, as_json=as_json)


def _print_key(api_key: str) -> None:
    print(f"\nAPI key, shown only this once: {api_key}")
