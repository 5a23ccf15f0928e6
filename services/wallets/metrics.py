"""What Prometheus gets to know of the books."""

from collections.abc import Iterator

from prometheus_client import Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.wallets.background.books_monitor import Conservation, Report

_PREFIX = "innosystem_wallets_"

HOLDS_DELETED = Counter(f"{_PREFIX}holds_deleted", "Holds that were deleted because they ended long ago.")


class ConservationCollector(Collector):
    """The figures of the last walk; none before its end, because a 0 that nobody counted is no good news.

    Args:
        conservation: Walks through the books.
    """

    def __init__(self, conservation: Conservation) -> None:
        self._conservation = conservation

    def collect(self) -> Iterator[Metric]:
        """Answers all metrics."""
        if (report := self._conservation.last) is None:
            return
        yield _gauge("verified_timestamp_seconds", "When the last check of the books ended.", report.at.timestamp())
        yield _gauge("verify_seconds", "How long it took, with its pauses.", report.seconds)
        yield _gauge("sequence_gaps", "How often transactions are missing; 0 if all is well.", report.sequence_gaps)
        yield _gauge(
            "ledger_imbalance_cents",
            "By how much balances differ from their transactions; 0 if all is well.",
            report.ledger_imbalance_cents,
        )
        yield _gauge(
            "pending_imbalance_cents",
            "By how much pending charges differ from active holds; 0 if all is well.",
            report.pending_imbalance_cents,
        )
        yield from _by_currency(report)


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(_PREFIX + name, help_text, value=value)


def _by_currency(report: Report) -> Iterator[Metric]:
    balances = GaugeMetricFamily(f"{_PREFIX}balance_cents", "The sum of all balances.", labels=["currency"])
    count = GaugeMetricFamily(f"{_PREFIX}active_holds", "Holds that are active.", labels=["currency"])
    cents = GaugeMetricFamily(f"{_PREFIX}held_cents", "What they reserve.", labels=["currency"])
    oldest = GaugeMetricFamily(
        f"{_PREFIX}oldest_active_hold_seconds", "How old the oldest of them is.", labels=["currency"]
    )
    held = {one.currency: one for one in report.held}
    for currency, balance in sorted(report.balance_cents.items()):
        balances.add_metric([currency], balance)
        one = held.get(currency)
        count.add_metric([currency], one.count if one else 0)
        cents.add_metric([currency], one.cents if one else 0)
        oldest.add_metric([currency], one.oldest_seconds if one else 0)
    yield from (balances, count, cents, oldest)
