"""Prometheus metrics of the ledger."""

from collections.abc import Callable, Iterator

from prometheus_client import Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from services.wallets.rules.books import BooksSummary

_PREFIX = "innosystem_wallets_"

HOLDS_DELETED = Counter(f"{_PREFIX}holds_deleted", "Holds that were deleted because they ended long ago.")


class BooksCollector(Collector):
    """The figures of the last walk through the books; none before its end, because an uncounted 0 is no good news.

    Args:
        last: Returns the summary of the last walk, if it succeeded.
    """

    def __init__(self, last: Callable[[], BooksSummary | None]) -> None:
        self._last = last

    @override
    def collect(self) -> Iterator[Metric]:
        if (summary := self._last()) is None:
            return
        yield _gauge("verified_timestamp_seconds", "When the last check of the books ended.", summary.at.timestamp())
        yield _gauge("verify_seconds", "How long it took, with its pauses.", summary.seconds)
        yield _gauge("sequence_gaps", "How often transactions are missing; 0 if all is well.", summary.sequence_gaps)
        yield _gauge(
            "ledger_imbalance_cents",
            "By how much balances differ from their transactions; 0 if all is well.",
            summary.ledger_imbalance_cents,
        )
        yield _gauge(
            "pending_imbalance_cents",
            "By how much pending charges differ from active holds; 0 if all is well.",
            summary.pending_imbalance_cents,
        )
        yield from _by_currency(summary)


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(_PREFIX + name, help_text, value=value)


def _by_currency(summary: BooksSummary) -> Iterator[Metric]:
    balances = GaugeMetricFamily(f"{_PREFIX}balance_cents", "The sum of all balances.", labels=["currency"])
    count = GaugeMetricFamily(f"{_PREFIX}active_holds", "Holds that are active.", labels=["currency"])
    cents = GaugeMetricFamily(f"{_PREFIX}held_cents", "What they reserve.", labels=["currency"])
    oldest = GaugeMetricFamily(
        f"{_PREFIX}oldest_active_hold_seconds", "How old the oldest of them is.", labels=["currency"]
    )
    holds = {one.currency: one for one in summary.active_holds}
    for currency, balance in sorted(summary.balance_cents.items()):
        balances.add_metric([currency], balance)
        one = holds.get(currency)
        count.add_metric([currency], one.count if one else 0)
        cents.add_metric([currency], one.cents if one else 0)
        oldest.add_metric([currency], one.oldest_seconds if one else 0)
    yield from (balances, count, cents, oldest)
