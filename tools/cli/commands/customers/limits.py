"""`innosystem customers limits`."""

from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from tools.cli.commands.customers.keys import Id
from tools.cli.connect import platform
from tools.cli.ids import CUSTOMER, whole_id
from tools.cli.options import Etag
from tools.cli.output import TABLE, Columns, Output, field, print_one
from tools.errors import UsageError

if TYPE_CHECKING:
    from innosystem.client import Innosystem
    from innosystem.customers.v1.customer_pb2 import Customer, CustomerLimits

app = App(name="limits", help="Show or set the limits of one customer that differ from the settings of the services.")

LIMITS: Final = Columns((field("requests"), field("submissions"), field("input_bytes_per_day"), field("jobs_waiting")))
_DEFAULT: Final = "default"
Limit = Annotated[str | None, Parameter(show_default=False)]


@app.command
async def show(customer_id: Id, /, *, output: Output = TABLE) -> None:
    """Show the limits of a customer. What is not set is as the settings say; 0 stands for no limit."""
    async with platform() as client:
        customer = await _get(client, customer_id)
    print_one(customer.limits, LIMITS, output)


@app.command(name="set")
async def set_limits(
    customer_id: Id,
    /,
    *,
    requests: Limit = None,
    submissions: Limit = None,
    input_bytes_per_day: Limit = None,
    jobs_waiting: Limit = None,
    etag: Etag = "",
    output: Output = TABLE,
) -> None:
    """Set limits of a customer; what is not given stays as it is. It takes effect within seconds.

    Args:
        requests: Calls of the customer's clients at each service: a second and in a burst, such as 50/100; 0 for no
            limit, default for that of the settings.
        submissions: Jobs that are submitted for the customer, in the same form.
        input_bytes_per_day: Bytes of the inputs of these jobs; 0 for no limit, default for that of the settings.
        jobs_waiting: Jobs of the customer that are not final, in the same form.
    """
    from innosystem.customers.v1.customer_service_pb2 import UpdateCustomerRequest

    given = {
        "requests": requests,
        "submissions": submissions,
        "input_bytes_per_day": input_bytes_per_day,
        "jobs_waiting": jobs_waiting,
    }
    wanted = {name: text for name, text in given.items() if text is not None}
    if not wanted:
        raise UsageError("nothing to change: give --requests, --submissions, --input-bytes-per-day or --jobs-waiting")
    async with platform() as client:
        customer = await _get(client, customer_id)
        for name, text in wanted.items():
            _set(customer.limits, name, text)
        customer.etag = etag or customer.etag
        request = UpdateCustomerRequest(customer=customer)
        request.update_mask.paths.append("limits")
        response = await client.customers.UpdateCustomer(request)
    print_one(response.customer.limits, LIMITS, output)


def _set(limits: "CustomerLimits", name: str, text: str) -> None:
    from services.kit.rates import Rate

    option = f"--{name.replace('_', '-')}"
    limits.ClearField(name)  # type: ignore[arg-type] # one of the fields
    if text == _DEFAULT:
        return
    if name in ("input_bytes_per_day", "jobs_waiting"):
        if not text.isdecimal():
            raise UsageError(f"{option} {text}: must be a whole number, 0 for no limit, or {_DEFAULT}")
        setattr(limits, name, int(text))
        return
    try:
        rate = Rate.parse(text)
    except ValueError as error:
        raise UsageError(f"{option} {text}: {error}, or {_DEFAULT}") from None
    limit = getattr(limits, name)
    limit.per_second, limit.burst = rate.per_second, rate.burst


async def _get(client: "Innosystem", customer_id: str) -> "Customer":
    from innosystem.customers.v1.customer_service_pb2 import GetCustomerRequest

    request = GetCustomerRequest(customer_id=await whole_id(client, CUSTOMER, customer_id))
    return (await client.customers.GetCustomer(request)).customer
