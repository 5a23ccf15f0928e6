"""`innosystem customers`."""

from typing import Annotated

from cyclopts import App, Parameter

from services.cli.connect import platform
from services.cli.listing import collect
from services.cli.options import Filter, Json, Limit, OrderBy
from services.cli.output import print_json, print_message, print_messages

app = App(name="customers", help="List, show or create customers.")

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
        name: What people call the customer.
        email: Its address, which no other customer has.
        customer_id: Its UUID; by default a new one. The same call again changes nothing.
    """
    from innosystem.customers.v1.customer_service_pb2 import CreateCustomerRequest

    request = CreateCustomerRequest(customer_id=customer_id, name=name, email=email)
    async with platform() as client:
        response = await client.customers.CreateCustomer(request)
    if as_json:
        print_json(response)
        return
    print_message(response.customer, as_json=False)
    if response.api_key:
        print(f"\nAPI key, shown only this once: {response.api_key}")
