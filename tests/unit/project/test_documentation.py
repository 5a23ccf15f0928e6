"""What the documentation names exists: paths, links, commands, settings, metrics, RPCs, reasons, states.

Names are read where Markdown marks them: a path, a command or an identifier in inline code or behind the prompt of a
console block, and the words that are written as only names are (`ALL_CAPS`, `CamelCase`) also in prose. Output of
commands is not read. ADRs are records of their time: only their links and paths have to lead somewhere.
"""

import ast
import builtins
import importlib
import importlib.util
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import PurePosixPath

import pytest

from innosystem.jobs.v1 import job_pb2
from innosystem.options.v1 import error_reason_pb2
from services.jobs.rules.resources import JOBS
from services.kit.errors import DomainError
from services.kit.query.filter import parse_filter
from tests.support.documents import ROOT, Document, arrows, pages, tracked
from tests.unit.project.test_env_example import EXAMPLES, SETTINGS
from tools.cli.__main__ import command_line

FOLDERS = ("protos/", "sdk/", "runner/", "services/", "tools/", "tests/", "docs/", "deploy/", "scripts/", ".github/")
SUFFIXES = ("py", "md", "proto", "sh", "yaml", "yml", "toml", "lock", "sql", "example", "ini")
# Files of readers, not of the project; and what is made when something runs.
NOT_OURS = re.compile(
    r"my_\w+\.py|test_my_\w+\.py|charge-card\.yaml|.*jobs\.jsonl|\.innosystem/.*|\.env|deploy/\.env|deploy/credentials|/.*|one\.py|two\.py|bad\.py|hello\.py|client\.py|\*\.proto"
    r"|requirements\.txt|buf\.gen\.yaml|alembic\.ini|contract\.binpb|htmlcov/?|_pb2\.py|test_\w*\*\w*"
)
# Names of others that are written like ours.
FOREIGN = re.compile(
    "PostgreSQL|PgBouncer|ServiceAccounts?|TigerBeetle|OpenTelemetry|BatchGetCust|RetryInfo|CacheConcurrencyStrategy"
    "|PlatformTransactionManager|TransactionTemplate|TransactionSynchronization|UnexpectedRollbackException"
    "|CrudRepository|PagingAndSortingRepository|DataAccessException"
    "|JOB_ID|GRPC_POLL_STRATEGY|GRPC_EXPERIMENTS|DRY_RUN|MARIADB_URL"
    "|protoc_builtin|idempotency_error|exists_with_different_amount|client_idle_timeout|server_idle_timeout"
)
# A verb first: an RPC, or one of its messages.
RPC = re.compile(
    r"(?:Batch)?(?:Create|Get|List|Update|Delete|Undelete|Rotate|Revoke|Resolve|Pause|Resume|Cancel|Retry|Watch|Claim|Renew"
    r"|Complete|Return|Settle|Place|Release|Verify|WriteOff)[A-Z][A-Za-z]+"
)
PAGES = pages()
LIVING = [page for page in PAGES if not re.match(r"docs/adr/\d", page.name)]


@cache
def source() -> str:
    """All that is no documentation, in one text."""
    texts = [
        (ROOT / name).read_text(encoding="utf-8")
        for name in tracked()
        if not re.search(r"\.(md|svg|lock|sql)$|tests/support/documents|test_documentation\.py|LICENSE|\.png$", name)
    ]
    return "\n".join(texts)


@cache
def words() -> frozenset[str]:
    names = {PurePosixPath(name).name.partition(".")[0] for name in tracked()}
    return frozenset(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", source())) | names


@cache
def product_words() -> frozenset[str]:
    """The words of what is delivered: tests have made-up names."""
    texts = [
        (ROOT / name).read_text("utf-8") for name in tracked() if name.startswith(("services/", "protos/", "runner/"))
    ]
    texts += [(ROOT / name).read_text("utf-8") for name in tracked() if name.startswith(("sdk/", "tools/", "deploy/"))]
    texts += [(ROOT / name).read_text("utf-8") for name in ("Makefile", ".env.example")]
    return frozenset(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", "\n".join(texts)))


@cache
def contract_names() -> frozenset[str]:
    """RPCs, services, messages and enums of the contract."""
    texts = [(ROOT / name).read_text("utf-8") for name in tracked() if name.endswith(".proto")]
    return frozenset(re.findall(r"(?:rpc|service|message|enum) (\w+)", "\n".join(texts)))


@cache
def settings() -> frozenset[str]:
    """Every variable that a process of the platform reads."""
    services = ("CUSTOMERS", "WALLETS", "JOBS")
    found = set(EXAMPLES) | {prefix + name.upper() for kind, prefix in SETTINGS for name in kind.model_fields}
    # What the customers service shows as an example, the others have as well.
    shared = {name.removeprefix("CUSTOMERS_") for name in found if name.startswith("CUSTOMERS_")}
    for path in ("deploy/compose.yaml", "deploy/.env.example"):
        found |= set(re.findall(r"\b[A-Z]+_[A-Z_]+\b", (ROOT / path).read_text("utf-8")))
    return frozenset(
        found
        | {f"{service}_{name}" for service in services for name in shared}
        | {"INNOSYSTEM_CRASH_AT", "INNOSYSTEM_DEBUG", "INNOSYSTEM_CONTEXT", "INNOSYSTEM_CONFIG"}
    )


@cache
def metrics() -> frozenset[str]:
    """Names of metrics as Prometheus shows them."""
    text = "\n".join(
        (ROOT / name).read_text("utf-8")
        for name in tracked()
        if name.startswith(("services/", "sdk/", "runner/")) and name.endswith(".py")
    )
    names = set(re.findall(r'"(innosystem_[a-z_]+[a-z])"', text))
    prefixed = re.findall(r'_PREFIX = "(innosystem_[a-z]+_)"', text)
    tails = set(re.findall(r"\{_PREFIX\}([a-z_]+)", text)) | set(re.findall(r'_gauge\(\s*"([a-z_]+)"', text))
    tails |= set(re.findall(r'_(?:counter|gauge|family)\w*\(\s*"([a-z_]+)"', text))
    names |= {prefix + tail for prefix in prefixed for tail in tails}
    return frozenset(name + suffix for name in names for suffix in ("", "_total", "_count", "_sum", "_bucket"))


# What is wrong with a page: a rule yields the names that lead nowhere.


def links(page: Document) -> Iterator[str]:
    folder = PurePosixPath(page.name).parent
    for link in page.links:
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = ROOT / folder / path if path else ROOT / page.name
        if not target.exists() or (anchor and anchor not in Document(link, target.read_text("utf-8")).anchors):
            yield link


def paths(page: Document) -> Iterator[str]:
    spans = [re.sub(r":\d+$", "", word) for span in page.spans for word in span.split()]
    spans += [word for command in page.commands for word in command]
    for word in spans:
        bare = word.strip("'\",;:()").split("::", maxsplit=1)[0].removeprefix("./")
        if not re.fullmatch(r"[\w.{}*,/-]+", bare) or "..." in bare or NOT_OURS.fullmatch(bare):
            continue
        is_file = re.search(rf"\.({'|'.join(SUFFIXES)})$", bare) and not bare.startswith(".")
        if (is_file or bare.startswith(FOLDERS)) and not all(map(_exists, _expanded(bare))):
            yield bare


def _expanded(path: str) -> list[str]:
    found = re.search(r"\{([^}]*)\}", path)
    if not found:
        return [path]
    return [
        one for part in found[1].split(",") for one in _expanded(path[: found.start()] + part + path[found.end() :])
    ]


def _exists(path: str) -> bool:
    if path.startswith(FOLDERS):
        folder = path.rstrip("/") + "/"
        return any(name == path or name.startswith(folder) or fnmatch(name, path) for name in tracked())
    return any(f"/{name}".endswith(f"/{path}") for name in tracked())


def commands(page: Document) -> Iterator[str]:
    for command in page.commands:
        yield from _wrong_command(command)


def _wrong_command(command: list[str]) -> Iterator[str]:
    name, *rest = command
    if name == "make":
        makefile = (ROOT / "Makefile").read_text("utf-8")
        for word in rest:
            variable, is_variable, _ = word.partition("=")
            there = rf"\$\({variable}\)" if is_variable else rf"(?m)^{re.escape(word)}:"
            if not re.search(there, makefile):
                yield f"make {word}"
    elif "innosystem" in command and name != "find":
        yield from _wrong_arguments(command[command.index("innosystem") + 1 :])
    elif name in {"python", "python3"} and rest[:1] == ["-m"]:
        module, *flags = rest[1:]
        if module.startswith(("innosystem", "services", "tools", "tests")):
            if importlib.util.find_spec(module) is None:
                yield module
            yield from (flag for flag in flags if flag.startswith("--") and f'"{flag}"' not in source())


def _wrong_arguments(words: list[str]) -> Iterator[str]:
    words = [word for word in words if word != "..."]
    if not words or words[0].startswith("-"):
        return
    app = command_line(words[0])
    chain, apps, unused = app.parse_commands(words)
    group = apps[-1]
    if not chain or (
        unused and re.fullmatch("[a-z-]+", unused[0]) and unused[0] not in group and group.default_command is None
    ):
        yield f"innosystem {' '.join(words)}"
        return
    if group.default_command is None:
        return
    names = {name for argument in group.assemble_argument_collection() for name in argument.names}
    flags = [word.partition("=")[0] for word in unused if re.match("--[a-z]", word)]
    yield from (f"innosystem {' '.join(chain)} {flag}" for flag in flags if flag not in names | {"--help", "--debug"})
    if chain[0] == "jobs" and "--filter" in unused[:-1]:
        text = unused[unused.index("--filter") + 1]
        try:
            parse_filter(text if text != "..." else "", JOBS)
        except DomainError as error:
            yield f"{text}: {error}"


def capitals(page: Document) -> Iterator[str]:
    """Setting, error reasons and values of enums."""
    text = re.sub(r"https?://\S+", "", page.prose) + "".join(
        block.body for block in page.blocks if block.language == "yaml"
    )
    for word in sorted(set(re.findall(r"(?<![\w.])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?![\w*])", text))):
        if FOREIGN.fullmatch(word) or word in settings():
            continue
        is_setting = re.match(r"(CUSTOMERS|WALLETS|JOBS|RUNNER|REDIS|LOG)_", word) and word not in error_types()
        if is_setting or word not in product_words() | error_types():
            yield word


@cache
def error_types() -> frozenset[str]:
    names = error_reason_pb2.DESCRIPTOR.enum_types_by_name["ErrorReason"].values_by_name
    reasons = {name.removeprefix("ERROR_REASON_") for name in names}
    return frozenset(reasons | set(re.findall(r'"([A-Z][A-Z_]+)"', source())) & product_words())


def metric_names(page: Document) -> Iterator[str]:
    text = page.prose + "".join(block.body for block in page.blocks)
    for name in sorted(set(re.findall(r"(?<![\w./])innosystem_[a-z_]+(?![\w])", text))):
        if name not in metrics():
            yield name


def camel_case(page: Document) -> Iterator[str]:
    """RPCs, messages and classes."""
    text = re.sub(r"https?://\S+", "", page.prose)
    for name in sorted(set(re.findall(r"(?<![\w/.-])[A-Z][a-z]+(?:[A-Z]+[a-z]*)+\b", text))):
        if FOREIGN.fullmatch(name) or hasattr(builtins, name):
            continue
        known = contract_names() | _classes() if RPC.fullmatch(name) else words()
        if name not in known:
            yield name


@cache
def _classes() -> frozenset[str]:
    return frozenset(re.findall(r"(?m)^ *class (\w+)", source()))


def identifiers(page: Document) -> Iterator[str]:
    """Functions, columns, events of the log, and parts of the names of tests: words of inline code."""
    known = words() | metrics() | settings()
    for span in page.spans:
        if re.fullmatch(r"\.\.\._\w+(\.\.\.)?", span) and span.strip(".") not in source():
            yield span
        if re.fullmatch(r"@?[A-Za-z_][\w.]*(\(.*\))?", span) and not NOT_OURS.fullmatch(span):
            found = [word for word in re.findall(r"[A-Za-z_]\w*", span.partition("(")[0]) if "_" in word.strip("_")]
            yield from (word for word in found if word not in known and not FOREIGN.fullmatch(word))


def imports(page: Document) -> Iterator[str]:
    for block in page.blocks:
        if block.language != "python":
            continue
        tree = compile(block.body, page.name, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and re.match(
                r"(services|tools|tests|innosystem)\b(?!\.notes)", node.module or ""
            ):
                module = importlib.import_module(node.module or "")
                yield from (f"{node.module}.{one.name}" for one in node.names if not hasattr(module, one.name))


RULES: list[Callable[[Document], Iterator[str]]] = [
    links,
    paths,
    commands,
    capitals,
    metric_names,
    camel_case,
    identifiers,
    imports,
]


@pytest.mark.parametrize("page", LIVING, ids=lambda page: page.name)
def test_what_a_page_names_exists(page: Document) -> None:
    assert {rule.__name__: wrong for rule in RULES if (wrong := [*rule(page)])} == {}


@pytest.mark.parametrize("page", [page for page in PAGES if page not in LIVING], ids=lambda page: page.name)
def test_paths_and_links_of_a_record_lead_somewhere(page: Document) -> None:
    assert {rule.__name__: wrong for rule in (links, paths) if (wrong := [*rule(page)])} == {}


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (links, "[a page](docs/nowhere.md)"),
        (links, "[a heading](#nowhere)"),
        (paths, "`services/jobs/nowhere.py`"),
        (paths, "`nowhere.py`"),
        (paths, "`services/{jobs,nowhere}/__main__.py`"),
        (paths, "```console\n$ cat deploy/nowhere\n```"),
        (commands, "`make nowhere`"),
        (commands, "`make chaos NOWHERE=1`"),
        (commands, "`innosystem nowhere`"),
        (commands, "`innosystem jobs nowhere`"),
        (commands, "```\n$ innosystem verify --nowhere\n```"),
        (commands, "```console\n$ X=1 innosystem jobs list --filter 'nowhere = 1' | head\n```"),
        (commands, "`python -m services.nowhere`"),
        (commands, "`python -m services.jobs --nowhere 2`"),
        (capitals, "JOBS_NOWHERE_SECONDS"),
        (capitals, "refused with JOB_NOWHERE_FOUND"),
        (metric_names, "`innosystem_nowhere_total`"),
        (camel_case, "GetNowhere"),
        (camel_case, "the NowhereService"),
        (identifiers, "the event `nowhere_found`"),
        (identifiers, "tested by `..._that_is_nowhere_found_...`"),
        (imports, "```python\nfrom services.kit.errors import Nowhere\n```"),
    ],
)
def test_a_name_that_leads_nowhere_is_found(rule: Callable[[Document], Iterator[str]], text: str) -> None:
    assert len([*rule(Document("README.md", text))]) == 1


def test_names_that_exist_are_no_findings() -> None:
    text = """[here](docs/ledger.md#rules) `services/jobs/__main__.py` `test_ledger.py` GetJob JOBS_WINDOW LEASE_LOST
    `innosystem_background_failing` `innosystem jobs list --filter 'status = FAILED' | head` `make chaos SEED=1`"""
    page = Document("README.md", text)
    assert [wrong for rule in RULES for wrong in rule(page)] == []
    assert len(PAGES) > 60
    assert len(LIVING) > 10


@pytest.mark.parametrize("index", ["docs/README.md", "docs/adr/README.md"])
def test_an_index_leads_to_every_page_of_its_folder(index: str) -> None:
    folder = PurePosixPath(index).parent
    found = {PurePosixPath(name).name for name in tracked() if PurePosixPath(name).parent == folder}
    linked = {link.partition("#")[0] for link in Document.read(index).links}
    assert {name for name in found if name.endswith(".md")} - linked == {"README.md"}


@pytest.mark.parametrize(
    ("heading", "enum", "prefix"), [("job", "JobStatus", "JOB"), ("money", "BillingStatus", "BILLING")]
)
def test_the_state_diagrams_have_the_states_of_the_contract(heading: str, enum: str, prefix: str) -> None:
    names = job_pb2.DESCRIPTOR.enum_types_by_name[enum].values_by_name
    states = {name.removeprefix(f"{prefix}_STATUS_") for name in names} - {"UNSPECIFIED"}
    assert {state for arrow in arrows(heading) for state in arrow} - {"[*]"} == states
