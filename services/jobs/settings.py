"""Settings of the jobs service."""

from datetime import timedelta

from pydantic import Field, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings

from services.jobs.rules.deaths import DeathRules
from services.kit.settings import ENVIRONMENT, ServerSettings


class JobsServerSettings(ServerSettings):
    """The server: JOBS_LISTEN_ADDRESS and so on."""

    listen_address: str = "127.0.0.1:50053"


class SchemaSettings(BaseSettings):
    """How inputs are checked with the schemas of job types.

    Attributes:
        cpu_seconds_max: How much computing time a check of one input, or of one schema, may take.
    """

    model_config = ENVIRONMENT

    cpu_seconds_max: PositiveFloat = 1


class CustomersClientSettings(BaseSettings):
    """How the customers service is reached: CUSTOMERS_ADDRESS, CUSTOMERS_DEADLINE_SECONDS."""

    model_config = ENVIRONMENT

    address: str = "localhost:50051"
    deadline_seconds: PositiveFloat = 3


class WalletsClientSettings(BaseSettings):
    """How the wallets service is reached: WALLETS_ADDRESS, WALLETS_DEADLINE_SECONDS."""

    model_config = ENVIRONMENT

    address: str = "localhost:50052"
    deadline_seconds: PositiveFloat = 10


class HousekeepingSettings(BaseSettings):
    """What keeps jobs moving, such as JOBS_WINDOW.

    Attributes:
        window: How many IDs a Redis list is to hold at most. It holds as many as runners take in about a second.
        housekeeping_seconds: How often lost runners, expired jobs and charges that are due are looked for.
        reconcile_seconds: How often the lists are compared with the database, and how long it takes until an ID that is
            missing counts as lost.
        settle_after_seconds: After which time a charge is made that its runner has not made.
        hold_orphan_seconds: From which age on the job of a hold is looked for, and the hold is released if there is
            none. A submission that is repeated uses a hold of at most half that age, and has a twentieth of it to store
            the job.
        rescue_grace_seconds: For how long no job is rescued after the start or an outage: runners renew their leases
            first.
        rescues_max: How often a job may be suspected of having ended its runner, or end its own process; by the next
            time it is FAILED.
        rescue_short_seconds: A run of this length is above suspicion when its runner is lost.
        rescue_wait_seconds: How long a job waits when its runner was lost soon after it was started, once more; it
            doubles each time.
        rescue_wait_max_seconds: How long it waits at most.
        unserved_wait_seconds: How long jobs whose handler no runner has wait at most until some are tried again.
        retention_days: How long jobs are kept that are over and settled.
    """

    model_config = ENVIRONMENT

    window: PositiveInt = 10_000
    housekeeping_seconds: PositiveFloat = 2
    reconcile_seconds: PositiveFloat = 5
    settle_after_seconds: PositiveFloat = 5
    hold_orphan_seconds: PositiveFloat = 600
    rescue_grace_seconds: float = Field(default=10, ge=0)
    rescues_max: int = Field(default=5, ge=0)
    rescue_short_seconds: PositiveFloat = 600
    rescue_wait_seconds: PositiveFloat = 5
    rescue_wait_max_seconds: PositiveFloat = 900
    unserved_wait_seconds: PositiveFloat = 15
    retention_days: PositiveFloat = 30

    @property
    def deaths(self) -> DeathRules:
        """What counts against jobs whose runner is lost."""
        return DeathRules(
            deaths_max=self.rescues_max,
            short=timedelta(seconds=self.rescue_short_seconds),
            wait=timedelta(seconds=self.rescue_wait_seconds),
            wait_max=timedelta(seconds=self.rescue_wait_max_seconds),
        )
