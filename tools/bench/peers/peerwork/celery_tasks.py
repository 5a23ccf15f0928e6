"""The work as a task of Celery."""

from urllib.parse import parse_qs, urlsplit

from celery import Celery

from . import work


def _broker(url: str) -> str:
    """Return the address in Celery's own form if Redis listens on a unix socket."""
    address = urlsplit(url)
    if address.scheme != "unix":
        return url
    database = parse_qs(address.query).get("db", ["0"])[0]
    return f"redis+socket://{address.path}?virtual_host={database}"


# No results, no events, no compression, few messages fetched ahead, as its documentation advises for short tasks.
app = Celery("peers", broker=_broker(work.redis_url()))
app.conf.update(
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    worker_send_task_events=False,
    worker_prefetch_multiplier=32,
    worker_enable_remote_control=False,
    task_acks_late=False,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    broker_pool_limit=32,
)


@app.task(name="run", ignore_result=True)
def run(job_id: str) -> None:
    """Do a job."""
    work.work(job_id)
