"""Every failure is one clear line and a status, whatever raised it."""

import io
import re
import socket
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path
from uuid import UUID

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from innosystem.customers.v1 import customer_service_pb2
from innosystem.jobs.v1 import job_service_pb2, job_type_service_pb2
from innosystem.wallets.v1 import wallet_service_pb2
from services import SERVICES
from services.jobs.rules.errors import CustomerInactive
from services.kit.errors import DomainError
from tools.cli import __main__ as command
from tools.cli.errors import describe, with_commands
from tools.errors import CommandError
from tools.local.embedded import EmbeddedServerError

VARIABLES = [f"{name}_{what}" for name in ("CUSTOMERS", "WALLETS", "JOBS") for what in ("ADDRESS", "DATABASE_URL")]

SERVED = [
    service
    for module in (customer_service_pb2, job_service_pb2, job_type_service_pb2, wallet_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]


@pytest.fixture(autouse=True)
def _clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (*VARIABLES, "INNOSYSTEM_DEBUG"):
        monkeypatch.delenv(name, raising=False)


def refusal() -> aio.AioRpcError:
    """The error of a call that was refused, as our servers send it."""
    status = status_pb2.Status(code=3, message="The request is wrong.")
    for detail in (
        error_details_pb2.ErrorInfo(domain="innosystem", reason="INVALID_FIELD"),
        error_details_pb2.BadRequest(
            field_violations=[error_details_pb2.BadRequest.FieldViolation(field="job_id", description="not a UUID")]
        ),
    ):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    metadata = aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return aio.AioRpcError(grpc.StatusCode.INVALID_ARGUMENT, aio.Metadata(), metadata, "The request is wrong.")


def test_a_refused_call_says_reason_message_and_fields() -> None:
    assert describe(refusal()) == "INVALID_FIELD: The request is wrong. (job_id: not a UUID)"


@pytest.mark.parametrize("service", SERVICES)
def test_methods_that_a_service_advises_to_call_are_commands_in_the_command(service: str) -> None:
    errors = import_module(f"services.{service}.rules.errors")
    methods = "|".join(sorted({method for one in SERVED for method in one.methods_by_name}))
    found = [one.__doc__ for one in vars(errors).values() if isinstance(one, type) and issubclass(one, DomainError)]
    assert found
    for message in map(str, found):
        assert not re.search(rf"\b({methods})\b", with_commands(message)), message


def test_an_advice_of_a_service_is_said_as_a_command() -> None:
    said = with_commands(str(CustomerInactive(UUID(int=1))))
    assert said.endswith("accepted or retried until `innosystem customers activate` was run.")


def test_a_failed_call_without_details_says_its_status() -> None:
    error = aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, aio.Metadata(), aio.Metadata(), "too slow")
    assert describe(error) == "DEADLINE_EXCEEDED: too slow"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (CommandError("the message"), "the message"),
        (EmbeddedServerError("no room"), "no room"),
        (FileNotFoundError(2, "No such file or directory", "jobs.jsonl"), "jobs.jsonl: No such file or directory"),
        (ExceptionGroup("tasks", [ExceptionGroup("more", [CommandError("the first")])]), "the first"),
        (KeyError("x"), "KeyError: 'x' (this should not happen: --debug shows where it does)"),
    ],
)
def test_errors_are_put_into_words(error: BaseException, line: str) -> None:
    assert describe(error) == line


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nonsense"], "unknown command 'nonsense': --help lists them"),
        (["job", "show"], "unknown command 'job': did you mean jobs?"),
        (["jobs", "lst"], "unknown command 'lst': did you mean list?"),
        (["jobs", "get", "1"], "unknown command 'get': did you mean show?"),
        (["job-types", "describe", "x"], "unknown command 'describe': did you mean show?"),
        (["customers", "rm", "x"], "unknown command 'rm': did you mean deactivate?"),
        (["--nonsense"], "unknown option '--nonsense': --help lists them"),
        (["jobs", "show"], "ID is required: see innosystem jobs show --help"),
        (["serve"], "SERVICE is required: see innosystem serve --help"),
        (
            ["serve", "job"],
            'Invalid value "job" for SERVICE. Choose from: "customers", "wallets", "jobs". Did you mean "jobs"?',
        ),
        (["migrate", "down"], "SERVICE and --to are required: see innosystem migrate down --help"),
        (["migrate", "down", "jobs"], "--to is required: see innosystem migrate down --help"),
        (["migrate", "down", "--to"], "--to needs a value: see innosystem migrate down --help"),
        (
            ["wallets", "credit", "--customer-id", "x", "--amount", "-5EUR"],
            "--amount takes no value below zero, such as -5EUR: see innosystem wallets credit --help",
        ),
        (["jobs", "list", "--limit"], "--limit needs a value: see innosystem jobs list --help"),
        (["jobs", "show", "a", "b", "c"], "unexpected arguments 'b' and 'c': see innosystem jobs show --help"),
        (["jobs", "list", "--qxz"], "unknown option --qxz: see innosystem jobs list --help"),
        (["jobs", "show", "--qxz"], "unknown option --qxz: see innosystem jobs show --help"),
        (["jobs", "show", "--qxz", "--qxz=1"], "unknown option --qxz: see innosystem jobs show --help"),
        (
            ["customers", "create", "--nam", "Ada", "--emale=ada@example.com"],
            "unknown option --nam (did you mean --name?); unknown option --emale (did you mean --email?): "
            "see innosystem customers create --help",
        ),
        (
            ["customers", "create", "--nam", "Ada"],
            "unknown option --nam (did you mean --name?); --email is required: see innosystem customers create --help",
        ),
        (["customers", "create"], "--name and --email are required: see innosystem customers create --help"),
        (["jobs", "list", "--limit", "0"], 'Invalid value "0" for --limit. Must be >= 1.'),
        (
            ["wallets", "credit", "--customer-id", "x", "--amount-cents", str(2**63)],
            f'Invalid value "{2**63}" for --amount-cents. Must be <= {2**63 - 1}.',
        ),
        (["wallets", "show"], "name the wallet by its ID, or by --customer-id and --currency"),
        (["wallets", "statement"], "name the wallet by its ID, by --customer-id and --currency, or by --job-id"),
        (["wallets", "refund", "--all"], "name the charge by --transaction-id or by --job-id"),
        (
            ["wallets", "refund", "--job-id", "x"],
            "give the amount once: --amount 7.50EUR, or --amount-cents 750, or --all for the rest",
        ),
        (
            ["wallets", "credit", "--customer-id", "x"],
            "give the amount once: --amount 7.50EUR, or --amount-cents 750 --currency EUR",
        ),
        (["jobs", "cancel"], "name the jobs by exactly one of their IDs, --filter or --all"),
        (["jobs", "list", "--json", "-o", "csv"], "--json is short for -o json, and -o says csv: give one of them"),
        (["customers", "update", "x"], "nothing to change: give --name or --email"),
        (
            ["job-types", "create", "--name", "a b", "--standard-cost", "0EUR"],
            "--name: 'a b' is not 1 to 100 letters, digits, dots, dashes and underscores, the first of them a letter "
            "or a digit",
        ),
        (["submit", "--timeout", "5s"], "--timeout limits --wait: give both"),
        (["submit"], "name a file of jobs (- is standard input), or one job by --job-type and --customer-id"),
        (["submit", "greet"], "there is no file greet. If greet is the type of the job: --job-type greet"),
        (
            ["submit", "greet", "--input", "1"],
            "a file has all of a job in its line: leave out the options of one job, such as --input. "
            "If greet is the type of the job: --job-type greet",
        ),
        (
            ["submit", "greet", '{"name": "Ada"}'],
            """unexpected argument '{"name": "Ada"}'; one job is given by --job-type, --customer-id and --input: """
            "see innosystem submit --help",
        ),
        (["context", "create", "a", "JOBS_ADDRESS="], "JOBS_ADDRESS has no value: write JOBS_ADDRESS=VALUE"),
        (["context", "delete", "default"], "the context default is always there"),
        (["--context", "default", "up"], "--context names a platform that is there, which `up` does not use"),
        (["dev", "--new", "notes.txt"], "notes.txt: a module needs a name such as my_handlers.py"),
        (
            ["dev", "submit", "greet", "{"],
            "the input is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1). "
            """Quote it: '{"name": "Ada"}'""",
        ),
    ],
)
def test_bad_arguments_are_one_line_and_status_2(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(arguments) == 2
    assert capsys.readouterr().err == f"innosystem: {line}\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["submit", "missing.jsonl"], "missing.jsonl: No such file or directory"),
        (["--env-file", "missing.env", "jobs", "list"], "--env-file: there is no file missing.env"),
        (
            ["migrate", "up", "jobs"],
            "JOBS_DATABASE_URL is not set: the context default knows only addresses of services. "
            "`innosystem up` starts a platform; --context NAME or --env-file FILE names another",
        ),
    ],
)
def test_a_command_that_fails_is_one_line_and_status_1(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(arguments) == 1
    assert capsys.readouterr().err == f"innosystem: {line}\n"


@pytest.mark.parametrize("debug", [["--debug"], []])
def test_tracebacks_are_shown_when_asked_for(debug: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if not debug:
        monkeypatch.setenv("INNOSYSTEM_DEBUG", "1")
    with pytest.raises(FileNotFoundError):
        command.main([*debug, "submit", "missing.jsonl"])


def test_no_service_is_named_with_its_address(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nobody = f"unix:{tmp_path}/s"
    monkeypatch.setenv("WALLETS_ADDRESS", nobody)
    assert command.main(["wallets", "list"]) == 1
    assert capsys.readouterr().err == (
        f"innosystem: can't reach the wallets service at {nobody} (the environment): is it running? "
        "WALLETS_ADDRESS says where; `innosystem context list` shows other platforms\n"
    )


def test_a_database_that_is_away_is_named_without_its_password(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JOBS_DATABASE_URL", f"postgresql://me:secret@/jobs?host={tmp_path}")
    assert command.main(["migrate", "current", "jobs"]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"innosystem: can't use the database of JOBS_DATABASE_URL (me@{tmp_path}/jobs): ")
    assert err.count("\n") == 1
    assert "secret" not in err


class Told(io.StringIO):
    """A standard error that notices the first text."""

    def __init__(self) -> None:
        super().__init__()
        self.told = threading.Event()

    def write(self, text: str) -> int:
        """Take a text."""
        written = super().write(text)
        self.told.set()
        return written


@pytest.mark.parametrize("arguments", [["migrate", "up", "jobs"], ["migrate", "current", "jobs"], ["up"]])
def test_a_database_that_does_not_respond_is_named_while_it_is_waited_for(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", said := Told())
    with socket.create_server(("127.0.0.1", 0)) as server:

        def respond_when_it_is_said() -> None:
            connection, _ = server.accept()
            with connection:
                said.told.wait(9)

        peer = threading.Thread(target=respond_when_it_is_said)
        peer.start()
        where = f"127.0.0.1:{server.getsockname()[1]}/jobs"
        monkeypatch.setenv("JOBS_DATABASE_URL", f"postgresql://me:secret@{where}")
        assert command.main(arguments) == 1
        peer.join()
    first, failed = said.getvalue().splitlines()
    assert first == f"Waiting for the database of JOBS_DATABASE_URL (me@{where}) to respond, 10 s at most ..."
    assert failed.startswith(f"innosystem: can't use the database of JOBS_DATABASE_URL (me@{where}): ")


def test_an_address_that_is_no_url_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBS_DATABASE_URL", "secret nonsense")
    assert command.main(["migrate", "up", "jobs"]) == 1
    assert capsys.readouterr().err == (
        "innosystem: JOBS_DATABASE_URL must be a URL such as postgresql://user:password@host:5432/name\n"
    )


def test_a_misspelt_setting_is_named_on_standard_error_and_the_command_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_LEVLE", "DEBUG")
    assert command.main(["context", "list"]) == 0
    assert capsys.readouterr().err == "innosystem: LOG_LEVLE is not a setting: did you mean LOG_LEVEL?\n"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("JOBS_ADRESS", "JOBS_ADDRESS"),
        ("JOBS_DATABSE_URL", "JOBS_DATABASE_URL"),
        ("WALLETS_DATABASE_OWNR_URL", "WALLETS_DATABASE_OWNER_URL"),
        ("REDIS_ULR", "REDIS_URL"),
    ],
)
def test_a_misspelt_variable_of_the_platform_leads_to_no_other_platform(
    name: str, meant: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = (
        f"innosystem: {name} is not a setting: did you mean {meant}? It says which platform to use: correct or unset it"
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(f"{name}=elsewhere:1\n")
    for arguments in (["jobs", "list"], ["migrate", "up", "jobs"], ["status"]):
        assert command.main(arguments) == 2
        assert capsys.readouterr().err == f"{said}, or name the platform by --context or --env-file\n"
    assert command.main(["up"]) == 2
    assert capsys.readouterr().err == f"{said}\n"
    # An option names the platform all the same; a shell that asks for the completion at its start is not held up.
    assert command.main(["--context", "default", "context", "list"]) == 0
    assert command.main(["completion", "bash"]) == 0


def test_a_misspelt_variable_in_a_file_that_names_the_platform_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "a.env").write_text("WALLETS_ADDRESS=there:1\nJOBS_ADRESS=there:2\n")
    assert command.main(["--env-file", str(tmp_path / "a.env"), "jobs", "list"]) == 2
    assert "has JOBS_ADRESS, which is not a setting: did you mean JOBS_ADDRESS?" in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from tools.cli.__main__ import main; status = main(['--help']); "
        "heavy = {'grpc', 'google.protobuf', 'sqlalchemy', 'psycopg', 'pydantic'} & set(sys.modules); "
        "sys.exit(status or ' '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("up", "demo", "submit", "migrate", "wallets"):
        assert f" {name} " in done.stdout


def test_a_command_describes_itself_at_length(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["submit", "--help"]) == 0
    assert "Each line of a file is one job" in capsys.readouterr().out


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    program = "from tools.cli.__main__ import main; import sys; sys.exit(main(['--help']))"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
