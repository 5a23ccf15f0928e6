"""Settings of the limits of callers, such as INNOSYSTEM_LIMITS_CLIENT_REQUESTS."""

from typing import Annotated

from pydantic import AfterValidator, NonNegativeInt
from pydantic_settings import BaseSettings

from services.kit.rates import Rate
from services.kit.settings import ENVIRONMENT


def _checked(text: str) -> str:
    if problem := Rate.parse(text).problem:
        raise ValueError(problem)
    return text


RateText = Annotated[str, AfterValidator(_checked)]


class LimitSettings(BaseSettings):
    """The limits of a principal, by its kind, and of a customer. 0 stands for no limit everywhere.

    Each service counts for itself. The limits of a customer apply to clients that are bound to it, together, and its
    submissions also to other clients. A customer can have exceptions (`Customer.limits` of the contract).

    Attributes:
        client_requests: Calls of a client, `a second/burst`.
        client_submissions: Jobs that a client submits, `a second/burst`.
        client_input_bytes_per_day: Bytes of their inputs: so many in a burst, and as many again evenly over a day.
        client_calls: Calls of a client in flight, in each process.
        client_watches: Streams of a client, such as watches of jobs, in each process.
        operator_requests: As `client_requests`, of an operator.
        operator_submissions: As `client_submissions`, of an operator.
        operator_input_bytes_per_day: As `client_input_bytes_per_day`, of an operator.
        operator_calls: As `client_calls`, of an operator.
        operator_watches: As `client_watches`, of an operator.
        runner_requests: As `client_requests`, of a runner.
        runner_calls: As `client_calls`, of a runner.
        runner_watches: As `client_watches`, of a runner.
        service_requests: As `client_requests`, of a service of the platform.
        service_calls: As `client_calls`, of a service of the platform.
        service_watches: As `client_watches`, of a service of the platform.
        customer_requests: Calls of all clients that are bound to a customer, `a second/burst`.
        customer_submissions: Jobs that clients submit for a customer, `a second/burst`.
        customer_input_bytes_per_day: Bytes of their inputs: so many in a burst, and as many again evenly over a day.
        customer_jobs_waiting: Jobs of a customer that are not final: at that many, clients submit no more.
    """

    model_config = ENVIRONMENT

    client_requests: RateText = "2000/4000"
    client_submissions: RateText = "10000/20000"
    client_input_bytes_per_day: NonNegativeInt = 0
    client_calls: NonNegativeInt = 500
    client_watches: NonNegativeInt = 2000
    operator_requests: RateText = "2000/4000"
    operator_submissions: RateText = "10000/20000"
    operator_input_bytes_per_day: NonNegativeInt = 0
    operator_calls: NonNegativeInt = 500
    operator_watches: NonNegativeInt = 2000
    runner_requests: RateText = "0"
    runner_calls: NonNegativeInt = 0
    runner_watches: NonNegativeInt = 0
    service_requests: RateText = "0"
    service_calls: NonNegativeInt = 0
    service_watches: NonNegativeInt = 0
    customer_requests: RateText = "1000/2000"
    customer_submissions: RateText = "5000/10000"
    customer_input_bytes_per_day: NonNegativeInt = 100_000_000_000
    customer_jobs_waiting: NonNegativeInt = 0

    def rate(self, name: str) -> Rate:
        """Return the rate of a setting: a rate, or an amount a day. False if there is no such setting."""
        value = getattr(self, name, 0)
        return Rate.parse(value) if isinstance(value, str) else Rate.of_day(value)
