"""The limits that comments of the contract name are those that are checked, and those that are checked are named."""

import re

import pytest

from services.jobs.rpc import convert
from services.jobs.rules.schemas import payloads
from services.jobs.rules.schemas.schema import WEIGHT_MAX
from services.jobs.rules.submission import HORIZON
from services.jobs.rules.transitions.completion import SNOOZES_MAX
from services.jobs.rules.transitions.progress import CHECKPOINT_BYTES_MAX
from services.kit.data.repositories.search import ROWS_READ_MAX
from services.kit.query.filter import COMPARISONS_MAX, DEPTH_MAX, FILTER_LENGTH_MAX
from services.kit.query.order import ORDER_BY_LENGTH_MAX
from services.kit.query.page import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX
from services.wallets.rpc.convert_verify import (
    _OFFENDERS_DEFAULT,
    _OFFENDERS_MAX,
    _TRANSACTIONS_DEFAULT,
    _TRANSACTIONS_MAX,
)
from services.wallets.rules.books import WALLETS_PER_PAGE
from tests.support.contract_texts import PROTOS, FieldText, comments, fields

# What only a server makes, so that callers need not know how large it may be.
MADE_BY_SERVERS = {"page_token", "etag"}
# What says that it is like another field.
LIKE_ANOTHER = {"BatchCancelJobsRequest.reason"}
# Limits that no rule of the contract has, by the words that name them.
CONSTANTS = {
    "CreateJobRequest.run_at": [f"at most {HORIZON.days} days"],
    "CreateJobRequest.input_json": [
        f"At most {payloads.BYTES_MAX // 1024**2} MiB",
        f"more than {payloads.DIGITS_MAX:,} digits",
    ],
    "ProgressReport.checkpoint_json": [f"at most {CHECKPOINT_BYTES_MAX:,} bytes"],
    "JobError.type": [f"at most {convert._ERROR_TYPE_MAX} characters"],
    "JobError.message": [f"at most {convert._ERROR_MESSAGE_MAX:,} characters"],
    "JobCompletion.snooze": [f"{SNOOZES_MAX} times"],
    "JobType.input_schema_json": ["64 KiB", f"at most {WEIGHT_MAX:,} parts"],
    "VerifyLedgerRequest.page_size": [
        f"at most {WALLETS_PER_PAGE:,} wallets",
        f"0 means {_TRANSACTIONS_DEFAULT:,}",
        f"more than {_TRANSACTIONS_MAX:,} means",
    ],
    "VerifyLedgerRequest.max_offenders": [f"0 means {_OFFENDERS_DEFAULT}", f"more than {_OFFENDERS_MAX:,} means"],
    "ListJobsRequest.page_size": [f"at most {ROWS_READ_MAX:,} jobs"],
    "ListHoldsRequest.page_size": [f"at most {ROWS_READ_MAX:,} holds"],
    "ListTransactionsRequest.page_size": [f"at most {ROWS_READ_MAX:,} transactions"],
}
LIMITS_OF_LISTS = [
    f"{FILTER_LENGTH_MAX:,} characters",
    f"{COMPARISONS_MAX} comparisons",
    f"{DEPTH_MAX}",
    f"{ORDER_BY_LENGTH_MAX:,} characters",
]
LISTS = [one.message for one in fields() if one.name == "order_by"]


def shown(field: FieldText) -> str:
    return f"{field.message.rpartition('.')[2]}.{field.name}"


def length(text: str) -> str:
    """A duration as comments write it."""
    if "nanos" in text:
        return f"{int(re.findall(r'[0-9]+', text)[0]) // 1_000_000} ms"
    seconds = int("".join(re.findall(r"[0-9]+", text)) or 0)
    for unit, size in (("days", 86400), ("h", 3600)):
        if seconds and seconds % size == 0 and (unit == "h" or seconds > size):
            return f"{seconds // size} {unit}"
    return f"{seconds} s" if seconds else "0"


def limits(field: FieldText) -> list[str]:
    """The limits of a field's rules as comments write them."""
    found = []
    rules = field.declaration.partition("[")[2]
    for rule, value in re.findall(r"\b(max_\w+|lte|gt|gte)(?:: | = )(\{[^}]*\}|[0-9]+)", rules):
        if value.startswith("{"):
            found.append(length(value))
        elif rule != "gte" or value != "0":
            found.append("64 KiB" if value == "65536" else f"{int(value):,}")
    # A name: a first character, and so many more.
    found += [str(int(more) + 1) for more in re.findall(r"\]\{0,([0-9]+)\}\$", rules)]
    return found


LIMITED = [
    one for one in fields() if limits(one) and one.name not in MADE_BY_SERVERS and shown(one) not in LIKE_ANOTHER
]
NUMBERED = [one for one in fields() if re.search(r"at most [0-9]|[0-9] to [0-9]", one.comment)]


@pytest.mark.parametrize("field", LIMITED, ids=shown)
def test_a_limit_that_is_checked_is_named(field: FieldText) -> None:
    missing = [one for one in limits(field) if not re.search(rf"(?<![0-9,]){one}(?!,?[0-9])", field.comment)]
    assert not missing, field.comment


@pytest.mark.parametrize("field", NUMBERED, ids=shown)
def test_a_limit_that_is_named_is_checked(field: FieldText) -> None:
    known = " ".join([*limits(field), *CONSTANTS.get(shown(field), ())])
    if field.name in ("filter", "order_by"):
        known += " ".join(LIMITS_OF_LISTS)
    told = re.findall(r"[Aa]t most ([0-9][0-9,]*)\b|\b[0-9]\S* (?:\w+ )?to ([0-9][0-9,]*)\b", field.comment)
    for number in (one.rstrip(",") for pair in told for one in pair if one):
        assert re.search(rf"\b{number}\b", known), (number, field.comment)


@pytest.mark.parametrize(("name", "words"), CONSTANTS.items())
def test_a_limit_of_the_code_is_named_as_it_is(name: str, words: list[str]) -> None:
    [comment] = [one.comment for one in fields() if shown(one) == name]
    assert [one for one in words if one not in comment] == []


@pytest.mark.parametrize("message", LISTS)
def test_the_limits_of_filters_and_orders_are_named(message: str) -> None:
    package = message.rpartition(".")[0]
    of_services = " ".join(text for name, text in comments().items() if name.count("/") == 1 and package in name)
    of_fields = " ".join(one.comment for one in fields() if one.message == message)
    told = f"{of_services} {of_fields}"
    assert [one for one in LIMITS_OF_LISTS if one not in told] == []
    assert f"0 means {PAGE_SIZE_DEFAULT}, more than {PAGE_SIZE_MAX:,} means {PAGE_SIZE_MAX:,}" in of_fields


def test_what_depends_on_a_setting_is_told_with_its_default() -> None:
    defaults = dict(re.findall(r"^#?([A-Z_]+)=(\S+)", (PROTOS.parent / ".env.example").read_text(), flags=re.MULTILINE))
    told = " ".join([*comments().values(), *(one.comment for one in fields())])
    named = re.findall(r"([0-9]+) (?:s|days|times) \(([A-Z]+_[A-Z_]+)\)", told)
    assert len(named) == len(re.findall(r"\([A-Z]+_[A-Z_]+_(?:SECONDS|DAYS|MAX)\)", told))
    assert [(number, name) for number, name in named if defaults[name] != number] == []
