"""`innosystem up` and `innosystem demo`, as their users run them."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import psycopg
import pytest
from dotenv import dotenv_values
from redis import Redis

from services import SERVICES
from tests.conftest import PostgresServer, migrations
from tests.e2e.commands import FREE_PORTS, children, command, ended, started
from tests.e2e.processes import PROJECT
from tests.support.until import until_sync
from tools.local.embedded import EmbeddedPostgres, EmbeddedRedis

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def ran(cwd: Path, settings: dict[str, str], *arguments: str) -> str:
    """Run a command that must succeed; return what it printed."""
    process = command(*arguments, cwd=cwd, **settings)
    printed, said = process.communicate(timeout=60)
    assert process.returncode == 0, printed + said
    return printed


def everything(folder: Path, cwd: Path, settings: dict[str, str]) -> tuple[list[str], set[str], list[tuple[str]]]:
    """What a platform has: what its lists say, its keys in Redis, and the databases of its server."""
    nouns = ("customers", "wallets", "jobs", "job-types")
    lists = [ran(cwd, settings, noun, "list", "--json") for noun in nouns]
    with (
        Redis.from_url(settings["REDIS_URL"]) as redis,
        psycopg.connect(EmbeddedPostgres(folder).url("postgres")) as db,
    ):
        keys = {key.decode() for key in redis.scan_iter()}
        return lists, keys, db.execute("SELECT datname FROM pg_database ORDER BY 1").fetchall()


def test_each_process_of_the_stack_serves_metrics_and_a_command_reads_them_without_further_ado(
    folder: Path, tmp_path: Path
) -> None:
    stack, _ = started(folder, tmp_path)
    settings = {name: str(value) for name, value in dotenv_values(folder / "stack.env").items()}

    for service in SERVICES:
        with urlopen(f"http://{settings[f'{service.upper()}_METRICS_ADDRESS']}/metrics", timeout=10) as response:
            assert "grpc_server_handled_total" in response.read().decode()
    [line] = [line for line in (folder / "logs" / "runner-1.log").read_text().splitlines() if '"metrics"' in line]
    with urlopen(f"http://{json.loads(line)['address']}/metrics", timeout=10) as response:
        assert "innosystem_runner_slots 32.0" in response.read().decode()
    assert "jobs.job_types" in ran(tmp_path, settings, "cache", "stats")

    stack.send_signal(signal.SIGINT)
    assert ended(stack) == 0


def test_ctrl_c_stops_all_of_the_stack_and_its_data_is_there_at_the_next_start(folder: Path, tmp_path: Path) -> None:
    stack, addresses = started(folder, tmp_path)
    assert addresses.keys() == set(SERVICES)
    assert len(children(folder)) == 4
    stack.send_signal(signal.SIGINT)
    assert ended(stack) == 0
    assert children(folder) == []
    assert not EmbeddedPostgres(folder).running
    assert not EmbeddedRedis(folder).running

    stack, _ = started(folder, tmp_path)
    settings = dict(line.split("=", 1) for line in (folder / "stack.env").read_text().splitlines())
    environment = {name: value.strip("'") for name, value in settings.items()}
    seeded = subprocess.run(
        [sys.executable, "-m", "tools.cli", "seed"],
        env={**os.environ, **environment, "PYTHONPATH": str(PROJECT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "All examples exist already." in seeded.stdout
    stack.terminate()
    assert ended(stack) == 0


def test_databases_that_settings_name_are_migrated_after_a_yes_and_used_without_one_afterwards(
    folder: Path, tmp_path: Path, fresh_database: Callable[[str], str]
) -> None:
    urls = {service: fresh_database(service) for service in SERVICES}
    migrations("jobs", urls["jobs"]).down("-1")
    settings = {f"{service.upper()}_DATABASE_URL": url for service, url in urls.items()}

    asking = command("up", "--folder", folder, *FREE_PORTS, cwd=tmp_path, **settings)
    _, said = asking.communicate(timeout=60)
    assert asking.returncode == 1
    assert said.count("migrates the database") == 1
    assert migrations("jobs", urls["jobs"]).pending() != []

    for options in (["--yes"], []):
        stack, _ = started(folder, tmp_path, *options, **settings)
        stack.terminate()
        assert ended(stack) == 0
        assert migrations("jobs", urls["jobs"]).pending() == []


def test_the_databases_of_a_demo_that_was_killed_are_removed_by_the_next(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    settings = {f"{service.upper()}_DATABASE_URL": postgres.url("postgres") for service in SERVICES}

    def left() -> set[str]:
        with psycopg.connect(postgres.url("postgres")) as connection:
            found = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'innosystem_demo_%'")
            return {name for (name,) in found}

    demo = command("demo", "--jobs", "30", cwd=tmp_path, **settings)
    until_sync(lambda: len(left()) == len(SERVICES))
    killed = left()
    demo.kill()
    ended(demo)
    until_sync(lambda: sessions_of(postgres, killed) == 0)

    demo = command("demo", "--jobs", "30", cwd=tmp_path, **settings)
    printed, said = demo.communicate(timeout=280)
    assert demo.returncode == 0, printed + said
    assert all(f"removed the database {name}" in said for name in killed)
    assert left() == set()


def sessions_of(postgres: PostgresServer, databases: set[str]) -> int:
    with psycopg.connect(postgres.url("postgres")) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = ANY(%s)"
        found = connection.execute(query, [list(databases)]).fetchone()
        return int(found[0]) if found else 0


def test_ctrl_c_while_postgresql_starts_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    stack = command("up", "--folder", folder, *FREE_PORTS, cwd=tmp_path)
    until_sync((folder / "postgres").exists)
    os.killpg(stack.pid, signal.SIGINT)
    assert ended(stack) == 0
    assert not EmbeddedPostgres(folder).running
    assert children(folder) == []


def test_settings_meant_for_other_servers_and_logs_do_not_keep_a_stack_from_starting(
    folder: Path, tmp_path: Path
) -> None:
    stack, _ = started(folder, tmp_path, LOG_LEVEL="WARNING", PGSERVICE="elsewhere", PGOPTIONS="-c search_path=nowhere")
    stack.terminate()
    _, said = stack.communicate(timeout=60)
    steps = ["PostgreSQL", "Redis", "migrations", *SERVICES, "runner-1", "examples"]
    assert (stack.returncode, re.findall(r"^(\S+) +\d+\.\d s$", said, re.MULTILINE)) == (0, steps)
    # A slow machine also says what it waits for.
    assert all(line.split()[0] in steps for line in said.splitlines())


def test_a_second_stack_in_the_same_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    stack, _ = started(folder, tmp_path)
    second = command("up", "--folder", folder, *FREE_PORTS, cwd=tmp_path)
    _, said = second.communicate(timeout=60)
    assert second.returncode == 1
    assert f"a stack is running in {folder}" in said
    stack.terminate()
    assert ended(stack) == 0


def test_a_port_that_is_taken_is_named_with_its_user_before_anything_starts(folder: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        stack = command("up", "--folder", folder, "--jobs-port", str(port), cwd=tmp_path)
        _, said = stack.communicate(timeout=60)
    assert stack.returncode == 1
    assert f"port {port}, meant for jobs, is used by process {os.getpid()} (" in said
    assert "--jobs-port 0" in said
    assert not (folder / "postgres").exists()


def test_all_ports_that_are_taken_are_named_at_once_with_the_command_for_free_ones(
    folder: Path, tmp_path: Path
) -> None:
    with socket.socket() as one, socket.socket() as other:
        for taken in (one, other):
            taken.bind(("127.0.0.1", 0))
            taken.listen()
        wallets, jobs = one.getsockname()[1], other.getsockname()[1]
        ports = ["--customers-port", "0", "--wallets-port", str(wallets), "--jobs-port", str(jobs)]
        stack = command("up", "--folder", folder, *ports, cwd=tmp_path)
        _, said = stack.communicate(timeout=60)
    assert stack.returncode == 1
    assert f"port {wallets}, meant for wallets" in said
    assert f"port {jobs}, meant for jobs" in said
    assert "`innosystem up --wallets-port 0 --jobs-port 0`" in said


def test_a_port_that_is_taken_during_the_start_is_named_with_its_user(folder: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    stack = command("up", "--folder", folder, "--customers-port", str(port), *FREE_PORTS[2:], cwd=tmp_path)
    assert stack.stderr
    # The first step follows the look at the ports, and is over long before the service starts.
    assert "PostgreSQL" in stack.stderr.readline()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        _, said = stack.communicate(timeout=60)
    assert stack.returncode == 1
    assert f"port {port}, meant for customers, is used by process {os.getpid()} (" in said
    assert "--customers-port 0" in said


def test_a_service_that_dies_ends_the_stack_with_its_name_and_log(folder: Path, tmp_path: Path) -> None:
    stack, _ = started(folder, tmp_path)
    [wallets] = [process for process in children(folder) if "services.wallets" in process.cmdline()]
    wallets.kill()
    _, said = stack.communicate(timeout=60)
    assert stack.returncode == 1
    assert "wallets ended with exit status -9" in said
    assert '"event":"serving"' in said
    assert children(folder) == []


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_a_server_that_dies_ends_the_stack_with_its_name(name: str, folder: Path, tmp_path: Path) -> None:
    stack, _ = started(folder, tmp_path)
    pid = EmbeddedPostgres(folder).pid if name == "postgres" else EmbeddedRedis(folder).pid
    assert pid is not None
    # Killed by SIGKILL, PostgreSQL would leave shared memory to the system.
    os.kill(pid, signal.SIGQUIT if name == "postgres" else signal.SIGKILL)
    _, said = stack.communicate(timeout=60)
    assert stack.returncode == 1
    assert f"{name} ended" in said
    assert children(folder) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_a_killed_stack_leaves_no_service_behind(folder: Path, tmp_path: Path) -> None:
    stack, _ = started(folder, tmp_path)
    stack.kill()
    ended(stack)
    until_sync(lambda: not children(folder))


def test_the_demo_checks_its_books_and_writes_its_figures_whatever_other_runners_serve(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    demo = command("demo", "--jobs", "60", "--json", figures, cwd=tmp_path, RUNNER_QUEUES="others")
    printed, said = demo.communicate(timeout=280)
    assert demo.returncode == 0, printed + said
    found = json.loads(figures.read_text())
    assert found["jobs_submitted"] == found["jobs_succeeded"] + found["jobs_failed"] == 60 - found["jobs_refused"]
    assert found["jobs_charged"] == found["jobs_succeeded"] > 0
    # The poor customer's jobs are refused at submission, and none is declined after the work was done.
    assert found["jobs_refused"] > 0
    assert found["jobs_declined"] == 0
    for figure in ("double_charges", "missing_charges", "ledger_imbalance_cents"):
        assert found[figure] == 0
    assert found["seconds"] > 0
    for customer in ("Ada", "Grace", "Paul"):
        assert customer in printed
    assert list(tmp_path.iterdir()) == [figures]


def test_a_demo_where_a_platform_is_set_up_leaves_all_of_it_alone(folder: Path, tmp_path: Path) -> None:
    stack, _ = started(folder, tmp_path, "--runners", "0")
    platform = {name: str(value) for name, value in dotenv_values(folder / "stack.env").items()}
    ran(
        tmp_path,
        platform,
        *["job-types", "create", "--name", "biz", "--processor-type", "SYNC", "--standard-cost-cents", "5"],
    )
    line = {"job_type": "biz", "customer_id": "01990000-0000-7000-8000-000000000201", "input": {}}
    (tmp_path / "jobs.jsonl").write_text(json.dumps(line))
    ran(tmp_path, platform, "submit", "jobs.jsonl")
    before = everything(folder, tmp_path, platform)

    demo = command("demo", "--jobs", "30", cwd=tmp_path, **platform)
    printed, said = demo.communicate(timeout=280)
    assert demo.returncode == 0, printed + said
    assert everything(folder, tmp_path, platform) == before
    stack.terminate()
    assert ended(stack) == 0


def test_the_bench_measures_pickup_and_writes_its_figures(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    bench = command("bench", "--quick", "--only", "P4", "--no-peers", "--json", figures, cwd=tmp_path)
    printed, said = bench.communicate(timeout=280)
    assert bench.returncode == 0, printed + said
    found = json.loads(figures.read_text())
    assert {"p4_ms_p50", "p4_ms_p99", "machine", "versions", "settings", "runs"} <= found.keys()
    assert not {name for name in found if name.startswith(("p1", "p2", "dramatiq"))}
    assert 0 < found["p4_ms_p50"] <= found["p4_ms_p99"]
    assert len(found["runs"]["p4_ms"]) == found["settings"]["pickups"]
    assert found["settings"]["measures"] == ["P4"]
    assert "pickup on an idle system" in printed
    assert list(tmp_path.iterdir()) == [figures]


def test_history_is_measured_against_a_stack_without_one(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    history = command("bench", "history", "--quick", "--jobs", "20000", "--runs", "3", "--json", figures, cwd=tmp_path)
    printed, said = history.communicate(timeout=280)
    assert history.returncode == 0, printed + said
    found = json.loads(figures.read_text())
    ratios = {f"history_{name}_ratio" for name in ("submit", "finish", "list", "list_customer")}
    others = {"history_retention_ms_per_1000", "history_table_bytes_per_job", "history_indexes_bytes_per_job"}
    assert all(found[name] > 0 for name in ratios | others)
    assert found["history_jobs"] == 20_000
    assert "ListJobs of a customer" in printed


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="takes the right to look into processes")
def test_the_profile_shows_processes_and_packages_and_leaves_the_stacks(tmp_path: Path) -> None:
    profile = command("bench", "profile", "--quick", "--folder", tmp_path / "stacks", cwd=tmp_path)
    printed, said = profile.communicate(timeout=280)
    assert profile.returncode == 0, printed + said
    for shown in ("P1: 400 jobs", "P2: 200 jobs", "PostgreSQL: jobs", "load generator", "BatchCreateJobs"):
        assert shown in printed
    assert re.search(r"^psycopg +\d", printed, re.MULTILINE)
    processes = ("customers", "wallets", "jobs", "runner-1", "load-generator")
    found = {file.name for file in (tmp_path / "stacks").iterdir()}
    assert {f"{measure}-{name}.txt" for measure in ("p1", "p2") for name in processes} <= found
    assert "services/jobs/" in (tmp_path / "stacks/p2-jobs.txt").read_text()


def test_only_p1_and_p2_can_be_profiled(tmp_path: Path) -> None:
    profile = command("bench", "profile", "--only", "P2,P4", cwd=tmp_path)
    printed, said = profile.communicate(timeout=60)
    assert (profile.returncode, printed) == (2, "")
    assert "P4: only P1 and P2 can be profiled" in said


def test_the_bench_names_the_measures_when_one_is_unknown(tmp_path: Path) -> None:
    bench = command("bench", "--only", "P4,P9", cwd=tmp_path)
    printed, said = bench.communicate(timeout=60)
    assert (bench.returncode, printed) == (2, "")
    assert "P9: the measures are P1, P2" in said


def test_other_users_can_read_nothing_in_the_folder_of_a_stack(folder: Path, tmp_path: Path) -> None:
    # As an earlier release has left them.
    (folder / "logs").mkdir(parents=True)
    (folder / "redis.log").write_text("an earlier start\n")
    before = os.umask(0o22)
    try:
        stack, _ = started(folder, tmp_path)
    finally:
        os.umask(before)

    def opened_to_others() -> dict[str, str]:
        found = {}
        # What is below a folder that others can't enter, they can't reach.
        for path in (*folder.iterdir(), *(folder / "logs").iterdir()):
            allowed = path.stat().st_mode & 0o077
            if allowed:
                found[str(path.relative_to(folder))] = oct(allowed)
        return found

    assert opened_to_others() == {}
    assert (folder / "redis.log.1").read_text() == "an earlier start\n"
    stack.send_signal(signal.SIGINT)
    assert ended(stack) == 0
    assert opened_to_others() == {}
