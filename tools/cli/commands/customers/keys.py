"""`innosystem customers keys`, `rotate-key`, `revoke-key` and `resolve-key`."""

import sys
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, Final

from cyclopts import Parameter

from tools.cli.commands.customers.columns import API_KEYS, CUSTOMERS
from tools.cli.confirmation import DryRun, Yes, confirmed
from tools.cli.connect import platform
from tools.cli.ids import CUSTOMER, Listed, whole_id
from tools.cli.interrupts import interruptible
from tools.cli.listing import collect
from tools.cli.options import Limit, OrderBy, filter_such_as
from tools.cli.output import TABLE, Columns, Output, print_document, print_list, print_one
from tools.cli.times import Duration, show_duration

Id = Annotated[str, Parameter(name="ID", help="The customer's email address, or UUID or its unique start.")]


def _list_request(**fields: Any) -> Any:
    from innosystem.customers.v1.customer_service_pb2 import ListApiKeysRequest

    return ListApiKeysRequest(**fields)


_API_KEY: Final = Listed("API key", lambda client: client.customers.ListApiKeys, _list_request, "api_keys")


async def list_keys(
    customer_id: Id,
    /,
    *,
    filter: Annotated[str, filter_such_as('prefix = "inno_AbCdEfG"')] = "",
    order_by: OrderBy = "",
    limit: Limit = 50,
    output: Output = TABLE,
) -> None:
    """List the API keys of a customer, the newest first. A key without an end works until it is replaced or revoked."""
    async with platform() as client:
        owner = await whole_id(client, CUSTOMER, customer_id)
        request = _list_request(customer_id=owner, filter=filter, order_by=order_by)
        found = await collect(client.customers.ListApiKeys, request, "api_keys", limit)
    print_list(found, API_KEYS, output, nothing="No API keys found.")


async def rotate_key(customer_id: Id, /, *, overlap: Duration = timedelta(hours=24), output: Output = TABLE) -> None:
    """Create a new API key for a customer and print it, this once.

    Args:
        overlap: How long the present key still works: 0 to 30d; by default 24h.
    """
    from innosystem.client import rotate_api_key
    from innosystem.customers.v1.customer_service_pb2 import RotateApiKeyRequest

    async with platform() as client:
        request = RotateApiKeyRequest(customer_id=await whole_id(client, CUSTOMER, customer_id))
        request.overlap.FromTimedelta(overlap or timedelta())
        response = await rotate_api_key(client.customers, request)
    print_with_key(response, response.key, API_KEYS, output)
    if output.for_people:
        still = f"for {show_duration(overlap)} more" if overlap else "no longer"
        print(f"The keys before it work {still}: `innosystem customers keys {response.key.customer_id}`")


async def revoke_key(
    customer_id: Id,
    api_key_id: Annotated[str, Parameter(name="KEY_ID")],
    /,
    *,
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = TABLE,
) -> None:
    """Revoke an API key immediately and for good.

    Args:
        api_key_id: The key's UUID, as `innosystem customers keys` shows it, or its unique start.
    """
    from innosystem.customers.v1.customer_service_pb2 import RevokeApiKeyRequest

    async with platform() as client:
        owner = await whole_id(client, CUSTOMER, customer_id)
        keys = replace(_API_KEY, request=partial(_list_request, customer_id=owner))
        key_id = await whole_id(client, keys, api_key_id)
        plan = [f"The API key {key_id} of the customer {owner} will be refused from now on."]
        if not confirmed(plan, yes=yes, dry_run=dry_run):
            return
        request = RevokeApiKeyRequest(customer_id=owner, api_key_id=key_id)
        response = await client.customers.RevokeApiKey(request)
    print_one(response.key, API_KEYS, output)


async def resolve_key(*, output: Output = TABLE) -> None:
    """Show the owner of an API key, which is read from standard input, so that no shell history keeps it."""
    from innosystem.customers.v1.customer_service_pb2 import ResolveApiKeyRequest

    api_key = read_key()
    async with platform() as client:
        response = await client.customers.ResolveApiKey(ResolveApiKeyRequest(api_key=api_key))
    print_one(response.customer, CUSTOMERS, output)


def read_key() -> str:
    """Read an API key from standard input; a terminal does not show it."""
    import getpass

    with interruptible():
        return (getpass.getpass("API key: ") if sys.stdin.isatty() else sys.stdin.readline()).strip()


def print_with_key(response: Any, resource: Any, columns: Columns, output: Output) -> None:
    """Print a response with an API key, which can't be printed again, in any format.

    Args:
        response: The response, for documents.
        resource: Its customer or key, for people, CSV and names.
        columns: The columns of the resource.
        output: The format.
    """
    if output.format not in ("csv", "name") and print_document(response, output):
        return
    print_one(resource, columns, output)
    if response.api_key:
        # Where standard output is a list for a program, the key goes beside it.
        to = sys.stdout if output.for_people else sys.stderr
        print(f"\nAPI key, shown only this once: {response.api_key}", file=to)
