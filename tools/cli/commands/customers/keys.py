"""`innosystem customers keys`, `rotate-key` and `resolve-key`."""

import sys
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, Final, Literal, TypeAlias

from cyclopts import App, Parameter

from tools.cli.commands.customers.columns import API_KEYS, CUSTOMERS
from tools.cli.confirmation import DryRun, Yes, confirmed
from tools.cli.connect import platform
from tools.cli.ids import CUSTOMER, Listed, whole_id
from tools.cli.listing import collect
from tools.cli.options import ANY_CASE, Limit, OrderBy, filter_such_as
from tools.cli.output import TABLE, Columns, Output, print_document, print_list, print_one
from tools.cli.secret_input import read_secret
from tools.cli.times import Duration, show_duration

Id = Annotated[str, Parameter(name="ID", help="The customer's email address, or UUID or its unique start.")]
ScopeName: TypeAlias = Literal["READ", "SUBMIT"]
_BOTH: Final[tuple[ScopeName, ...]] = ("READ", "SUBMIT")

app = App(name="keys", help="List, create or revoke the API keys of a customer.")


def _list_request(**fields: Any) -> Any:
    from innosystem.customers.v1.customer_service_pb2 import ListApiKeysRequest

    return ListApiKeysRequest(**fields)


_API_KEY: Final = Listed("API key", lambda client: client.customers.ListApiKeys, _list_request, "api_keys")


@app.command(name="list")
async def list_keys(
    customer_id: Id,
    /,
    *,
    filter: Annotated[str, filter_such_as('prefix = "inno_AbCdEfG"')] = "",
    order_by: OrderBy = "",
    limit: Limit = 50,
    output: Output = TABLE,
) -> None:
    """List the API keys of a customer, the newest first.

    A key without an end works until it is revoked, and one without a name until a rotation replaces it.
    """
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
        print(f"The keys before it work {still}: `innosystem customers keys list {response.key.customer_id}`")


@app.command
async def create(
    customer_id: Id,
    /,
    *,
    name: str,
    scope: Annotated[tuple[ScopeName, ...], ANY_CASE, Parameter(negative="", show_default=False)] = _BOTH,
    expires_in: Duration | None = None,
    api_key_id: Annotated[str, Parameter(show_default=False)] = "",
    output: Output = TABLE,
) -> None:
    """Create a further API key for a customer and print it, this once. Rotations leave it as it is.

    Args:
        name: What the key is for.
        scope: What the key may do, by default both: READ to read and watch, SUBMIT to submit, cancel and retry.
        expires_in: How long the key works: 1s to 3650d; by default until it is revoked.
        api_key_id: The key's UUID; by default a new one. Repeating the call changes nothing.
    """
    from innosystem.client import create_api_key
    from innosystem.customers.v1.customer_service_pb2 import CreateApiKeyRequest
    from innosystem.options.v1 import options_pb2

    async with platform() as client:
        owner = await whole_id(client, CUSTOMER, customer_id)
        request = CreateApiKeyRequest(customer_id=owner, name=name, api_key_id=api_key_id)
        request.scopes.extend(options_pb2.Scope.Value(f"SCOPE_{one}") for one in dict.fromkeys(scope))
        if expires_in is not None:
            request.ttl.FromTimedelta(expires_in)
        response = await create_api_key(client.customers, request)
    print_with_key(response, response.key, API_KEYS, output)
    if not response.api_key:
        sys.stderr.write("The key existed before, and was shown at its creation. If it is lost, create another one.\n")


@app.command(name="revoke")
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
        api_key_id: The key's UUID, as `innosystem customers keys list` shows it, or its unique start.
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

    api_key = read_secret("API key")
    async with platform() as client:
        response = await client.customers.ResolveApiKey(ResolveApiKeyRequest(api_key=api_key))
    print_one(response.customer, CUSTOMERS, output)


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
