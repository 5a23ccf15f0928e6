"""What `innosystem verify` says is taken at its word, and its verdict, its status and its findings have to agree."""

from typing import Any

import pytest

from tests.chaos.support.verifying import findings

DECLINED = {"kind": "declined", "subject": "job", "id": "7", "description": "3 cents"}
DOUBLE = {"kind": "double_charges", "subject": "job", "id": "7", "description": "was charged 2 times"}


def test_a_report_without_findings_is_no_complaint() -> None:
    assert findings({"ok": True, "offenders": []}, 0) == []


def test_what_is_broken_is_a_complaint() -> None:
    assert findings({"ok": False, "offenders": [DOUBLE]}, 1) == ["verify: double_charges: job 7 was charged 2 times"]


def test_work_that_is_not_paid_is_a_complaint_although_the_books_are_right() -> None:
    assert findings({"ok": True, "offenders": [DECLINED]}, 0) == ["verify: declined: job 7 3 cents"]


@pytest.mark.parametrize(
    ("report", "status"),
    [
        ({"ok": True, "offenders": []}, 1),
        ({"ok": False, "offenders": []}, 1),
        ({"ok": False, "offenders": []}, 0),
        ({"ok": False, "offenders": [DECLINED]}, 0),
        ({"ok": False, "offenders": [DECLINED]}, 1),
        ({"ok": True, "offenders": [DOUBLE]}, 0),
    ],
)
def test_a_report_that_contradicts_itself_is_a_complaint(report: dict[str, Any], status: int) -> None:
    assert any("offenders are named" in complaint for complaint in findings(report, status))
