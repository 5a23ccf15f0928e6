"""How what a page shows is compared with what its commands print."""

import pytest

from tests.support.sessions import Step, steps

BLOCK = """\
$ innosystem jobs show 01990000-0000-7000-8000-000000000001 \\
    --json
status   SUCCEEDED
...
cost     0.05 EUR

$ innosystem queue pause default
default is paused.
"""


def test_a_block_is_read_as_commands_with_their_outputs() -> None:
    first, second = steps(BLOCK)

    assert first.command.splitlines() == ["innosystem jobs show 01990000-0000-7000-8000-000000000001 \\", "    --json"]
    assert first.output == ("status   SUCCEEDED", "...", "cost     0.05 EUR")
    assert second == Step("innosystem queue pause default", ("default is paused.",))


@pytest.mark.parametrize(
    "command", ["curl -d '{\n  \"a\": 1\n}' there", "cat > a.txt <<'END'\nhere's one\n\ntwo\nEND", "a \\\n  b"]
)
def test_a_command_is_read_as_far_as_a_shell_reads_it(command: str) -> None:
    assert [*steps(f"$ {command}\nprinted\n")] == [Step(command, ("printed",))]


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("a  b", "a b"),
        ("a\n...\nz", "a\nb\nc\nz"),
        ("a\n...\nz", "a\nz"),
        ("a\n...", "a\nb"),
        ("id 01990000-0000-7000-8000-000000000001", "id 01a22432-e92c-7c45-a218-63fec9491750"),
        ("at 2026-11-28 22:06:54Z", "at 2027-01-02 03:04:05Z"),
        ("3 s ago", "12 m ago"),
        ("3 s", "now"),
        ("01a2253d-9c7f-7  FAILED", "01a22546-1b  FAILED"),
        ("3c8e5b1f  FAILED", "01a2253d-9c7f-7  FAILED"),
        ("jobs 3c8e5b1f7a42", "jobs 5c0e9b7f21d4"),
        ("key inno_01or-Mk", "key inno_8KPR0XV"),
        ("localhost:50053 ...", "127.0.0.1:41234 list"),
        ('{"runner_id":"...",...}', '{"runner_id":"x","queues":[]}'),
    ],
)
def test_what_varies_from_run_to_run_and_what_is_left_out_is_as_shown(shown: str, printed: str) -> None:
    assert Step("x", tuple(shown.splitlines())).differs(printed) == ""


@pytest.mark.parametrize(
    ("shown", "printed", "difference"),
    [
        ("a\nb", "a\nc", "b"),
        ("a\nb", "a", "b"),
        ("a", "a\nb", "(nothing, in place of 'b')"),
        ("a\n...\nz", "a\nb", "z"),
        ("cost 0.05 EUR", "cost 0.06 EUR", "cost 0.05 EUR"),
        ("b\n...\na", "a\nb", "b"),
    ],
)
def test_everything_else_must_be_printed_as_shown(shown: str, printed: str, difference: str) -> None:
    assert Step("x", tuple(shown.splitlines())).differs(printed) == difference
