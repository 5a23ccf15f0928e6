"""JobTypeService over gRPC: parse, call the use case, convert. Rules and errors live in inner layers."""

from functools import partial
from typing import Any
from uuid import UUID

import grpc.aio

from innosystem.jobs.v1 import job_type_service_pb2 as pb
from innosystem.jobs.v1.job_type_service_pb2_grpc import JobTypeServiceServicer
from services.jobs.rpc.external_api_convert import with_handler
from services.jobs.rpc.job_type_convert import (
    CHANGEABLE,
    REQUIRED,
    changes,
    job_type_for,
    job_type_message,
    new_job_type,
)
from services.jobs.rules.resources import JOB_TYPES
from services.jobs.usecases.job_types import JobTypeService
from services.kit.auth.tenants import Tenants
from services.kit.query.listing import NOT_NARROWED
from services.kit.query.page import PageTokens
from services.kit.rpc.convert import masked, require_set, required_id
from services.kit.rpc.for_tenants import for_tenants
from services.kit.rpc.list_rpc import ListRpc

Context = grpc.aio.ServicerContext[Any, Any]


class JobTypeServicer(JobTypeServiceServicer):
    """JobTypeService."""

    def __init__(self, service: JobTypeService, tokens: PageTokens) -> None:
        self._service = service
        self._job_types = ListRpc(JOB_TYPES, tokens)

    async def CreateJobType(self, request: pb.CreateJobTypeRequest, context: Context) -> pb.CreateJobTypeResponse:
        given = with_handler(request.job_type)
        require_set(given, REQUIRED, "job_type.")
        job_type, replayed = await self._service.create(new_job_type(given))
        return pb.CreateJobTypeResponse(job_type=job_type_message(job_type), replayed=replayed)

    @for_tenants
    async def GetJobType(
        self, request: pb.GetJobTypeRequest, context: Context, tenants: Tenants
    ) -> pb.GetJobTypeResponse:
        by_id = request.WhichOneof("job_type") == "id"
        job_type = await self._service.get(UUID(request.id) if by_id else request.name)
        return pb.GetJobTypeResponse(job_type=job_type_for(tenants, job_type))

    @for_tenants
    async def ListJobTypes(
        self, request: pb.ListJobTypesRequest, context: Context, tenants: Tenants
    ) -> pb.ListJobTypesResponse:
        shown = partial(job_type_for, tenants)
        job_types, token = await self._job_types.serve(request, NOT_NARROWED, self._service.list_page, shown)
        return pb.ListJobTypesResponse(job_types=job_types, next_page_token=token)

    async def UpdateJobType(self, request: pb.UpdateJobTypeRequest, context: Context) -> pb.UpdateJobTypeResponse:
        paths = masked(request.update_mask, CHANGEABLE)
        require_set(request.job_type, paths & REQUIRED, "job_type.")
        job_type = await self._service.update(
            required_id(request.job_type.id, "job_type.id"),
            changes(request.job_type, paths),
            request.job_type.etag,
        )
        return pb.UpdateJobTypeResponse(job_type=job_type_message(job_type))

    async def PauseJobType(self, request: pb.PauseJobTypeRequest, context: Context) -> pb.PauseJobTypeResponse:
        job_type = await self._service.set_paused(UUID(request.job_type_id), paused=True)
        return pb.PauseJobTypeResponse(job_type=job_type_message(job_type))

    async def ResumeJobType(self, request: pb.ResumeJobTypeRequest, context: Context) -> pb.ResumeJobTypeResponse:
        job_type = await self._service.set_paused(UUID(request.job_type_id), paused=False)
        return pb.ResumeJobTypeResponse(job_type=job_type_message(job_type))

    async def DeleteJobType(self, request: pb.DeleteJobTypeRequest, context: Context) -> pb.DeleteJobTypeResponse:
        await self._service.delete(UUID(request.job_type_id), request.etag)
        return pb.DeleteJobTypeResponse()
