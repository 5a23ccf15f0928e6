"""The embedded PostgreSQL and Redis: durable, adopted after a crash, and clear when they fail."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
import sqlalchemy

from tests.support.until import until_sync
from tools.local.embedded import EmbeddedPostgres, EmbeddedRedis, EmbeddedServerError
from tools.local.embedded.processes import command_line
from tools.local.embedded.sockets import make_private
from tools.local.embedded.system_user import SystemUser, grant_access

PROJECT = Path(__file__).resolve().parents[4]
# A path this long leaves no room for a socket beneath it.
LONG = "a-folder-with-a-very-long-name-" + "x" * 150
STARTER = """
import sys
from pathlib import Path
from tools.local.embedded import EmbeddedPostgres, EmbeddedRedis
folder = Path(sys.argv[1])
EmbeddedPostgres(folder).start()
EmbeddedRedis(folder).start()
print("started", flush=True)
sys.stdin.read()
"""

# Endless calls in threads of gRPC: a process that is forked meanwhile may die before it becomes a program.
BUSY = """
import threading
from concurrent.futures import ThreadPoolExecutor
import grpc
from tools.local.embedded.system_user import SystemUser
from tools.local.embedded.processes import run
server = grpc.server(ThreadPoolExecutor(4))
channel = grpc.insecure_channel("127.0.0.1:%d" % server.add_insecure_port("127.0.0.1:0"))
server.start()
ended = threading.Event()
def call():
    while not ended.is_set():
        try:
            channel.unary_unary("/a/b")(b"", timeout=5)
        except grpc.RpcError:
            pass
callers = [threading.Thread(target=call) for _ in range(4)]
for caller in callers:
    caller.start()
done = [run(["/usr/bin/id", "-u"], timeout_seconds=20, user=SystemUser(65534, 65534)) for _ in range(100)]
ended.set()
for caller in callers:
    caller.join()
print({(each.returncode, each.stdout, each.stderr) for each in done})
"""


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("shared") / LONG) as server:
        yield server


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / LONG) as server:
        yield server


def ask(server: EmbeddedPostgres, statement: str, database: str = "postgres") -> object:
    with psycopg.connect(server.url(database), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def redis_client(server: EmbeddedRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url, socket_timeout=5, decode_responses=True)


def test_postgres_is_durable_utf8_and_has_no_tcp_port(postgres: EmbeddedPostgres) -> None:
    settings = {
        name: ask(postgres, f"SHOW {name}")
        for name in ("fsync", "synchronous_commit", "server_encoding", "listen_addresses")
    }

    assert settings == {
        "fsync": "on",
        "synchronous_commit": "on",
        "server_encoding": "UTF8",
        "listen_addresses": "",
    }


def test_the_socket_of_postgres_is_in_a_private_folder(postgres: EmbeddedPostgres) -> None:
    folder = Path(str(ask(postgres, "SHOW unix_socket_directories")))

    assert folder.stat().st_mode & 0o777 == 0o700
    assert postgres.url("postgres") == f"postgresql://postgres@/postgres?host={folder}"


def test_sqlalchemy_takes_the_url_of_postgres(postgres: EmbeddedPostgres) -> None:
    engine = sqlalchemy.create_engine(postgres.url("postgres"), poolclass=sqlalchemy.NullPool)

    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("SELECT current_user")) == "postgres"


def test_a_database_is_created_once_copied_and_dropped(postgres: EmbeddedPostgres) -> None:
    postgres.create_database("source")
    ask(postgres, "CREATE TABLE kept AS SELECT 7 AS number", "source")
    postgres.create_database("source")
    postgres.create_database('a "copy" / two', template="source")

    assert ask(postgres, "SELECT number FROM kept", 'a "copy" / two') == 7

    postgres.drop_database('a "copy" / two')
    postgres.drop_database('a "copy" / two')
    with pytest.raises(EmbeddedServerError, match="does not exist"):
        postgres.create_database("other", template='a "copy" / two')


def test_committed_rows_survive_an_immediate_stop(postgres: EmbeddedPostgres) -> None:
    ask(postgres, "CREATE TABLE committed AS SELECT 42 AS number")

    postgres.stop("immediate")
    assert not postgres.running
    postgres.start()

    assert ask(postgres, "SELECT number FROM committed") == 42


def test_committed_rows_survive_a_killed_postmaster(postgres: EmbeddedPostgres) -> None:
    ask(postgres, "CREATE TABLE kept_after_kill AS SELECT 43 AS number")
    before = postgres.pid
    assert before is not None
    # A connection is open, so there is a backend that has to notice first.
    with psycopg.connect(postgres.url("postgres")):
        os.kill(before, signal.SIGKILL)
        until_sync(lambda: not postgres.running, limit_seconds=5)
        postgres.start()

    assert postgres.pid not in {before, None}
    assert ask(postgres, "SELECT number FROM kept_after_kill") == 43


def test_an_interrupted_first_start_of_postgres_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "postgres.new").mkdir()
    (tmp_path / "postgres.new" / "PG_VERSION").write_text("18\n")

    with EmbeddedPostgres(tmp_path) as server:
        assert ask(server, "SELECT 1") == 1


def test_a_recycled_pid_in_the_pid_file_does_not_hinder_postgres(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = Path(str(ask(postgres, "SHOW data_directory")))
    pid_file = data / "postmaster.pid"
    content = pid_file.read_text()
    postgres.stop()
    # The PID of a process that lives and is no postmaster, as after the restart of a container.
    pid_file.write_text(content.replace(content.split()[0], "1", 1))
    os.chown(pid_file, data.stat().st_uid, data.stat().st_gid)

    assert not postgres.running
    postgres.start()

    assert postgres.running


def test_postgres_is_restarted_when_its_socket_was_removed(postgres: EmbeddedPostgres) -> None:
    folder = Path(str(ask(postgres, "SHOW unix_socket_directories")))
    before = postgres.pid
    (folder / ".s.PGSQL.5432").unlink()

    postgres.start()

    assert postgres.pid != before
    assert ask(postgres, "SELECT 1") == 1


def test_a_failed_start_of_postgres_shows_its_log(postgres: EmbeddedPostgres) -> None:
    folder = Path(str(ask(postgres, "SHOW data_directory"))).parent
    postgres.stop()
    wrong = EmbeddedPostgres(folder, {"no_such_setting": "1"})

    with pytest.raises(EmbeddedServerError, match="unrecognized configuration parameter"):
        wrong.start()

    assert not wrong.running
    postgres.start()


def test_settings_reach_postgres_and_none_opens_another_way_in(postgres: EmbeddedPostgres) -> None:
    folder = Path(str(ask(postgres, "SHOW data_directory"))).parent
    postgres.stop()
    with EmbeddedPostgres(folder, {"application_name": r"it's a \ name", "work_mem": "9MB"}) as own:
        assert ask(own, "SHOW work_mem") == "9MB"
        assert ask(own, "SHOW application_name") == r"it's a \ name"
    postgres.start()

    with pytest.raises(ValueError, match="listen_addresses"):
        EmbeddedPostgres(folder, {"listen_addresses": "*"})


def test_using_a_stopped_postgres_is_a_clear_error(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "never-started")
    server.stop()

    with pytest.raises(EmbeddedServerError, match="Creating database jobs failed"):
        server.create_database("jobs")
    assert not (tmp_path / "never-started").exists()


def test_servers_of_a_killed_parent_are_adopted(
    postgres: EmbeddedPostgres, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with parent, EmbeddedPostgres(tmp_path) as other, EmbeddedRedis(tmp_path) as other_redis:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "started\n"
        pids = other.pid, other_redis.pid
        # The whole group, as a terminal does it: the servers are not in it.
        os.killpg(parent.pid, signal.SIGINT)
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait(timeout=10)

        other.start()
        other_redis.start()

        assert (other.pid, other_redis.pid) == pids
        assert None not in pids
        assert ask(other, "SELECT 1") == 1
        with redis_client(other_redis) as client:
            assert client.ping()
        # Two servers of each kind, each with data of its own.
        ask(other, "CREATE TABLE only_here AS SELECT 1")
        assert ask(postgres, "SELECT to_regclass('only_here')") is None
        assert redis_server.pid != other_redis.pid
    assert not other.running
    assert not other_redis.running
    with other:
        assert ask(other, "SELECT to_regclass('only_here')::text") == "only_here"


def test_redis_is_durable_and_has_no_tcp_port(redis_server: EmbeddedRedis) -> None:
    names = ("appendonly", "appendfsync", "maxmemory-policy", "port", "save")
    with redis_client(redis_server) as client:
        settings = {name: client.config_get(name)[name] for name in names}

    assert settings == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "port": "0",
        "save": "",
    }


def test_the_socket_of_redis_is_in_a_private_folder(redis_server: EmbeddedRedis) -> None:
    path = Path(redis_server.url.removeprefix("unix://").removesuffix("?db=0"))

    assert path.is_socket()
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_the_data_of_redis_survives_a_stop_and_a_start(redis_server: EmbeddedRedis) -> None:
    with redis_client(redis_server) as client:
        client.lpush("jobs:p0:pending", "one", "two")
    before = redis_server.pid

    redis_server.stop()
    assert before is not None
    assert command_line(before) == []
    redis_server.start()

    with redis_client(redis_server) as client:
        assert client.lrange("jobs:p0:pending", 0, -1) == ["two", "one"]


def test_redis_is_restarted_when_its_socket_was_removed(redis_server: EmbeddedRedis) -> None:
    before = redis_server.pid
    Path(redis_server.url.removeprefix("unix://").removesuffix("?db=0")).unlink()

    redis_server.start()

    assert redis_server.pid != before
    with redis_client(redis_server) as client:
        assert client.ping()


def test_redis_starts_again_after_it_was_killed(redis_server: EmbeddedRedis) -> None:
    before = redis_server.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    until_sync(lambda: not redis_server.running, limit_seconds=5)

    redis_server.start()

    assert redis_server.running


def test_a_frozen_redis_is_killed_when_it_does_not_stop(
    redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.local.embedded.embedded_redis._STOP_SECONDS", 0.1)
    assert redis_server.pid is not None
    os.kill(redis_server.pid, signal.SIGSTOP)

    redis_server.stop()

    assert not redis_server.running


def test_a_failed_start_of_redis_shows_its_log(redis_server: EmbeddedRedis) -> None:
    with redis_client(redis_server) as client:
        client.set("key", "value")
        data = Path(client.config_get("dir")["dir"])
    redis_server.stop()
    for file in data.rglob("*.aof"):
        file.write_bytes(b"this is not an append-only file\r\n")

    with pytest.raises(EmbeddedServerError, match="Bad file format"):
        redis_server.start()

    assert not redis_server.running


def test_a_socket_folder_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "place").symlink_to(tmp_path / "target")

    with pytest.raises(EmbeddedServerError, match="belongs to another user"):
        make_private(tmp_path / "place", None)


def test_what_a_dead_server_left_in_its_socket_folder_goes(tmp_path: Path) -> None:
    place = tmp_path / "place"
    make_private(place, None)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(place / "old.sock"))

    make_private(place, None)

    assert list(place.iterdir()) == []


def test_opening_the_way_adds_no_more_than_the_right_to_pass(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    opened = closed / "opened"
    opened.mkdir(parents=True)
    closed.chmod(0o700)
    opened.chmod(0o755)

    stranger = SystemUser(uid=os.geteuid() + 54321, gid=os.getegid() + 54321)
    ways = [path for path in opened.parents if path.stat().st_uid == os.geteuid()]
    assert closed in ways
    grant_access(opened / "data", stranger)

    assert closed.stat().st_mode & 0o777 == 0o701
    assert opened.stat().st_mode & 0o777 == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs commands for another account")
def test_commands_of_another_account_run_beside_busy_grpc_threads() -> None:
    done = subprocess.run([sys.executable, "-c", BUSY], check=False, capture_output=True, text=True, cwd=PROJECT)
    assert (done.returncode, done.stdout) == (0, "{(0, '65534\\n', '')}\n"), done.stderr
