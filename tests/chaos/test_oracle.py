"""The oracle finds what is wrong: books that are in order pass, and each way to break them is complained about."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from innosystem.jobs.v1 import job_service_pb2
from tests.chaos.support.books import BooksSnapshot, HoldRow, JobRow, TransactionRow, WalletRow
from tests.chaos.support.kinds import KINDS
from tests.chaos.support.notes import BEGUN, RETURNED, Notes
from tests.chaos.support.oracle import Evidence, complaints, repeats, unfinished
from tests.chaos.support.submissions import Submission

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ADA, BOB = "ada", "bob"
SHORT = "INSUFFICIENT_FUNDS: 0 are available"


@dataclass
class Case:
    """Books in order, to be broken: Ada pays for what succeeds, Bob has nothing and may learn that."""

    jobs: dict[str, JobRow] = field(default_factory=dict)
    wallets: dict[str, WalletRow] = field(default_factory=dict)
    transactions: list[TransactionRow] = field(default_factory=list)
    holds: dict[str, HoldRow] = field(default_factory=dict)
    submissions: dict[str, Submission] = field(default_factory=dict)
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    credited: dict[str, int] = field(default_factory=dict)
    handed_back: dict[str, int] = field(default_factory=dict)
    lists: dict[str, int] = field(default_factory=dict)

    def submit(self, job_id: str, kind: str, customer: str = ADA, *, n: int = 1, **values: Any) -> None:
        submission = self.refuse(job_id, kind, customer, "", n=n)
        submission.accepted = True
        if cost := KINDS[kind].cost_cents:
            self.hold(job_id, "CAPTURED" if values["billing_status"] == "CHARGED" else "RELEASED", cost)
            values["hold_id"] = f"h-{job_id}"
        self.jobs[job_id] = JobRow(job_id=job_id, customer_id=customer, created_at=NOW, completed_at=NOW, **values)
        self.counts[job_id] = Counter({BEGUN: submission.kind.runs, RETURNED: int(values["status"] == "SUCCEEDED")})

    def refuse(self, job_id: str, kind: str, customer: str, refused: str, *, tries: int = 1, n: int = 1) -> Submission:
        submission = Submission(job_id, KINDS[kind], customer, {"n": n}, job_service_pb2.CreateJobRequest())
        submission.refused, submission.tries = refused, tries
        self.submissions[job_id] = submission
        return submission

    def hold(self, job_id: str, state: str, cents: int = 3) -> None:
        self.holds[job_id] = HoldRow(hold_id=f"h-{job_id}", job_id=job_id, amount_cents=cents, state=state)

    def succeed(self, job_id: str, kind: str, customer: str, billing_status: str, **values: Any) -> None:
        cost, output = KINDS[kind].cost_cents, '{"n": 1}'
        values = {"status": "SUCCEEDED", "cost_cents": cost, "output_json": output, **values}
        self.submit(job_id, kind, customer, billing_status=billing_status, **values)

    def change(self, job_id: str, **values: Any) -> None:
        self.jobs[job_id] = replace(self.jobs[job_id], **values)

    def write(self, amount: int, job_id: str | None = None) -> None:
        before = self.transactions[-1] if self.transactions else None
        self.transactions.append(
            TransactionRow(
                transaction_id=f"t-{job_id}",
                wallet_id="w-ada",
                sequence=before.sequence + 1 if before else 1,
                kind="DEDUCTION" if amount < 0 else "CREDIT",
                amount_cents=amount,
                balance_after_cents=amount + (before.balance_after_cents if before else 0),
                idempotency_key=f"job:{job_id}" if job_id else "credit",
                job_id=job_id,
            )
        )
        self.wallets[ADA] = WalletRow(
            wallet_id="w-ada", customer_id=ADA, balance_cents=self.transactions[-1].balance_after_cents
        )

    @property
    def evidence(self) -> Evidence:
        return Evidence(
            books=BooksSnapshot(
                self.jobs, self.wallets, tuple(self.transactions), self.lists, tuple(self.holds.values())
            ),
            submissions=self.submissions,
            credited_cents=self.credited,
            notes=Notes(self.counts),
            may_be_refused={BOB},
            handed_back=self.handed_back,
        )


@pytest.fixture
def case() -> Case:
    made = Case(credited={ADA: 103})
    made.wallets[BOB] = WalletRow(wallet_id="w-bob", customer_id=BOB, balance_cents=0)
    made.write(103)
    # It was taken back, was run again and then succeeded.
    made.succeed("anew", "taken-back", ADA, "CHARGED", transaction_id="t-anew")
    made.write(-3, "anew")
    made.submissions["anew"].cancellation = "cancelled"
    made.submissions["anew"].retries, made.submissions["anew"].retried = 1, "again"
    made.change("anew", retry_count=1)
    made.counts["anew"][BEGUN] += 1
    made.succeed("paid", "quick", ADA, "CHARGED", transaction_id="t-paid")
    made.write(-3, "paid")
    made.succeed("slow", "slow", ADA, "CHARGED", transaction_id="t-slow")
    made.write(-7, "slow")
    made.succeed("free", "free", ADA, "NOT_BILLABLE")
    made.refuse("refused", "quick", BOB, SHORT)
    # Its service died before it was stored, and when it came again the money was gone.
    made.refuse("unlucky", "quick", BOB, SHORT, tries=2)
    made.hold("unlucky", "RELEASED")
    # The first try was slower than the one that was refused.
    made.submit("slower", "fails", BOB, status="FAILED", billing_status="RELEASED", error_type="REFUSED")
    made.refuse("slower", "fails", BOB, SHORT, tries=2)
    made.submit("failed", "fails", status="FAILED", billing_status="RELEASED", error_type="REFUSED")
    made.submit("back", "taken-back", status="CANCELLED", billing_status="RELEASED", error_type="CANCELLED")
    made.submissions["back"].cancel_after_seconds = 1
    made.submissions["back"].cancellation = "cancelled"
    made.submissions["paid"].watched = True
    made.submissions["paid"].seen = "SUCCEEDED"
    return made


def test_books_in_order_are_not_complained_about(case: Case) -> None:
    assert complaints(case.evidence) == []
    assert unfinished(case.evidence.books) == []


def _lose(case: Case) -> None:
    del case.jobs["failed"]


def _invent(case: Case) -> None:
    del case.submissions["failed"], case.counts["failed"]


def _never_accept(case: Case) -> None:
    case.submissions["failed"].accepted = False


def _refuse(case: Case) -> None:
    case.submissions["failed"].refused = "INVALID_ARGUMENT"


def _no_answer_to_the_cancellation(case: Case) -> None:
    case.submissions["back"].cancellation = ""


def _charge_twice(case: Case) -> None:
    case.write(-3, "paid")


def _charge_what_failed(case: Case) -> None:
    case.write(-3, "failed")


def _charge_what_was_taken_back(case: Case) -> None:
    case.write(-3, "back")


def _charge_what_is_free(case: Case) -> None:
    case.write(-3, "free")


def _charge_what_was_refused(case: Case) -> None:
    case.write(-3, "refused")


def _decline(case: Case) -> None:
    case.change("paid", billing_status="DECLINED", transaction_id=None)


def _refuse_who_can_pay(case: Case) -> None:
    case.refuse("ada-s", "quick", ADA, SHORT)


def _refuse_what_is_free(case: Case) -> None:
    case.refuse("bob-s", "free", BOB, SHORT)


def _refuse_and_store(case: Case) -> None:
    case.submissions["slower"].tries = 1


def _never_run_again(case: Case) -> None:
    case.submissions["anew"].retried = ""


def _hold(job_id: str, state: str) -> Callable[[Case], None]:
    return lambda case: case.hold(job_id, state)


def _lose_a_hold(case: Case) -> None:
    del case.holds["failed"]


def _capture_another_hold(case: Case) -> None:
    case.change("paid", hold_id="h-later")
    case.holds["later"] = replace(case.holds["paid"], hold_id="h-later", state="RELEASED")


def _reserve_too_much(case: Case) -> None:
    case.holds["paid"] = replace(case.holds["paid"], amount_cents=4)


def _charge_what_is_no_job(case: Case) -> None:
    case.write(-3, "nobody")


def _charge_without_a_job(case: Case) -> None:
    case.write(-3)


def _forget_a_deduction(case: Case) -> None:
    del case.transactions[-1]
    case.wallets[ADA] = replace(case.wallets[ADA], balance_cents=97)


def _charge_too_little(case: Case) -> None:
    case.transactions[-1] = replace(case.transactions[-1], amount_cents=-6, balance_after_cents=91)
    case.wallets[ADA] = replace(case.wallets[ADA], balance_cents=91)


def _charge_somebody_else(case: Case) -> None:
    case.change("slow", customer_id=BOB)


def _leave_a_gap(case: Case) -> None:
    case.transactions[-1] = replace(case.transactions[-1], sequence=5)


def _miscalculate(case: Case) -> None:
    case.transactions[-1] = replace(case.transactions[-1], balance_after_cents=91)


def _change_the_balance(case: Case) -> None:
    case.wallets[ADA] = replace(case.wallets[ADA], balance_cents=91)


def _leave_something_held(case: Case) -> None:
    case.wallets[ADA] = replace(case.wallets[ADA], pending_cents=1)


def _credit_twice(case: Case) -> None:
    case.write(100)


def _execute_once_more(case: Case) -> None:
    case.counts["paid"][BEGUN] += 1


def _succeed_without_a_handler(case: Case) -> None:
    case.counts["paid"][RETURNED] = 0


def _execute_what_nobody_submitted(case: Case) -> None:
    case.counts["other"] = Counter({BEGUN: 1})


def _leave_an_id_in_a_list(case: Case) -> None:
    case.lists["jobs:p1:pending"] = 1


def _changed(job_id: str, **values: Any) -> Callable[[Case], None]:
    return lambda case: case.change(job_id, **values)


def _too_late_and_cancelled(case: Case) -> None:
    case.submissions["back"].cancellation = "too late"


def _see_no_end(case: Case) -> None:
    case.submissions["paid"].seen = ""


def _see_another_end(case: Case) -> None:
    case.submissions["paid"].seen = "FAILED"


@pytest.mark.parametrize(
    ("break_it", "complaint"),
    [
        (_see_no_end, "paid (quick) was watched, and no end was seen last"),
        (_see_another_end, "paid (quick) was watched, and FAILED was seen last"),
        (_lose, "failed (fails) was accepted and is lost"),
        (_invent, "failed was submitted by nobody"),
        (_never_accept, "failed (fails) was never accepted"),
        (_refuse, "failed (fails) was refused: INVALID_ARGUMENT"),
        (_no_answer_to_the_cancellation, "back (taken-back) could not be taken back"),
        (_too_late_and_cancelled, "back (taken-back) could not be taken back and is CANCELLED"),
        (_changed("back", status="SUCCEEDED", output_json='{"n": 1}'), "was taken back and ended SUCCEEDED"),
        (_changed("paid", status="FAILED", error_type="ValueError"), "paid (quick) ended FAILED (ValueError)"),
        (_changed("paid", status="RUNNING"), "paid (quick) ended RUNNING"),
        (_changed("paid", billing_status="CHARGE_DUE"), "paid (quick) is SUCCEEDED and CHARGE_DUE"),
        (_changed("paid", billing_status="CHARGE_BLOCKED"), "paid (quick) is SUCCEEDED and CHARGE_BLOCKED"),
        (_changed("paid", output_json='{"n": 2}'), "paid (quick) has the output"),
        (_changed("failed", error_type="TIMEOUT"), "failed (fails) ended FAILED with the error TIMEOUT"),
        (_changed("failed", error_type="RUNNER_LOST"), "failed (fails) ended FAILED with the error RUNNER_LOST"),
        (_changed("paid", transaction_id="t-other"), "names the transaction t-other"),
        (_changed("paid", cost_cents=4), "costs 3, says 4"),
        (_charge_twice, "paid (quick) was charged 2 times"),
        (_charge_what_failed, "failed (fails) is FAILED, RELEASED and was charged 1 times"),
        (_charge_what_was_taken_back, "back (taken-back) is CANCELLED, RELEASED and was charged 1 times"),
        (_charge_what_is_free, "free (free) is SUCCEEDED, NOT_BILLABLE and was charged 1 times"),
        (_charge_what_was_refused, "refused is no job and was charged"),
        (_decline, "paid (quick) is SUCCEEDED and DECLINED"),
        (_refuse_who_can_pay, "ada-s (quick) was refused: INSUFFICIENT_FUNDS"),
        (_refuse_what_is_free, "bob-s (free) was refused: INSUFFICIENT_FUNDS"),
        (_refuse_and_store, "slower (fails) was refused: INSUFFICIENT_FUNDS"),
        (_never_run_again, "anew (taken-back) could not be run again"),
        (_hold("failed", "ACTIVE"), "hold h-failed of failed is ACTIVE"),
        (_hold("unlucky", "ACTIVE"), "hold h-unlucky of unlucky is ACTIVE"),
        (_hold("failed", "CAPTURED"), "hold h-failed of failed is CAPTURED, and its job was not charged with it"),
        (_hold("unlucky", "CAPTURED"), "hold h-unlucky of unlucky is CAPTURED, and its job was not charged with it"),
        (_hold("paid", "RELEASED"), "paid (quick) was charged, and its hold is RELEASED"),
        (_capture_another_hold, "hold h-paid of paid is CAPTURED, and its job was not charged with it"),
        (_capture_another_hold, "paid (quick) was charged, and its hold is RELEASED"),
        (_hold("nobody", "RELEASED"), "hold h-nobody of nobody was placed for a job that nobody submitted"),
        (_hold("free", "RELEASED"), "hold h-free of free was placed for a job that costs nothing"),
        (_lose_a_hold, "failed (fails) costs 3, and nothing was reserved"),
        (_reserve_too_much, "paid (quick) costs 3, and 4 was reserved"),
        (_charge_what_is_no_job, "nobody is no job and was charged"),
        (_charge_without_a_job, "no job is no job and was charged"),
        (_forget_a_deduction, "slow (slow) was charged 0 times"),
        (_charge_too_little, "slow (slow) costs 7, says 7 and was charged 6"),
        (_charge_somebody_else, "was charged to another customer's wallet"),
        (_leave_a_gap, "number 5 stands where 4 should"),
        (_miscalculate, "after number 4 the balance is 91, not 90"),
        (_change_the_balance, "the balance is 91, the statement says 90"),
        (_leave_something_held, "1 of it held"),
        (_credit_twice, "203 were credited, 103 were paid in"),
        (_execute_once_more, "paid (quick) was run 1 times more than anything explains"),
        (_succeed_without_a_handler, "paid (quick) succeeded, and its handler never returned"),
        (_execute_what_nobody_submitted, "other was run and never submitted"),
        (_leave_an_id_in_a_list, "1 IDs are left in jobs:p1:pending"),
    ],
)
def test_what_is_wrong_is_complained_about(case: Case, break_it: Callable[[Case], None], complaint: str) -> None:
    break_it(case)

    assert any(complaint in said for said in complaints(case.evidence)), complaints(case.evidence)


@pytest.mark.parametrize(
    "values",
    [
        {"status": "RUNNING", "billing_status": "HELD"},
        {"status": "PENDING", "billing_status": "HELD"},
        {"status": "SCHEDULED", "billing_status": "HELD"},
        {"billing_status": "CHARGE_DUE"},
        {"status": "FAILED", "billing_status": "RELEASE_DUE"},
    ],
)
def test_what_still_moves_is_not_at_rest(case: Case, values: dict[str, Any]) -> None:
    case.change("paid", **values)

    [moving] = unfinished(case.evidence.books)

    assert moving.startswith("paid is ")


def test_ids_in_the_lists_are_not_at_rest(case: Case) -> None:
    case.lists["jobs:p0:pending"] = 2

    assert unfinished(case.evidence.books) == ["2 IDs are in jobs:p0:pending"]


def test_a_hold_that_is_active_is_not_at_rest(case: Case) -> None:
    case.hold("unlucky", "ACTIVE")

    assert unfinished(case.evidence.books) == ["the hold h-unlucky of unlucky is ACTIVE"]


def test_executions_of_a_job_that_was_run_again_are_counted_and_not_judged(case: Case) -> None:
    assert repeats(case.evidence, case.submissions["anew"], case.jobs["anew"]) == Counter({"run again": 1})


def test_a_job_that_is_run_again_more_often_than_somebody_asked_for_is_complained_about(case: Case) -> None:
    case.change("anew", retry_count=2)
    case.change("paid", retry_count=1)

    assert sorted(complaints(case.evidence)) == [
        "anew (taken-back) was run again 2 times (RetryJob: again)",
        "paid (quick) was run again 1 times (RetryJob: not called)",
    ]


def test_executions_beyond_the_first_are_explained_by_rescues_and_then_by_what_was_handed_back(case: Case) -> None:
    case.counts["paid"][BEGUN] = 4
    case.change("paid", rescue_count=1)
    case.handed_back["paid"] = 1

    found = repeats(case.evidence, case.submissions["paid"], case.jobs["paid"])

    assert found == Counter({"rescued": 1, "handed back": 1, "unexplained": 1})


def test_a_job_that_kills_its_runners_may_be_given_up(case: Case) -> None:
    for job_id, error_type in (("lost", "RUNNER_LOST"), ("died", "PROCESS_DIED")):
        case.submit(job_id, "poison", status="FAILED", billing_status="RELEASED", error_type=error_type, rescue_count=9)

    assert complaints(case.evidence) == []


def test_a_job_whose_time_was_over_before_it_arrived_may_be_refused(case: Case) -> None:
    refused = case.refuse("over", "expires", ADA, "INVALID_FIELD: expires_at: must be in the future", tries=2)

    assert complaints(case.evidence) == []
    case.submit("over", "expires", status="PENDING", billing_status="HELD")
    case.submissions["over"].refused = refused.refused
    assert any("over (expires) was refused" in said for said in complaints(case.evidence))


@pytest.fixture
def metered(case: Case) -> Case:
    """The same books with jobs that were charged what they used: some, more than their maximum, and nothing."""
    for job_id, n, cents in (("some", 2, 2), ("full", 11, 8)):
        output = f'{{"n": {n}}}'
        case.succeed(
            job_id, "metered", ADA, "CHARGED", transaction_id=f"t-{job_id}", cost_cents=cents, n=n, output_json=output
        )
        case.write(-cents, job_id)
    case.succeed("nothing", "metered", ADA, "RELEASED", cost_cents=0, n=12, output_json='{"n": 12}')
    return case


def test_jobs_that_are_charged_what_they_used_are_not_complained_about(metered: Case) -> None:
    assert complaints(metered.evidence) == []


def _charge_the_maximum(case: Case) -> None:
    at = next(at for at, line in enumerate(case.transactions) if line.job_id == "some")
    case.transactions[at] = replace(case.transactions[at], amount_cents=-8)


def _reserve_less_than_the_maximum(case: Case) -> None:
    case.holds["some"] = replace(case.holds["some"], amount_cents=2)


@pytest.mark.parametrize(
    ("break_it", "complaint"),
    [
        (_charge_the_maximum, "some (metered) costs 2, says 2 and was charged 8"),
        (_changed("some", cost_cents=8), "some (metered) costs 2, says 8"),
        (_changed("full", cost_cents=11), "full (metered) costs 8, says 11"),
        (_changed("nothing", cost_cents=1), "nothing (metered) costs nothing, and says 1"),
        (_changed("nothing", billing_status="CHARGED"), "nothing (metered) is SUCCEEDED and CHARGED"),
        (_reserve_less_than_the_maximum, "some (metered) costs 8, and 2 was reserved"),
    ],
)
def test_a_wrong_charge_of_usage_is_complained_about(
    metered: Case, break_it: Callable[[Case], None], complaint: str
) -> None:
    break_it(metered)
    assert any(complaint in one for one in complaints(metered.evidence)), complaints(metered.evidence)
