"""Gives what is created its ID before it is sent, so that the call is safe to repeat."""

from typing import Final

from google.protobuf.message import Message

from innosystem.client.identity import new_id

ID_PATHS: Final = {
    "innosystem.customers.v1.CreateCustomerRequest": ("customer_id",),
    "innosystem.jobs.v1.CreateJobRequest": ("job_id",),
    "innosystem.jobs.v1.CreateJobTypeRequest": ("job_type", "id"),
    "innosystem.wallets.v1.CreateWalletRequest": ("wallet_id",),
    "innosystem.wallets.v1.PlaceHoldRequest": ("hold_id",),
}
"""The path of the field that names what a request creates, by the full name of the request."""

BATCH_FIELDS: Final = {
    "innosystem.jobs.v1.BatchCreateJobsRequest": "requests",
    "innosystem.wallets.v1.BatchPlaceHoldsRequest": "requests",
}
"""The repeated field that holds such requests, by the full name of the batch."""


def set_ids(request: Message) -> None:
    """Set the ID of what the request creates, where the caller left it empty.

    The ID is written into the caller's own message: who sends the same message again, after an
    error that left open what happened, asks for the same thing and not for a second one.

    Args:
        request: The request of any call. Requests that create nothing stay as they are.
    """
    name = request.DESCRIPTOR.full_name
    if batch := BATCH_FIELDS.get(name):
        for item in getattr(request, batch):
            set_ids(item)
    elif path := ID_PATHS.get(name):
        *parents, field = path
        for parent in parents:
            if not request.HasField(parent):
                # There is nothing to be created, which the server says better than we could.
                return
            request = getattr(request, parent)
        if not getattr(request, field):
            setattr(request, field, str(new_id()))
