"""The work as an actor of dramatiq."""

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AgeLimit, Retries, ShutdownNotifications, TimeLimit

from . import work

# Only the middleware in use: each is called several times a message.
broker = RedisBroker(url=work.redis_url(), middleware=[AgeLimit(), TimeLimit(), ShutdownNotifications(), Retries()])
dramatiq.set_broker(broker)


@dramatiq.actor(max_retries=3)
def run(job_id: str) -> None:
    """Do a job."""
    work.work(job_id)
