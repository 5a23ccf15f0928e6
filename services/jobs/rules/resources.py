"""The lists of jobs and job types: the fields that callers can filter and order by."""

from services.jobs.rules.entities import BillingStatus, JobStatus
from services.jobs.rules.job_types import Priority, ProcessorType
from services.jobs.rules.runners import RunnerState
from services.kit.query.fields import (
    BooleanField,
    EnumField,
    IntegerField,
    MemberField,
    StringField,
    StringListField,
    StringMapField,
    TimestampField,
    UuidField,
)
from services.kit.query.resource import Resource

ID = UuidField("id", sortable=True)
CREATED_AT = TimestampField("created_at", sortable=True)

JOB_TYPE_NAME = StringField("name", sortable=True)
JOB_TYPES = Resource(
    "job_types",
    (
        ID,
        JOB_TYPE_NAME,
        StringField("processing_logic_id"),
        EnumField("processor_type", ProcessorType),
        IntegerField("standard_cost_cents", sortable=True),
        StringField("currency"),
        BooleanField("enabled"),
        BooleanField("paused"),
        StringField("queue"),
        CREATED_AT,
        TimestampField("updated_at", sortable=True),
    ),
    default_order=(JOB_TYPE_NAME.ascending(),),
)

CUSTOMER_ID = UuidField("customer_id")
QUEUE = StringField("queue")
STATUS = EnumField("status", JobStatus)
JOB_TYPE_ID = UuidField("job_type_id")
#: The name of the job type. Jobs are not stored with it: rules/type_names.py.
JOB_TYPE = StringField("job_type")
COMPLETED_AT = TimestampField("completed_at", sortable=True)
JOBS = Resource(
    "jobs",
    (
        ID,
        CUSTOMER_ID,
        JOB_TYPE_ID,
        JOB_TYPE,
        STATUS,
        EnumField("billing_status", BillingStatus),
        EnumField("priority", Priority, sortable=True),
        QUEUE,
        StringMapField("labels"),
        MemberField("error.type", "type", attribute="error"),
        IntegerField("attempt"),
        IntegerField("estimated_cost_cents"),
        IntegerField("cost_cents"),
        CREATED_AT,
        TimestampField("run_at"),
        COMPLETED_AT,
    ),
    default_order=(CREATED_AT.descending(),),
)

HOST = StringField("host", sortable=True)
STARTED_AT = TimestampField("started_at", sortable=True)
RUNNERS = Resource(
    "runners",
    (
        ID,
        EnumField("state", RunnerState),
        HOST,
        StringField("version"),
        StringField("language"),
        StringListField("queues"),
        StringListField("handlers"),
        STARTED_AT,
        # It changes with each announcement, and a list in an order that changes skips rows between its pages.
        TimestampField("last_seen_at"),
    ),
    default_order=(HOST.ascending(), STARTED_AT.ascending()),
)
