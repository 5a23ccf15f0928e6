"""The IDs that users type: a whole UUID, the start of one that only one thing has, or the email of a customer."""

import asyncio
import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tools.errors import CommandError, UsageError

if TYPE_CHECKING:
    from innosystem.client import Innosystem

_FORM: Final = "00000000-0000-0000-0000-000000000000"
_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_SHOWN: Final = 5
_CALLS: Final = 8


@dataclass(frozen=True)
class Listed:
    """A list in which an ID is looked up by its start.

    Attributes:
        one: The name of one entry, in words.
        call: Return the list method of the client.
        request: The name of the module and of the class of its request, and further fields of it.
        field: The field of the response with the entries.
    """

    one: str
    call: Callable[["Innosystem"], Any]
    request: Callable[..., Any]
    field: str


def _request(module: str, name: str) -> Callable[..., Any]:
    """Return the constructor of a request, which is imported when it is called: imports of stubs are slow."""

    def build(**fields: Any) -> Any:
        from importlib import import_module

        return getattr(import_module(f"innosystem.{module}_pb2"), name)(**fields)

    return build


JOB: Final = Listed(
    "job", lambda client: client.jobs.ListJobs, _request("jobs.v1.job_service", "ListJobsRequest"), "jobs"
)
JOB_TYPE: Final = Listed(
    "job type",
    lambda client: client.job_types.ListJobTypes,
    _request("jobs.v1.job_type_service", "ListJobTypesRequest"),
    "job_types",
)
RUNNER: Final = Listed(
    "runner", lambda client: client.jobs.ListRunners, _request("jobs.v1.job_service", "ListRunnersRequest"), "runners"
)
CUSTOMER: Final = Listed(
    "customer",
    lambda client: client.customers.ListCustomers,
    _request("customers.v1.customer_service", "ListCustomersRequest"),
    "customers",
)
WALLET: Final = Listed(
    "wallet",
    lambda client: client.wallets.ListWallets,
    _request("wallets.v1.wallet_service", "ListWalletsRequest"),
    "wallets",
)
HOLD: Final = Listed(
    "hold",
    lambda client: client.wallets.ListHolds,
    _request("wallets.v1.wallet_service", "ListHoldsRequest"),
    "holds",
)


async def whole_id(client: "Innosystem", listed: Listed, text: str) -> str:
    """Return the whole ID for the start of one, or for the email address of a customer; a whole one costs no call.

    Args:
        client: The platform.
        listed: What has the ID.
        text: What the user typed: a UUID or its start, in upper or lower case, with or without its hyphens; or an
            email address.

    Raises:
        CommandError: No ID or several IDs start like that; the message lists the candidates.
    """
    if listed is CUSTOMER and "@" in text:
        return await _customer_with(client, text)
    start = _start(text)
    if start is None:
        forms = "an email address, a UUID" if listed is CUSTOMER else "a UUID"
        raise UsageError(f"{text!r} is no ID of a {listed.one}: give {forms}, or the start of one{_hint(listed, text)}")
    if _UUID.fullmatch(start):
        return start
    # In this order, the primary key has the page side by side.
    request = listed.request(filter=f'id = "{start}*"', order_by="id", page_size=_SHOWN + 1)
    found = [entry.id for entry in getattr(await listed.call(client)(request), listed.field)]
    if not found:
        # What was meant as a name may look like the start of an ID, such as `ada`.
        hint = "" if any(map(str.isdigit, text)) else _hint(listed, text)
        raise CommandError(f"no {listed.one} has an ID that starts with {start}{hint}")
    if len(found) > 1:
        more = ["..."] if len(found) > _SHOWN else []
        candidates = "\n  ".join([*found[:_SHOWN], *more])
        raise CommandError(f"several IDs of a {listed.one} start with {start}: type more of it\n  {candidates}")
    return str(found[0])


async def _customer_with(client: "Innosystem", email: str) -> str:
    """Return the ID of the customer with an email address."""
    # Addresses are unique, in upper and lower case.
    request = CUSTOMER.request(filter=f"email = {json.dumps(email)}", page_size=1)
    found = (await client.customers.ListCustomers(request)).customers
    if not found:
        raise CommandError(f"no customer has the email address {email}: `innosystem customers list` shows them")
    return str(found[0].id)


def _hint(listed: Listed, name: str) -> str:
    if listed is not CUSTOMER:
        return ""
    condition = f"name = {json.dumps(f'{name}*', ensure_ascii=False)}"
    return f"; `innosystem customers list --filter {shlex.quote(condition)}` finds customers by name"


async def whole_ids(client: "Innosystem", listed: Listed, texts: Sequence[str]) -> list[str]:
    """Return the whole IDs for several texts, in their order, as `whole_id` does."""
    calls = asyncio.Semaphore(_CALLS)

    async def resolve(text: str) -> str:
        async with calls:
            return await whole_id(client, listed, text)

    async with asyncio.TaskGroup() as tasks:
        pending = [tasks.create_task(resolve(text)) for text in texts]
    return [task.result() for task in pending]


def _start(text: str) -> str | None:
    """Return the start of a UUID in its canonical form; None if no UUID starts like that."""
    # As it may be copied from a table that cut it.
    digits = text.removesuffix("…").replace("-", "").lower()
    if not re.fullmatch("[0-9a-f]{1,32}", digits):
        return None
    canonical = ""
    for digit in digits:
        canonical += digit
        if _FORM[len(canonical) : len(canonical) + 1] == "-":
            canonical += "-"
    return canonical.removesuffix("-")
