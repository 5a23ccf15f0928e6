"""`innosystem customers`."""

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from tools.cli.commands.customers.columns import CUSTOMERS
from tools.cli.commands.customers.keys import Id, print_with_key, resolve_key, rotate_key
from tools.cli.commands.customers.keys import app as keys
from tools.cli.commands.customers.limits import app as limits
from tools.cli.confirmation import DryRun, Yes, confirmed
from tools.cli.connect import platform
from tools.cli.editing import EditedField, KeptText
from tools.cli.editing import edit as edit_as_yaml
from tools.cli.ids import CUSTOMER, whole_id
from tools.cli.listing import collect
from tools.cli.options import Etag, Limit, OrderBy, filter_such_as
from tools.cli.output import TABLE, Output, print_list, print_one
from tools.cli.updates import copied, mask_of
from tools.errors import UsageError

if TYPE_CHECKING:
    from innosystem.client import Innosystem
    from innosystem.customers.v1.customer_pb2 import Customer

app = App(
    name="customers",
    help="List, show, create, update, edit, deactivate or activate customers; manage their API keys and limits.",
)
app.command(keys)
for _command in (rotate_key, resolve_key):
    app.command(_command)
app.command(limits)

_WRITABLE = ("name", "email")


@app.command(name="list")
async def list_customers(
    *,
    filter: Annotated[str, filter_such_as('active = true AND name = "A*"')] = "",
    order_by: OrderBy = "",
    limit: Limit = 50,
    output: Output = TABLE,
) -> None:
    """List customers, the newest first."""
    from innosystem.customers.v1.customer_service_pb2 import ListCustomersRequest

    request = ListCustomersRequest(filter=filter, order_by=order_by)
    async with platform() as client:
        found = await collect(client.customers.ListCustomers, request, "customers", limit)
    print_list(found, CUSTOMERS, output, nothing="No customers found.")


@app.command
async def show(customer_id: Id, /, *, output: Output = TABLE) -> None:
    """Show one customer."""
    async with platform() as client:
        customer = await _get(client, customer_id)
    print_one(customer, CUSTOMERS, output)


@app.command
async def create(
    *, name: str, email: str, customer_id: Annotated[str, Parameter(show_default=False)] = "", output: Output = TABLE
) -> None:
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
    print_with_key(response, response.customer, CUSTOMERS, output)
    if not response.api_key:
        sys.stderr.write(
            "The customer existed before: its API key was shown at its creation. If the key is lost, "
            f"`innosystem customers rotate-key {response.customer.id}` creates another.\n"
        )


@app.command
async def update(
    customer_id: Id,
    /,
    *,
    name: Annotated[str | None, Parameter(show_default=False)] = None,
    email: Annotated[str | None, Parameter(show_default=False)] = None,
    etag: Etag = "",
    output: Output = TABLE,
) -> None:
    """Change the name or the email address of a customer.

    Args:
        name: The customer's name.
        email: The customer's email address, which must be unique.
    """
    if name is None and email is None:
        raise UsageError("nothing to change: give --name or --email")
    async with platform() as client:
        current = await _get(client, customer_id)
    wanted = copied(current)
    wanted.name = current.name if name is None else name
    wanted.email = current.email if email is None else email
    wanted.etag = etag or current.etag
    _print_changed(current, await _send(current, wanted), output)


@app.command
async def edit(customer_id: Id, /, *, kept: KeptText = None, output: Output = TABLE) -> None:
    """Edit a customer as YAML in the editor of VISUAL or EDITOR."""
    fields = [
        _edited("name", "The customer's name."),
        _edited("email", "The customer's email address, which must be unique."),
    ]
    async with platform() as client:
        current = await _get(client, customer_id)
    changed = await edit_as_yaml(
        f"Customer {current.id}",
        current,
        fields,
        lambda wanted: _send(current, wanted),
        instead=f"`innosystem customers update {current.id} --name NAME`",
        command=f"innosystem customers edit {current.id}",
        kept=kept,
    )
    _print_changed(current, changed, output)


def _edited(name: str, comment: str) -> "EditedField[Customer]":
    return EditedField(
        name,
        comment,
        lambda customer: str(getattr(customer, name)),
        lambda customer, text: setattr(customer, name, text),
    )


async def _send(current: "Customer", wanted: "Customer") -> "Customer | None":
    """Send the fields that differ, and return the changed customer; None if none differs."""
    from innosystem.customers.v1.customer_service_pb2 import UpdateCustomerRequest

    mask = mask_of(current, wanted, _WRITABLE)
    if not mask.paths:
        return None
    async with platform() as client:
        return (
            await client.customers.UpdateCustomer(UpdateCustomerRequest(customer=wanted, update_mask=mask))
        ).customer


def _print_changed(current: "Customer", changed: "Customer | None", output: Output) -> None:
    if changed is None:
        sys.stderr.write("Nothing was changed.\n")
        if output.for_people:
            return
    print_one(changed or current, CUSTOMERS, output)


@app.command
async def deactivate(
    customer_id: Id, /, *, etag: Etag = "", yes: Yes = False, dry_run: DryRun = False, output: Output = TABLE
) -> None:
    """Refuse further jobs of a customer. Jobs that were accepted before run and are charged.

    Jobs that wait or run are counted first, and then nothing is changed without your confirmation.
    """
    from innosystem.customers.v1.customer_service_pb2 import DeleteCustomerRequest
    from tools.cli.commands.jobs.selection import CANCEL, JobSelection, find

    async with platform() as client:
        customer = await _get(client, customer_id)
        if dry_run or not yes:
            unfinished = JobSelection((), f'customer_id = "{customer.id}"', everything=False, limit=None)
            found = await find(client, unfinished, CANCEL)
            plan = [f"{customer.name} ({customer.id}) can no longer submit jobs."]
            if found.jobs:
                jobs = f"{'more than ' if found.more else ''}{found.jobs:,}"
                plan.append(f"Jobs that wait or run: {jobs}. They are run and charged, unless they are cancelled.")
            if not confirmed(plan, yes=not found.jobs, dry_run=dry_run):
                return
        request = DeleteCustomerRequest(customer_id=customer.id, etag=etag or customer.etag)
        response = await client.customers.DeleteCustomer(request)
    print_one(response.customer, CUSTOMERS, output)


@app.command
async def activate(customer_id: Id, /, *, output: Output = TABLE) -> None:
    """Accept jobs of a customer again."""
    from innosystem.customers.v1.customer_service_pb2 import UndeleteCustomerRequest

    async with platform() as client:
        request = UndeleteCustomerRequest(customer_id=await whole_id(client, CUSTOMER, customer_id))
        response = await client.customers.UndeleteCustomer(request)
    print_one(response.customer, CUSTOMERS, output)


async def _get(client: "Innosystem", customer_id: str) -> "Customer":
    from innosystem.customers.v1.customer_service_pb2 import GetCustomerRequest

    return (
        await client.customers.GetCustomer(
            GetCustomerRequest(customer_id=await whole_id(client, CUSTOMER, customer_id))
        )
    ).customer
