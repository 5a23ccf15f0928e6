"""Between the messages of the customers contract and the domain."""

from innosystem.customers.v1 import customer_pb2
from services.customers.domain import Customer
from services.kit.rpc.convert import timestamp


def customer_message(customer: Customer) -> customer_pb2.Customer:
    """The customer as clients see it: no hash leaves the service."""
    return customer_pb2.Customer(
        id=str(customer.id),
        name=customer.name,
        email=customer.email,
        api_key_prefix=customer.api_key_prefix,
        active=customer.active,
        created_at=timestamp(customer.created_at),
        updated_at=timestamp(customer.updated_at),
        etag=customer.etag,
    )
