"""Every method of the contract declares who may call it; a server with one that does not refuses to start."""

from google.protobuf.descriptor import ServiceDescriptor

from innosystem.options.v1 import options_pb2
from services.kit.settings import StartupError


def check_policies(service: ServiceDescriptor) -> None:
    """Checks the policies of a service's methods.

    Raises:
        StartupError: Naming the method that declares no callers, or not whether it may be repeated.
    """
    for method in service.methods:
        policy = method.GetOptions().Extensions[options_pb2.method]
        if not policy.callers or policy.repeat == options_pb2.REPEAT_UNSPECIFIED:
            raise StartupError(
                f"{method.full_name} has no policy: add the option (innosystem.options.v1.method) to it in the contract"
            )
