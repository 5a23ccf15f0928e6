"""The fields of a job type that an operator sets: as options, and as lines of YAML."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias, get_args

from cyclopts import Parameter

from tools.cli.commands.job_types.external_api import set_external_api, show_external_api
from tools.cli.editing import EditedField, Value
from tools.cli.interrupts import interruptible
from tools.cli.money import WHOLE, Amount, Money, read_money, read_whole
from tools.cli.options import ANY_CASE, PriorityName
from tools.cli.output import cell
from tools.cli.times import Duration, read_duration, show_duration
from tools.cli.unit_prices import UnitPriceOption, read_unit_price, show_unit_price
from tools.errors import UsageError

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration as DurationMessage

    from innosystem.jobs.v1.job_type_pb2 import JobType

ProcessorTypeName: TypeAlias = Literal["SYNC", "ASYNC", "BATCH", "EXTERNAL_API", "WEBHOOK", "UNSPECIFIED"]

WRITABLE: Final = (
    "name",
    "description",
    "processing_logic_id",
    "processor_type",
    "standard_cost_cents",
    "enabled",
    "queue",
    "default_priority",
    "max_attempts",
    "timeout",
    "expires_after",
    "retry_policy",
    "input_schema_json",
    "metering",
    "external_api",
    "webhook",
)
"""The paths of an update_mask."""

HELP: Final = {
    "name": "The name by which jobs are submitted, such as `python.source-stats`.",
    "processing_logic_id": "The handler that runners call.",
    "processor_type": (
        "SYNC if the handler is a blocking function, ASYNC if it is a coroutine: runners log a warning if it is not. "
        "UNSPECIFIED, the default, for either. --external-api and --webhook set EXTERNAL_API and WEBHOOK."
    ),
    "standard_cost": "The price of one job with its currency, such as 0.05EUR; 0EUR for free jobs.",
    "unit": "What usage is counted in, such as token: jobs that report usage then cost what they use.",
    "unit_price": "The price of one unit with its currency, such as 0.00002EUR.",
    "maximum_cost": "The most that a job costs by usage, such as 5EUR; as much is reserved at submission.",
    "description": "A description for people.",
    "queue": "The queue in which jobs wait: lower-case letters, digits and dashes; `default` if it is not set.",
    "default_priority": "The priority of jobs that are submitted without one; MEDIUM if it is not set.",
    "max_attempts": (
        "How many times a job is run before it fails for good: 1 to 100, where 1 is no retry; 10 if it is not set."
    ),
    "timeout": "How long one run may take: 1s to 24h; 5m if it is not set.",
    "expires_after": "How long a job may wait to be started before it is cancelled: 1s to 90d; 7d if it is not set.",
    "retry_initial_backoff": "How long a job waits after its first failed run: 1ms to 24h; 1s if it is not set.",
    "retry_multiplier": "The factor by which the wait grows with each further failed run: 1 to 10; 2 if it is not set.",
    "retry_max_backoff": "The longest wait between two runs: 1ms to 24h; 1h if it is not set.",
    "enabled": "Whether jobs may be submitted.",
    "input_schema": "A JSON Schema (draft 2020-12) against which inputs are checked at submission.",
    "external_api": "The HTTP endpoint called in place of a handler: url, method, headers, body, rules, output.",
    "webhook": (
        "The endpoint that jobs are posted to, as JSON of the contract's Webhook: "
        '{"url": "https://hooks.example.com/jobs", "signing_secret": "hooks", "callback_timeout": "3600s"}.'
    ),
}


_IN_FILES: Final = ("input_schema", "external_api", "webhook")


def _help(name: str) -> Parameter:
    return Parameter(help=HELP[name], show_default=False)


@Parameter(name="*")
@dataclass(frozen=True)
class JobTypeOptions:
    """Options of `create` and `update`; None leaves a field as it is."""

    unit: Annotated[str | None, _help("unit")] = None
    unit_price: Annotated[UnitPriceOption, _help("unit_price")] = None
    maximum_cost: Annotated[Amount, _help("maximum_cost")] = None
    processing_logic_id: Annotated[str | None, _help("processing_logic_id")] = None
    description: Annotated[str | None, _help("description")] = None
    queue: Annotated[str | None, _help("queue")] = None
    default_priority: Annotated[PriorityName | None, ANY_CASE, _help("default_priority")] = None
    max_attempts: Annotated[int | None, WHOLE, _help("max_attempts")] = None
    timeout: Annotated[Duration, _help("timeout")] = None
    expires_after: Annotated[Duration, _help("expires_after")] = None
    retry_initial_backoff: Annotated[Duration, _help("retry_initial_backoff")] = None
    retry_multiplier: Annotated[float | None, _help("retry_multiplier")] = None
    retry_max_backoff: Annotated[Duration, _help("retry_max_backoff")] = None
    input_schema: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            show_default=False,
            help=f"A file, or - for standard input, with a{HELP['input_schema'][1:]}",
        ),
    ] = None
    external_api: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            show_default=False,
            help=f"A YAML file, or - for standard input, with t{HELP['external_api'][1:]}",
        ),
    ] = None
    webhook: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            show_default=False,
            help=f"A file, or - for standard input, with t{HELP['webhook'][1:]}",
        ),
    ] = None
    enabled: Annotated[bool | None, _help("enabled")] = None

    def set_on(self, job_type: "JobType") -> None:
        """Set the given fields.

        Args:
            job_type: The job type to change.

        Raises:
            UsageError: A value is not allowed; names its option.
            OSError: The file with the schema or the endpoint can't be read.
        """
        for name, value in vars(self).items():
            if value is not None:
                set_option(job_type, name, _read_file(value) if name in _IN_FILES else value)
        check_metering(job_type)


def set_option(job_type: "JobType", name: str, value: Any) -> None:
    """Set a field as its option says.

    Raises:
        UsageError: The value is not allowed; names the option.
    """
    try:
        FIELDS[name].write(job_type, value)
    except ValueError as error:
        raise UsageError(f"--{name.replace('_', '-')}: {error}") from None


def _read_file(name: str) -> str:
    with interruptible():
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")


@dataclass(frozen=True)
class JobTypeField:
    """A field of a job type.

    Attributes:
        read: Returns the value that a text means, and raises ValueError for none.
        write: Sets that value on a job type, and raises ValueError for one that is not allowed.
        show: Returns the value of a job type as `read` reads it.
    """

    read: Callable[[str], Any]
    write: Callable[["JobType", Any], None]
    show: Callable[["JobType"], Value]


def edited_fields() -> "list[EditedField[JobType]]":
    """Return all fields in the order in which they are edited."""

    def edited(name: str, field: JobTypeField) -> "EditedField[JobType]":
        return EditedField(name, HELP[name], field.show, lambda job_type, text: field.write(job_type, field.read(text)))

    return [edited(name, FIELDS[name]) for name in HELP]


def set_price(job_type: "JobType", price: Money) -> None:
    """Set the price of a job.

    Raises:
        ValueError: It is in another currency than the job type.
    """
    if price.currency != job_type.currency:
        raise ValueError(f"the job type is priced in {job_type.currency}, which can't be changed to {price.currency}")
    job_type.standard_cost_cents = price.cents


def check_metering(job_type: "JobType") -> None:
    """Check that a price by usage is whole.

    Raises:
        UsageError: A part of it is missing.
    """
    metering = job_type.metering
    given = bool(metering.unit), bool(metering.unit_price_micro_cents), bool(metering.max_cost_cents)
    if any(given) and not all(given):
        raise UsageError("a price by usage needs all of it: --unit token --unit-price 0.00002EUR --maximum-cost 5EUR")


def _metered(
    name: str, read: Callable[[str], Any], value_of: Callable[[Any], Any], show: Callable[[Any, str], Value]
) -> JobTypeField:
    """Return a part of the price by usage; empty texts of all parts mean none.

    Args:
        name: The field of `Metering`.
        read: Returns the value that a text means.
        value_of: Returns what is stored of a value.
        show: Formats what is stored, with its currency.
    """

    def write(job_type: "JobType", value: Any) -> None:
        if (currency := getattr(value, "currency", None)) not in (None, job_type.currency):
            raise ValueError(f"the job type is priced in {job_type.currency}, and not in {currency}")
        metering = job_type.metering
        setattr(metering, name, value_of(value) if value else type(getattr(metering, name))())
        if not metering.ListFields():
            job_type.ClearField("metering")

    def shown(job_type: "JobType") -> Value:
        stored = getattr(job_type.metering, name)
        return show(stored, job_type.currency) if stored else ""

    return JobTypeField(lambda text: read(text) if text else None, write, shown)


def show_price(job_type: "JobType") -> str:
    """Format the price of a job."""
    return _show_money(job_type.standard_cost_cents, job_type.currency)


def _show_money(cents: int, currency: str) -> str:
    from services.kit.currencies import money

    return money(cents, currency)


def _plain(name: str, read: Callable[[str], Any] = str) -> JobTypeField:
    return JobTypeField(
        read, lambda job_type, value: setattr(job_type, name, value), lambda job_type: getattr(job_type, name)
    )


def _enum(name: str, prefix: str, names: tuple[str, ...]) -> JobTypeField:
    def read(text: str) -> str:
        if text.upper() not in names:
            raise ValueError(f"{text!r} is not {' or '.join(names)}")
        return text.upper()

    def show(job_type: "JobType") -> str:
        return cell(job_type, name)

    # Protobuf takes the name of a value as well as its number.
    return JobTypeField(read, lambda job_type, value: setattr(job_type, name, prefix + value), show)


def _within(lowest: str, highest: str, read: Callable[[str], Any], value: Any, note: str = "") -> None:
    if not read(lowest) <= value <= read(highest):
        raise ValueError(f"{lowest} to {highest}{note}")


def _matching(name: str, pattern: str, meaning: str) -> JobTypeField:
    def write(job_type: "JobType", value: str) -> None:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"{value!r} is not {meaning}")
        setattr(job_type, name, value)

    return JobTypeField(str, write, lambda job_type: getattr(job_type, name))


def _set_attempts(job_type: "JobType", value: int) -> None:
    # The contract takes 0 for the default, which nobody means who types it.
    _within("1", "100", int, value, "; 1 means that a failed job is not run again")
    job_type.max_attempts = value


def _duration(lowest: str, highest: str, of: Callable[["JobType"], "DurationMessage"]) -> JobTypeField:
    def write(job_type: "JobType", value: timedelta) -> None:
        _within(lowest, highest, read_duration, value)
        of(job_type).FromTimedelta(value)

    return JobTypeField(read_duration, write, lambda job_type: show_duration(of(job_type).ToTimedelta()))


def _set_multiplier(job_type: "JobType", value: float) -> None:
    _within("1", "10", float, value)
    job_type.retry_policy.multiplier = value


def _set_schema(job_type: "JobType", text: str) -> None:
    job_type.input_schema_json = text


def _set_webhook(job_type: "JobType", text: str) -> None:
    from google.protobuf.json_format import Parse, ParseError

    job_type.ClearField("webhook")
    if text.strip():
        try:
            Parse(text, job_type.webhook)
            job_type.processor_type = "PROCESSOR_TYPE_WEBHOOK"  # type: ignore[assignment] # protobuf takes names
            job_type.processing_logic_id = "innosystem.webhook"
        except ParseError as error:
            raise ValueError(f"no JSON of the contract's Webhook: {error}") from None


def _show_webhook(job_type: "JobType") -> str:
    from google.protobuf.json_format import MessageToJson

    return MessageToJson(job_type.webhook, preserving_proto_field_name=True) if job_type.HasField("webhook") else ""


def _indented(text: str) -> str:
    """Return JSON that a person can edit; a text of several lines as it is."""
    return text if "\n" in text or not text else json.dumps(json.loads(text), indent=2, ensure_ascii=False)


def _read_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number, such as 2 or 1.5") from None


def _read_yes_or_no(text: str) -> bool:
    if text.lower() not in ("true", "false", "yes", "no"):
        raise ValueError(f"{text!r} is not true or false")
    return text.lower() in ("true", "yes")


FIELDS: Final = {
    "name": _matching(
        "name",
        "[A-Za-z0-9][A-Za-z0-9._-]{0,99}",
        "1 to 100 letters, digits, dots, dashes and underscores, the first of them a letter or a digit",
    ),
    "processing_logic_id": _plain("processing_logic_id"),
    "processor_type": _enum("processor_type", "PROCESSOR_TYPE_", get_args(ProcessorTypeName)),
    "standard_cost": JobTypeField(read_money, set_price, show_price),
    "unit": _metered("unit", str, str, lambda unit, currency: unit),
    "unit_price": _metered("unit_price_micro_cents", read_unit_price, lambda price: price.micro_cents, show_unit_price),
    "maximum_cost": _metered("max_cost_cents", read_money, lambda price: price.cents, _show_money),
    "description": _plain("description"),
    "queue": _matching(
        "queue",
        "[a-z0-9][a-z0-9-]{0,49}",
        "1 to 50 lower-case letters, digits and dashes, the first of them no dash",
    ),
    "default_priority": _enum("default_priority", "PRIORITY_", get_args(PriorityName)),
    "max_attempts": JobTypeField(read_whole, _set_attempts, lambda job_type: job_type.max_attempts),
    "timeout": _duration("1s", "24h", lambda job_type: job_type.timeout),
    "expires_after": _duration("1s", "90d", lambda job_type: job_type.expires_after),
    "retry_initial_backoff": _duration("1ms", "24h", lambda job_type: job_type.retry_policy.initial_backoff),
    "retry_multiplier": JobTypeField(_read_number, _set_multiplier, lambda job_type: job_type.retry_policy.multiplier),
    "retry_max_backoff": _duration("1ms", "24h", lambda job_type: job_type.retry_policy.max_backoff),
    "enabled": _plain("enabled", _read_yes_or_no),
    "input_schema": JobTypeField(str, _set_schema, lambda job_type: _indented(job_type.input_schema_json)),
    "external_api": JobTypeField(str, set_external_api, show_external_api),
    "webhook": JobTypeField(str, _set_webhook, _show_webhook),
}
"""The fields by the names of their options."""
