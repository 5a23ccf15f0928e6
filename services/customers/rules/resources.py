"""The lists of customers and API keys: the fields that callers filter and order by."""

from services.kit.query.fields import BooleanField, CaselessField, StringField, TimestampField, UuidField
from services.kit.query.resource import Resource

ID = UuidField("id", sortable=True)
NAME = StringField("name", sortable=True)
EMAIL = CaselessField("email", sortable=True)
ACTIVE = BooleanField("active")
CREATED_AT = TimestampField("created_at", sortable=True)
UPDATED_AT = TimestampField("updated_at", sortable=True)

CUSTOMERS = Resource(
    "customers",
    (ID, NAME, EMAIL, ACTIVE, CREATED_AT, UPDATED_AT),
    default_order=(CREATED_AT.descending(),),
)

CUSTOMER_ID = UuidField("customer_id")

API_KEYS = Resource(
    "api_keys",
    (
        ID,
        StringField("name"),
        StringField("prefix"),
        CREATED_AT,
        TimestampField("expires_at"),
        TimestampField("last_used_at"),
    ),
    default_order=(CREATED_AT.descending(),),
)
