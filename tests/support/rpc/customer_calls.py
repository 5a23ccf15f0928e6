"""Calls of CustomerService that tests share."""

from typing import Any
from uuid import uuid4

from innosystem.customers.v1 import customer_service_pb2 as pb
from innosystem.customers.v1.customer_pb2 import Customer
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub


def request(**values: Any) -> pb.CreateCustomerRequest:
    """Return the request for a customer with an ID and an address of its own."""
    customer_id = str(uuid4())
    defaults = {"customer_id": customer_id, "name": "Ada", "email": f"{customer_id}@example.com"}
    return pb.CreateCustomerRequest(**{**defaults, **values})


def created(stub: CustomerServiceStub, **values: Any) -> Customer:
    """Create a customer."""
    return stub.CreateCustomer(request(**values)).customer


def get(stub: CustomerServiceStub, customer_id: str) -> Customer:
    """Return a customer."""
    return stub.GetCustomer(pb.GetCustomerRequest(customer_id=customer_id)).customer
