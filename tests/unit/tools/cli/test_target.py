"""A command works on the platform of exactly one source."""

import fcntl
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from innosystem.shared.settings_names import CREDENTIALS, PLATFORM
from tools.cli.__main__ import _called, main
from tools.errors import CommandError
from tools.local.contexts import Context, changed_contexts, contexts_file, read_contexts
from tools.local.target import Target, choose, target

BOOKS = {f"{name}_DATABASE_URL": f"postgresql://books/{name.lower()}" for name in ("CUSTOMERS", "WALLETS", "JOBS")}


@pytest.fixture(autouse=True)
def _no_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for name in (*PLATFORM, *CREDENTIALS):
        monkeypatch.delenv(name, raising=False)
    choose()
    yield
    choose()


def chosen(context: str | None = None, env_file: Path | None = None) -> Target:
    """Return the platform that a new command would work on."""
    choose(context, env_file)
    return target()


def keep(name: str, *, current: bool = False, **settings: str) -> None:
    """Keep a context."""
    with changed_contexts() as contexts:
        contexts.known[name] = Context(name, given=settings)
        contexts.current = name if current else contexts.current


@contextmanager
def running_stack(folder: Path, **settings: str) -> Iterator[str]:
    """Hold what a stack holds while it serves; yield the name of its context."""
    folder.mkdir(exist_ok=True)
    (folder / "stack.env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    with (folder / "stack.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(str(os.getpid()))
        lock.flush()
        with changed_contexts() as contexts:
            name = contexts.add_stack(folder)
        yield name


def test_without_any_source_the_services_are_those_at_the_default_ports() -> None:
    found = chosen()
    assert found.addresses == {"customers": "localhost:50051", "wallets": "localhost:50052", "jobs": "localhost:50053"}
    assert not found.obvious
    with pytest.raises(CommandError, match="JOBS_DATABASE_URL is not set: the context default knows only addresses"):
        found.database_urls("jobs")


def test_the_sources_have_an_order_and_each_takes_the_place_of_the_next_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep("current", current=True, JOBS_ADDRESS="current:1", **BOOKS)
    keep("other", JOBS_ADDRESS="other:1")
    assert chosen().addresses == {"jobs": "current:1"}
    (tmp_path / ".env").write_text("JOBS_ADDRESS=file:1\nWALLETS_ADDRESS=file:2\nLOG_LEVEL=DEBUG\n")
    assert (chosen().addresses, chosen().source) == ({"jobs": "file:1", "wallets": "file:2"}, ".env")
    assert chosen().settings["LOG_LEVEL"] == "DEBUG"
    monkeypatch.setenv("JOBS_ADDRESS", "shell:1")
    assert chosen().addresses == {"jobs": "shell:1", "wallets": "file:2"}
    monkeypatch.delenv("JOBS_ADDRESS")
    monkeypatch.setenv("INNOSYSTEM_CONTEXT", "current")
    assert chosen().addresses == {"jobs": "current:1"}
    assert chosen("other").addresses == {"jobs": "other:1"}
    (tmp_path / "some.env").write_text("WALLETS_ADDRESS=some:2\n")
    assert chosen(env_file=tmp_path / "some.env").addresses == {"wallets": "some:2"}
    for variable in BOOKS:
        assert variable not in chosen("other").settings
    assert chosen("default").addresses["jobs"] == "localhost:50053"


def test_two_sources_of_the_same_rank_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep("one", JOBS_ADDRESS="one:1")
    with pytest.raises(CommandError, match="give one of them"):
        choose("one", tmp_path / "some.env")
    monkeypatch.setenv("INNOSYSTEM_CONTEXT", "one")
    monkeypatch.setenv("JOBS_ADDRESS", "shell:1")
    with pytest.raises(CommandError, match="INNOSYSTEM_CONTEXT and JOBS_ADDRESS are both set"):
        chosen()
    assert chosen("one").addresses == {"jobs": "one:1"}


def test_a_service_that_the_source_does_not_name_is_not_looked_for_at_its_default_address(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOBS_ADDRESS", "unix:/nobody")
    assert main(["wallets", "list"]) == 1
    assert "WALLETS_ADDRESS is not set, and the environment names JOBS_ADDRESS" in capsys.readouterr().err
    monkeypatch.delenv("JOBS_ADDRESS")
    keep("half", WALLETS_ADDRESS="unix:/nobody")
    assert main(["jobs", "watch", "x", "--context", "half"]) == 1
    assert "JOBS_ADDRESS is not set in the context half" in capsys.readouterr().err


def test_in_the_environment_of_a_service_it_is_found_where_it_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUSTOMERS_ADDRESS", "customers:50051")
    monkeypatch.setenv("JOBS_LISTEN_ADDRESS", "0.0.0.0:6000")
    monkeypatch.setenv("JOBS_DATABASE_URL", BOOKS["JOBS_DATABASE_URL"])
    assert chosen().addresses == {"customers": "customers:50051", "jobs": "localhost:6000"}


def test_databases_lead_to_the_stack_that_uses_them_and_to_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"JOBS_ADDRESS": "127.0.0.1:1", "REDIS_URL": "redis://one", **BOOKS}
    others = {"JOBS_ADDRESS": "127.0.0.1:2", "REDIS_URL": "redis://two", **BOOKS, "JOBS_DATABASE_URL": "postgresql://x"}
    with running_stack(tmp_path / "other", **others), running_stack(tmp_path / "own", **own) as name:
        assert read_contexts().current == "other"
        assert chosen().context == "other"
        for variable, value in BOOKS.items():
            monkeypatch.setenv(variable, value)
        found = chosen()
        assert (found.context, found.addresses, found.obvious) == (name, {"jobs": "127.0.0.1:1"}, False)
        assert found.database_urls("jobs") == {"jobs": BOOKS["JOBS_DATABASE_URL"]}
    found = chosen()
    assert found.context is None
    assert found.is_guessed


def test_addresses_lead_to_no_context_as_another_platform_may_have_had_them(monkeypatch: pytest.MonkeyPatch) -> None:
    keep("known", current=True, JOBS_ADDRESS="same:1", **BOOKS)
    monkeypatch.setenv("JOBS_ADDRESS", "same:1")
    with pytest.raises(CommandError, match="JOBS_DATABASE_URL is not set, and the environment names JOBS_ADDRESS"):
        chosen().database_urls("jobs")


def test_a_stack_that_has_stopped_is_no_platform_though_its_file_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "with a space"
    with running_stack(folder, JOBS_ADDRESS="127.0.0.1:1") as name:
        assert chosen().addresses == {"jobs": "127.0.0.1:1"}
        (folder / "stack.env").unlink()
        with pytest.raises(CommandError, match="is starting"):
            chosen()
        (folder / "stack.env").write_text("JOBS_ADDRESS=127.0.0.1:1\n")
    with pytest.raises(
        CommandError, match=f"the context {name} is stopped: start it, `innosystem up --folder '.*a space'`"
    ):
        chosen()
    # A process that has the ID of the one that ended is no stack.
    assert not Context(name, stack=folder).usable


def test_stacks_get_names_that_do_not_collide_and_keep_them(tmp_path: Path) -> None:
    folders = [tmp_path / part for part in ("a/.innosystem", "b/.innosystem", "c/mine", "d/mine", "e/default", "f/ä")]
    for folder in folders:
        folder.mkdir(parents=True)
    with changed_contexts() as contexts:
        names = [contexts.add_stack(folder) for folder in folders]
        assert names == [contexts.add_stack(folder) for folder in folders]
    assert (names[0], names[2]) == ("local", "mine")
    assert len(set(names)) == len(folders)
    assert "default" not in names
    # A folder that is gone is forgotten with the next one.
    folders[2].rmdir()
    with changed_contexts() as contexts:
        contexts.add_stack(folders[0])
        assert "mine" not in contexts.known


def test_a_new_stack_becomes_the_current_context_only_in_place_of_one_that_can_not_be_used(tmp_path: Path) -> None:
    one, two = (running_stack(tmp_path / name, JOBS_ADDRESS=f"127.0.0.1:{name}") for name in ("one", "two"))
    with one, two:
        assert read_contexts().current == "one"
    with running_stack(tmp_path / "two", JOBS_ADDRESS="127.0.0.1:2"):
        assert read_contexts().current == "two"
        assert chosen().obvious
        keep("staging", JOBS_ADDRESS="staging:1")
        assert not chosen().obvious
        assert chosen().describe() == "context two (127.0.0.1:2)"


def test_contexts_are_kept_for_this_user_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("postgresql://me:sec@ret@db/jobs\n"))
    assert main(["context", "create", "staging", "JOBS_ADDRESS=staging:1", "JOBS_DATABASE_URL=-"]) == 0
    file = contexts_file()
    assert file is not None
    assert file.stat().st_mode & 0o777 == 0o600
    assert main(["context", "use", "staging"]) == 0
    capsys.readouterr()
    assert main(["context", "show", "--json"]) == 0
    shown = capsys.readouterr().out
    assert json.loads(shown)["settings"]["JOBS_DATABASE_URL"] == "postgresql://me:***@db/jobs"
    assert main(["context", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["current"], one["jobs_address"]) for one in listed] == [
        ("default", False, "localhost:50053"),
        ("staging", True, "staging:1"),
    ]
    assert main(["context", "create", "staging", "JOBS_ADDRESS=x"]) == 1
    assert "--replace replaces it" in capsys.readouterr().err
    (tmp_path / "x.env").write_text("JOBS_ADDRESS=x:1\nLOG_LEVEL=DEBUG\n")
    assert main(["--env-file", "x.env", "context", "create", "staging", "--replace"]) == 0
    assert read_contexts().known["staging"].given == {"JOBS_ADDRESS": "x:1"}
    capsys.readouterr()
    assert main(["context", "delete", "staging"]) == 0
    assert capsys.readouterr().out == (
        "Deleted the context staging. The current context is default, the services at their default ports on this "
        "machine.\n"
    )
    assert read_contexts().current is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("INNOSYSTEM_TOKEN", "planted"),
        ("RUNNER_TOKEN", "planted"),
        ("JOBS_DATABASE_URL", "postgresql://me:planted@db/jobs"),
        ("JOBS_DATABASE_OWNER_URL", "postgresql://db/jobs?password=planted"),
        ("REDIS_URL", "redis://:planted@cache/0"),
    ],
)
def test_a_secret_is_no_argument_and_comes_from_standard_input_or_from_a_file(
    variable: str,
    value: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    creating = ["context", "create", "staging", "--replace", "JOBS_ADDRESS=staging:1"]
    assert main([*creating, f"{variable}={value}"]) == 2
    said = capsys.readouterr().err
    assert f"{variable}=- and give it on standard input, or {variable}_FILE=FILE" in said
    assert "planted" not in said

    monkeypatch.setattr("sys.stdin", io.StringIO(f"{value}\n"))
    assert main([*creating, f"{variable}=-"]) == 0
    assert read_contexts().known["staging"].given[variable] == value
    assert main([*creating, f"{variable}=-"]) == 2
    assert f"{variable}: standard input has no line for it" in capsys.readouterr().err

    (tmp_path / "secret").write_text(f"{value}\n")
    assert main([*creating, f"{variable}_FILE=secret"]) == 0
    given = read_contexts().known["staging"].given
    # A token is read at each call, an address when the context is created.
    if variable.endswith("_TOKEN"):
        assert given[f"{variable}_FILE"] == str(tmp_path / "secret")
    else:
        assert given[variable] == value


def test_addresses_that_files_hold_are_those_of_a_platform_that_a_file_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "url").write_text("postgresql://me:secret@db/jobs\n")
    (tmp_path / "some.env").write_text("JOBS_DATABASE_URL_FILE=url\nJOBS_ADDRESS=some:1\n")
    found = chosen(env_file=Path("some.env"))
    assert found.database_urls("jobs") == {"jobs": "postgresql://me:secret@db/jobs"}
    assert main(["context", "create", "kept", "--env-file", "some.env"]) == 0
    assert chosen("kept").database_urls("jobs") == {"jobs": "postgresql://me:secret@db/jobs"}

    (tmp_path / "some.env").write_text("JOBS_DATABASE_URL_FILE=missing\n")
    with pytest.raises(CommandError, match=r"--env-file: JOBS_DATABASE_URL_FILE: missing can't be read.*some\.env"):
        chosen(env_file=Path("some.env"))


def test_a_process_is_refused_where_a_file_holds_an_address_of_another_platform(tmp_path: Path) -> None:
    keep("staging", JOBS_ADDRESS="staging:1")
    (tmp_path / ".env").write_text("REDIS_URL_FILE=url\n")
    (tmp_path / "url").write_text("redis://other\n")
    with pytest.raises(CommandError, match=r"\.env has REDIS_URL_FILE, and the context staging has not"):
        chosen("staging").apply()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["use", "nosuch"], "there is no context 'nosuch': the contexts are default"),
        (["create", "default", "JOBS_ADDRESS=x:1"], "'default' can't be the name of a context"),
        (["create", "a b", "JOBS_ADDRESS=x:1"], "'a b' can't be the name of a context"),
        (["create", "x", "JOB_ADDRESS=x:1"], "JOB_ADDRESS does not name a platform: did you mean JOBS_ADDRESS?"),
        (["create", "x", "JOBS_ADDRESS="], "JOBS_ADDRESS has no value: write JOBS_ADDRESS=VALUE"),
        (["create", "x"], "name the platform: JOBS_ADDRESS=..."),
        (["delete", "default"], "the context default is always there"),
    ],
)
def test_what_can_not_be_done_to_contexts_is_said(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["context", *arguments]) == (1 if arguments[0] == "use" else 2)
    assert line in capsys.readouterr().err


def test_a_file_that_is_damaged_is_named_and_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    file = contexts_file()
    assert file is not None
    file.write_text("{")
    assert main(["context", "create", "x", "JOBS_ADDRESS=x:1"]) == 1
    assert f"{file} has no contexts that this release can read" in capsys.readouterr().err
    assert file.read_text() == "{"


def test_a_home_that_is_missing_or_can_not_be_written_keeps_no_command_from_working(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INNOSYSTEM_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/proc/1/nothing")
    assert chosen().addresses["jobs"] == "localhost:50053"
    with pytest.raises(CommandError, match="contexts can't be kept in /proc/1/nothing"), changed_contexts():
        pass
    monkeypatch.delenv("XDG_CONFIG_HOME")

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert chosen().addresses["jobs"] == "localhost:50053"
    with pytest.raises(CommandError, match="HOME is not set"), changed_contexts():
        pass


def test_processes_that_write_together_lose_nothing() -> None:
    program = (
        "import sys; from tools.local.contexts import *\n"
        "for n in range(20):\n"
        "    with changed_contexts() as found: found.known[f'{sys.argv[1]}-{n}'] = Context('x', given={'a': 'b'})"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, name], cwd=PROJECT) for name in ("a", "b", "c")]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert len(read_contexts().known) == 60


PROJECT = Path(__file__).parents[4]


@pytest.mark.parametrize(
    ("arguments", "called"),
    [
        (["--context", "up", "jobs", "list"], "jobs"),
        (["--context=up", "jobs"], "jobs"),
        (["--env-file", "x", "--debug", "verify"], "verify"),
        (["--help"], None),
    ],
)
def test_the_command_is_told_from_the_values_of_options(arguments: list[str], called: str | None) -> None:
    assert _called(arguments) == called


def test_commands_that_bring_their_own_platform_refuse_another(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "--context", "x"]) == 2
    assert "`up` does not use" in capsys.readouterr().err


def test_the_options_may_stand_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--context", "nosuch", "jobs", "list"], ["jobs", "list", "--context", "nosuch"]):
        assert main(arguments) == 1
        assert "there is no context 'nosuch'" in capsys.readouterr().err


def test_a_service_without_a_platform_is_led_to_one_and_with_its_own_variables_it_asks_no_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["serve", "customers"]) == 1
    assert "CUSTOMERS_DATABASE_URL is not set: the context default knows only addresses" in capsys.readouterr().err
    # As in a container: no address of another service, and nobody to ask.
    monkeypatch.setenv("CUSTOMERS_DATABASE_URL", "nonsense")
    # As a process: a service configures the log of its process, for good.
    command = [sys.executable, "-m", "tools.cli", "serve", "customers"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    served = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=environment)
    assert served.returncode == 2
    assert "CUSTOMERS_DATABASE_URL" in served.stderr + served.stdout
    assert "names no services" not in served.stderr


def test_a_process_gets_the_platform_of_the_context_and_nothing_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep("staging", JOBS_ADDRESS="staging:1")
    monkeypatch.setenv("REDIS_URL", "redis://of-the-shell")
    monkeypatch.setenv("JOBS_ADDRESS", "shell:1")
    chosen("staging").apply()
    assert {name: os.environ[name] for name in PLATFORM if name in os.environ} == {"JOBS_ADDRESS": "staging:1"}
    (tmp_path / ".env").write_text("REDIS_KEY_PREFIX=other:\n")
    with pytest.raises(CommandError, match=r"\.env has REDIS_KEY_PREFIX, and the context staging has not"):
        chosen("staging").apply()


def test_the_token_is_the_one_of_the_platforms_source_and_never_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INNOSYSTEM_TOKEN", "of-the-shell")
    assert chosen().token()() == "of-the-shell"
    keep("staging", JOBS_ADDRESS="staging:1")
    assert chosen("staging").token()() == ""
    keep("production", JOBS_ADDRESS="production:1", INNOSYSTEM_TOKEN="of-production")
    assert chosen("production").token()() == "of-production"
    file = tmp_path / "env"
    file.write_text("JOBS_ADDRESS=other:1\n")
    assert chosen(env_file=file).token()() == ""
    monkeypatch.setenv("JOBS_ADDRESS", "shell:1")
    assert chosen().token()() == "of-the-shell"


def test_a_process_gets_the_credentials_of_the_context_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    keep("staging", JOBS_ADDRESS="staging:1", RUNNER_TOKEN="of-staging")
    monkeypatch.setenv("INNOSYSTEM_TOKEN", "of-the-shell")
    chosen("staging").apply()
    assert {name: os.environ[name] for name in CREDENTIALS if name in os.environ} == {"RUNNER_TOKEN": "of-staging"}


def test_a_token_file_that_cannot_be_read_is_an_error_of_the_command(tmp_path: Path) -> None:
    keep("staging", JOBS_ADDRESS="staging:1", INNOSYSTEM_TOKEN_FILE=str(tmp_path / "missing"))
    with pytest.raises(CommandError, match="INNOSYSTEM_TOKEN_FILE: can't read"):
        chosen("staging").token()


def test_a_context_keeps_a_token_and_does_not_show_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("secret\n"))
    assert main(["context", "create", "staging", "JOBS_ADDRESS=staging:1", "INNOSYSTEM_TOKEN=-"]) == 0
    assert main(["context", "show", "staging"]) == 0
    shown = capsys.readouterr().out
    assert "INNOSYSTEM_TOKEN" in shown
    assert "secret" not in shown
    assert chosen("staging").token()() == "secret"


def test_a_list_of_contexts_says_what_comes_before_the_current_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep("local", current=True, JOBS_ADDRESS="localhost:1")
    assert main(["context", "list"]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("JOBS_ADDRESS", "localhost:2")
    said = "Here, commands use the environment instead of the current context, which names JOBS_ADDRESS.\n"
    for command in ("list", "use local"):
        assert main(["context", *command.split()]) == 0
        assert capsys.readouterr().err == said
    monkeypatch.delenv("JOBS_ADDRESS")
    keep("other", JOBS_ADDRESS="localhost:3")
    monkeypatch.setenv("INNOSYSTEM_CONTEXT", "other")
    assert main(["context", "list"]) == 0
    assert capsys.readouterr().err == "Here, commands use the context other instead of the current context.\n"
    monkeypatch.setenv("INNOSYSTEM_CONTEXT", "default")
    assert main(["context", "list"]) == 0
    assert "Here, commands use the default addresses instead" in capsys.readouterr().err
