"""CustomerService over gRPC: parses requests, calls use cases, and converts results."""

from functools import partial
from typing import Any

import grpc.aio

from innosystem.customers.v1 import customer_service_pb2 as pb
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceServicer
from services.customers.rpc.convert import api_key_message, customer_message, customer_result, scopes, stored_limits
from services.customers.rules.resources import API_KEYS, CUSTOMERS
from services.customers.usecases.api_keys import ApiKeyService
from services.customers.usecases.customers import UNCHANGED, CustomersService
from services.kit.auth.tenants import Tenants
from services.kit.query.listing import NOT_NARROWED
from services.kit.query.page import PageTokens
from services.kit.rpc.batches import batch_results, parse_id
from services.kit.rpc.convert import id_or_new, masked, require_set, required_id
from services.kit.rpc.for_tenants import for_tenants
from services.kit.rpc.list_rpc import ListRpc
from services.kit.rpc.responses import fit

Context = grpc.aio.ServicerContext[Any, Any]


class CustomerServicer(CustomerServiceServicer):
    """CustomerService."""

    def __init__(self, service: CustomersService, api_keys: ApiKeyService, tokens: PageTokens) -> None:
        self._service = service
        self._api_keys = api_keys
        self._customers = ListRpc(CUSTOMERS, tokens)
        self._keys = ListRpc(API_KEYS, tokens)

    async def CreateCustomer(self, request: pb.CreateCustomerRequest, context: Context) -> pb.CreateCustomerResponse:
        created = await self._service.create(id_or_new(request.customer_id), request.name, request.email)
        return pb.CreateCustomerResponse(
            customer=customer_message(created.customer),
            api_key=created.api_key.secret if created.api_key else "",
            replayed=created.api_key is None,
        )

    @for_tenants
    async def GetCustomer(
        self, request: pb.GetCustomerRequest, context: Context, tenants: Tenants
    ) -> pb.GetCustomerResponse:
        customer = await self._service.get(required_id(request.customer_id, "customer_id"), tenants)
        return pb.GetCustomerResponse(customer=customer_message(customer))

    @for_tenants
    async def BatchGetCustomers(
        self, request: pb.BatchGetCustomersRequest, context: Context, tenants: Tenants
    ) -> pb.BatchGetCustomersResponse:
        work = partial(self._service.get_many, tenants=tenants)
        results = await batch_results(
            request.customer_ids, "customer_ids", parse=parse_id, work=work, message=customer_result
        )
        return pb.BatchGetCustomersResponse(results=fit(results))

    async def ListCustomers(self, request: pb.ListCustomersRequest, context: Context) -> pb.ListCustomersResponse:
        customers, token = await self._customers.serve(request, NOT_NARROWED, self._service.list_page, customer_message)
        return pb.ListCustomersResponse(customers=customers, next_page_token=token)

    async def UpdateCustomer(self, request: pb.UpdateCustomerRequest, context: Context) -> pb.UpdateCustomerResponse:
        paths = masked(request.update_mask, ("name", "email", "limits"))
        require_set(request.customer, paths - {"limits"}, "customer.")
        customer = await self._service.update(
            required_id(request.customer.id, "customer.id"),
            name=request.customer.name if "name" in paths else None,
            email=request.customer.email if "email" in paths else None,
            limits=stored_limits(request.customer.limits) if "limits" in paths else UNCHANGED,
            etag=request.customer.etag,
        )
        return pb.UpdateCustomerResponse(customer=customer_message(customer))

    async def DeleteCustomer(self, request: pb.DeleteCustomerRequest, context: Context) -> pb.DeleteCustomerResponse:
        customer = await self._service.set_active(
            required_id(request.customer_id, "customer_id"), active=False, etag=request.etag
        )
        return pb.DeleteCustomerResponse(customer=customer_message(customer))

    async def UndeleteCustomer(
        self, request: pb.UndeleteCustomerRequest, context: Context
    ) -> pb.UndeleteCustomerResponse:
        customer = await self._service.set_active(required_id(request.customer_id, "customer_id"), active=True)
        return pb.UndeleteCustomerResponse(customer=customer_message(customer))

    async def RotateApiKey(self, request: pb.RotateApiKeyRequest, context: Context) -> pb.RotateApiKeyResponse:
        rotated = await self._api_keys.rotate(
            required_id(request.customer_id, "customer_id"),
            id_or_new(request.api_key_id),
            request.overlap.ToTimedelta(),
        )
        return pb.RotateApiKeyResponse(
            api_key=rotated.secret.secret if rotated.secret else "",
            customer=customer_message(rotated.customer),
            replayed=rotated.secret is None,
            key=api_key_message(rotated.key),
        )

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest, context: Context) -> pb.CreateApiKeyResponse:
        created = await self._api_keys.create(
            required_id(request.customer_id, "customer_id"),
            id_or_new(request.api_key_id),
            name=request.name,
            scopes=scopes(request.scopes),
            ttl=request.ttl.ToTimedelta() if request.HasField("ttl") else None,
        )
        return pb.CreateApiKeyResponse(
            api_key=created.secret.secret if created.secret else "",
            replayed=created.secret is None,
            key=api_key_message(created.key),
        )

    async def ListApiKeys(self, request: pb.ListApiKeysRequest, context: Context) -> pb.ListApiKeysResponse:
        keys, token = await self._keys.serve(
            request,
            NOT_NARROWED,
            lambda query: self._api_keys.list_page(required_id(request.customer_id, "customer_id"), query),
            api_key_message,
            parameters={"customer_id": request.customer_id},
        )
        return pb.ListApiKeysResponse(api_keys=keys, next_page_token=token)

    async def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, context: Context) -> pb.RevokeApiKeyResponse:
        key = await self._api_keys.revoke(
            required_id(request.customer_id, "customer_id"), required_id(request.api_key_id, "api_key_id")
        )
        return pb.RevokeApiKeyResponse(key=api_key_message(key))

    async def ResolveApiKey(self, request: pb.ResolveApiKeyRequest, context: Context) -> pb.ResolveApiKeyResponse:
        found = await self._api_keys.resolve(request.api_key)
        return pb.ResolveApiKeyResponse(customer=customer_message(found.customer), key=api_key_message(found.key))
