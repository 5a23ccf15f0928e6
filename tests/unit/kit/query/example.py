"""A resource with a field of every type, for the tests of queries."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, IntEnum
from uuid import UUID

from hypothesis import strategies as st

from services.kit.query.fields import (
    BooleanField,
    EnumField,
    IntegerField,
    StringField,
    StringMapField,
    TimestampField,
    UuidField,
)
from services.kit.query.resource import Resource


class Size(IntEnum):
    LARGE = 0
    MEDIUM = 1
    SMALL = 2


class State(Enum):
    # The values sort otherwise than the names and the order of declaration.
    OPEN = "z-open"
    SHUT = "Shut"
    LOST = "lost"


@dataclass(frozen=True)
class Parcel:
    id: UUID
    name: str
    note: str | None
    count: int
    cost_cents: int | None
    fragile: bool
    size: Size
    state: State
    created_at: datetime
    sent_at: datetime | None
    owner_id: UUID | None
    labels: dict[str, str] | None = field(hash=False)


ID = UuidField("id", sortable=True)
NAME = StringField("name", sortable=True)
NOTE = StringField("note")
COUNT = IntegerField("count", sortable=True)
COST_CENTS = IntegerField("cost_cents")
FRAGILE = BooleanField("fragile", sortable=True)
SIZE = EnumField("size", Size, sortable=True)
STATE = EnumField("status", State, attribute="state", sortable=True)
CREATED_AT = TimestampField("created_at", sortable=True)
SENT_AT = TimestampField("sent_at")
OWNER_ID = UuidField("owner_id")
LABELS = StringMapField("labels")
SECRET = StringField("secret", filterable=False)

PARCELS = Resource(
    "parcels",
    (
        ID,
        NAME,
        NOTE,
        COUNT,
        COST_CENTS,
        FRAGILE,
        SIZE,
        STATE,
        CREATED_AT,
        SENT_AT,
        OWNER_ID,
        LABELS,
        SECRET,
    ),
    default_order=(CREATED_AT.descending(),),
)

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
PARCEL = Parcel(
    id=UUID(int=1),
    name="alpha",
    note=None,
    count=3,
    cost_cents=None,
    fragile=False,
    size=Size.MEDIUM,
    state=State.OPEN,
    created_at=NEW_YEAR,
    sent_at=None,
    owner_id=None,
    labels={"team": "blue"},
)

# Few values, so that there are ties and hits; each is there for a reason: the wildcards of LIKE,
# upper and lower case and accents (where locales and code points disagree), characters beyond the
# BMP (where UTF-16 and UTF-8 disagree).
TEXTS = ["", "a", "A", "b", "B", "ab", "aB%", "a_b", "a\\b", "%", "_", "a/b", "*", "ä", "z", "é"]
TEXTS += ["\uffee", "\U0001f600", "a b", "a-b", 'quo"te', "it's", " a", "a%b_c\\", "Z", "1", "{}", "\\"]
texts = st.sampled_from(TEXTS) | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=4)
moments = st.sampled_from([timedelta(0), timedelta(microseconds=1), timedelta(days=-400)]).map(
    lambda step: NEW_YEAR + step
)
integers = st.sampled_from([0, 1, -1, 5, 2**31 - 1, -(2**31)])
uuids = st.integers(0, 3).map(lambda number: UUID(int=number << 62))
maps = st.dictionaries(texts, texts, max_size=2)

parcels = st.builds(
    Parcel,
    id=st.uuids(),
    name=texts,
    note=st.none() | texts,
    count=integers,
    cost_cents=st.none() | integers,
    fragile=st.booleans(),
    size=st.sampled_from(Size),
    state=st.sampled_from(State),
    created_at=moments,
    sent_at=st.none() | moments,
    owner_id=st.none() | uuids,
    labels=st.none() | maps,
)
parcel_lists = st.lists(parcels, max_size=25, unique_by=lambda parcel: parcel.id)

orders = st.lists(
    st.tuples(
        st.sampled_from([f.name for f in PARCELS.fields if f.sortable]),
        st.sampled_from(["", " asc", " desc"]),
    ),
    max_size=4,
    unique_by=lambda order: order[0],
).map(lambda terms: ", ".join(name + direction for name, direction in terms))


def parcel(**changes: object) -> Parcel:
    """An example with some things changed."""
    return replace(PARCEL, **changes)  # type: ignore[arg-type]
