"""Settings of the jobs service."""

from datetime import timedelta

from pydantic import Field, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings

from services.jobs.rules.transitions.deaths import DeathRules
from services.kit.settings import ENVIRONMENT, ServerSettings


class JobsServerSettings(ServerSettings):
    """The server: JOBS_LISTEN_ADDRESS and so on."""

    listen_address: str = "127.0.0.1:50053"


class SchemaSettings(BaseSettings):
    """Limits of checking inputs with the schemas of job types.

    Attributes:
        cpu_seconds_max: The CPU time that a check of one input, or of one schema, may take.
    """

    model_config = ENVIRONMENT

    cpu_seconds_max: PositiveFloat = 1


class CallbackSettings(BaseSettings):
    """Where endpoints of webhooks send results over HTTP: JOBS_CALLBACK_URL.

    Attributes:
        url: The address of a gateway of the operator, such as `https://jobs.example.com`, which jobs are posted with;
            empty if endpoints call CompleteWebhookJob themselves.
    """

    model_config = ENVIRONMENT

    url: str = ""


class WalletsClientSettings(BaseSettings):
    """Address and deadline of the wallets service: WALLETS_ADDRESS, WALLETS_DEADLINE_SECONDS."""

    model_config = ENVIRONMENT

    address: str = "localhost:50052"
    deadline_seconds: PositiveFloat = 10


class HousekeepingSettings(BaseSettings):
    """Settings of the background work, such as JOBS_WINDOW.

    Attributes:
        window: The largest number of IDs in a Redis list. A list usually holds as many as runners take in a second.
        housekeeping_seconds: The interval of looking for lost runners, expired jobs and charges that are due.
        reconcile_seconds: The interval of comparing the lists with the database, and the time after which a missing ID
            counts as lost.
        settle_after_seconds: The time that a runner has to make a charge; then the settler makes it.
        hold_orphan_seconds: The age at which the job of a hold is looked up, and the hold released if the job does not
            exist. A repeated submission uses a hold of at most half that age, and has a twentieth of it to store the
            job.
        rescue_grace_seconds: The time after the start or an outage in which no job is rescued: runners renew their
            leases first.
        rescues_max: How many deaths, of a runner or of its own process, may count against a job. With one more it is
            FAILED.
        rescue_short_seconds: A run of at least this length is above suspicion when its runner is lost.
        rescue_wait_seconds: The wait of a suspected job from its second loss on; it doubles each time.
        rescue_wait_max_seconds: The longest such wait.
        unserved_wait_seconds: The longest wait between two tries of jobs for which runners lack the handler.
        retention_days: How long jobs are kept after they are final and settled.
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
        """The rules for jobs whose runner is lost."""
        return DeathRules(
            deaths_max=self.rescues_max,
            short=timedelta(seconds=self.rescue_short_seconds),
            wait=timedelta(seconds=self.rescue_wait_seconds),
            wait_max=timedelta(seconds=self.rescue_wait_max_seconds),
        )
