"""Editing in the user's editor: what differs is sent, and nothing that was typed is lost."""

import asyncio
import io
import re
import stat
from pathlib import Path

import grpc
import pytest

from innosystem.jobs.v1.job_type_pb2 import PRIORITY_LOW, PROCESSOR_TYPE_ASYNC, JobType
from tools.cli.commands.job_types.fields import WRITABLE, edited_fields
from tools.cli.editing import InvalidDocument, edit, read_yaml
from tools.cli.updates import mask_of
from tools.errors import CommandError

SCHEMA = '{"type": "object", "properties": {"n": {"type": "number"}}}'


class Terminal(io.StringIO):
    """Where a person types."""

    def isatty(self) -> bool:
        """Pretend that a user is at the terminal."""
        return True


class Editor:
    """Editors that follow a script: each time one is opened it replaces texts, and what it saw is kept."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._steps = 0
        program = folder / "editor with spaces.sh"
        program.write_text(
            f'#!/bin/sh\ncd "{folder}"\nn=$(ls seen-* 2>/dev/null | wc -l)\ncp "$1" seen-$n\necho "$1" > file\n'
            'test -f step-$n || exit 0\nsh step-$n "$1"\n'
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("EDITOR", f"'{program}'")
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.setattr("sys.stdin", Terminal())

    def then(self, *replacements: tuple[str, str]) -> None:
        """Add what the next editor does."""
        edits = " ".join(f"-e 's|{before}|{after}|'" for before, after in replacements)
        (self._folder / f"step-{self._steps}").write_text(f'sed -i {edits} "$1"\n')
        self._steps += 1

    def seen(self, time: int) -> str:
        """What an editor was opened with."""
        return (self._folder / f"seen-{time}").read_text()

    @property
    def file(self) -> Path:
        """The file that was edited."""
        return Path((self._folder / "file").read_text().strip())


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Editor:
    return Editor(tmp_path, monkeypatch)


def job_type() -> JobType:
    made = JobType(
        id="01990000-0000-7000-8000-000000000101",
        name="no",
        description="Says: hello # to all",
        processing_logic_id="greet",
        processor_type=PROCESSOR_TYPE_ASYNC,
        standard_cost_cents=5,
        currency="EUR",
        enabled=True,
        queue="default",
        default_priority=PRIORITY_LOW,
        max_attempts=3,
        input_schema_json=SCHEMA,
    )
    made.timeout.FromSeconds(90)
    made.expires_after.FromSeconds(7 * 86400)
    made.retry_policy.initial_backoff.FromMilliseconds(500)
    made.retry_policy.max_backoff.FromSeconds(3600)
    made.retry_policy.multiplier = 2
    return made


class Service:
    """The calls that a service got; it refuses those that a test tells it to."""

    def __init__(self, refusals: list[Exception] | None = None) -> None:
        self.calls: list[tuple[list[str], JobType]] = []
        self._refusals = refusals or []

    async def send(self, wanted: JobType) -> JobType | None:
        """Take what was edited."""
        mask = mask_of(job_type(), wanted, WRITABLE)
        if not mask.paths:
            return None
        self.calls.append((list(mask.paths), wanted))
        if self._refusals:
            raise self._refusals.pop(0)
        return wanted


def edited(service: Service, kept: Path | None = None) -> JobType | None:
    fields = edited_fields()
    editing = edit("Job type no", job_type(), fields, service.send, instead="`update`", command="edit no", kept=kept)
    return asyncio.run(editing)


def test_only_what_differs_is_sent(editor: Editor) -> None:
    editor.then(("timeout: 1m30s", "timeout: 2m"), ("standard_cost: .*", "standard_cost: 0.07EUR"), ("true", "no"))
    service = Service()
    changed = edited(service)
    [(paths, wanted)] = service.calls
    assert paths == ["standard_cost_cents", "enabled", "timeout"]
    assert changed is wanted
    assert (wanted.timeout.seconds, wanted.standard_cost_cents, wanted.enabled) == (120, 7, False)
    assert wanted.input_schema_json == SCHEMA
    assert not editor.file.exists()


@pytest.mark.parametrize("step", [(), (("timeout:.*", ""),), (("timeout: 1m30s", "timeout: 90s"),)])
def test_without_a_change_there_is_no_call(editor: Editor, step: tuple[tuple[str, str], ...]) -> None:
    if step:
        editor.then(*step)
    service = Service()
    assert edited(service) is None
    assert service.calls == []
    assert not editor.file.exists()


def test_an_emptied_file_changes_nothing(editor: Editor) -> None:
    editor.then((".*", ""))
    service = Service()
    with pytest.raises(CommandError, match="cancelled, nothing was changed: the file was empty"):
        edited(service)
    assert service.calls == []
    assert not editor.file.exists()


def test_a_wrong_value_opens_the_editor_again_with_the_reason_and_all_that_was_typed(editor: Editor) -> None:
    editor.then(("timeout: 1m30s", "timeout: 30"), ("max_attempts: 3", "max_attempts: 4.5"), ("greet", "greet2"))
    editor.then(("timeout: 30", "timeout: 30s"), ("max_attempts: 4.5", "max_attempts: 4"))
    service = Service()
    edited(service)
    again = editor.seen(1)
    reasons, typed = again.split("# Job type no", 1)
    assert "#! timeout: '30' has no unit" in reasons
    assert "#! max_attempts: '4.5' is not a whole number" in reasons
    assert "processing_logic_id: greet2" in typed
    [(paths, wanted)] = service.calls
    assert paths == ["processing_logic_id", "max_attempts", "timeout"]
    assert (wanted.processing_logic_id, wanted.max_attempts, wanted.timeout.seconds) == ("greet2", 4, 30)


def refusal(code: grpc.StatusCode, reason: str) -> grpc.RpcError:
    from google.protobuf import any_pb2
    from google.rpc import error_details_pb2, status_pb2

    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(domain="innosystem", reason=reason))
    status = status_pb2.Status(code=code.value[0], message="The name is taken.", details=[detail])
    metadata = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), metadata, "The name is taken.")


def test_what_the_service_refuses_is_edited_again(editor: Editor) -> None:
    editor.then(("name: .*", "name: taken"))
    editor.then(("name: .*", "name: free"))
    service = Service([refusal(grpc.StatusCode.ALREADY_EXISTS, "JOB_TYPE_NAME_TAKEN")])
    changed = edited(service)
    assert changed is not None
    assert changed.name == "free"
    assert editor.seen(1).startswith("#! JOB_TYPE_NAME_TAKEN: The name is taken.\n")
    assert "name: taken" in editor.seen(1)


def test_giving_up_keeps_the_text_and_says_why(editor: Editor, capsys: pytest.CaptureFixture[str]) -> None:
    editor.then(("timeout: 1m30s", "timeout: soon"))
    with pytest.raises(CommandError, match="nothing was changed: timeout: 'soon' is not a duration"):
        edited(Service())
    kept = re.findall(r"Your text is in (\S+): `edit no --from \1` continues with it\n", capsys.readouterr().err)
    assert kept == [str(editor.file)]
    assert "timeout: soon" in editor.file.read_text()
    editor.file.unlink()


def refused_text(editor: Editor, *replacements: tuple[str, str]) -> Path:
    """Edit until the service fails; return the file that is kept."""
    editor.then(*replacements)
    with pytest.raises(grpc.RpcError):
        edited(Service([refusal(grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")]))
    return editor.file


def test_a_kept_text_is_opened_with_what_it_changes_now_and_sent_as_it_is(editor: Editor) -> None:
    kept = refused_text(editor, ("timeout: 1m30s", "timeout: 2m"), ("greet", "greet2"))
    service = Service()

    changed = edited(service, kept)

    assert changed is not None
    assert [paths for paths, _ in service.calls] == [["processing_logic_id", "timeout"]]
    assert editor.seen(1).startswith("#! This would change\n#! processing_logic_id, which is now: greet\n#! timeout, ")
    assert "timeout: 2m" in editor.seen(1)
    kept.unlink()


def test_a_kept_text_that_is_refused_again_is_kept_for_another_try(
    editor: Editor, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = refused_text(editor, ("timeout: 1m30s", "timeout: 2m"))
    with pytest.raises(grpc.RpcError):
        edited(Service([refusal(grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")]), kept)
    assert "timeout: 2m" in kept.read_text()

    # The second edit, above, has changed nothing.
    editor.then()
    editor.then(("timeout: 2m", "timeout: soon"))
    with pytest.raises(CommandError, match="'soon' is not a duration"):
        edited(Service(), kept)
    assert editor.file != kept
    assert "timeout: soon" in editor.file.read_text()
    editor.file.unlink()
    kept.unlink()


def test_a_kept_text_that_is_missing_is_named(editor: Editor, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"--from: .*gone\.yaml can't be read: No such file or directory"):
        edited(Service(), tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    "error",
    [refusal(grpc.StatusCode.ABORTED, "ETAG_MISMATCH"), refusal(grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")],
)
def test_an_error_that_no_edit_mends_ends_it_and_keeps_the_text(
    editor: Editor, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    editor.then(("timeout: 1m30s", "timeout: 2m"))
    with pytest.raises(grpc.RpcError):
        edited(Service([error]))
    assert "Your text is in" in capsys.readouterr().err
    assert "timeout: 2m" in editor.file.read_text()
    editor.file.unlink()


@pytest.mark.parametrize(
    ("command", "problem"), [("false", "ended with status 1"), ("no-such-editor", "can't be started")]
)
def test_an_editor_that_fails_changes_nothing(
    editor: Editor, monkeypatch: pytest.MonkeyPatch, command: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VISUAL", command)
    with pytest.raises(CommandError, match=problem):
        edited(Service())
    assert "Your text" not in capsys.readouterr().err


def test_without_a_terminal_the_other_command_is_named(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(CommandError, match="an editor needs a terminal; without one: `update`"):
        edited(Service())


def test_texts_are_shown_as_yaml_that_means_them(editor: Editor) -> None:
    assert edited(Service()) is None
    shown = editor.seen(0)
    read = read_yaml(shown, edited_fields())
    assert read["name"] == "no"
    assert read["description"] == "Says: hello # to all"
    assert read["retry_initial_backoff"] == "500ms"
    assert read["expires_after"] == "7d"
    assert max(map(len, shown.splitlines())) <= 80
    assert '    "properties": {' in shown


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: a\nnam: b\n", "line 2: unknown field 'nam': did you mean name?"),
        ("name: a\nname: b\n", "line 2: 'name' occurs twice"),
        ("name: [a]\n", "line 1: 'name' must be one value"),
        ("name: {\n", "not YAML"),
        ("- a\n", "`name: value` is expected"),
        ('name: "\x07"\n', "not YAML"),
    ],
)
def test_what_is_no_document_is_named_by_line(text: str, problem: str) -> None:
    with pytest.raises(InvalidDocument, match=re.escape(problem)):
        read_yaml(text, edited_fields())


def test_null_is_an_empty_text_and_quoted_null_is_a_word() -> None:
    assert read_yaml('description:\nname: "null"\n', edited_fields()) == {"description": "", "name": "null"}
