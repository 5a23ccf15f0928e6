"""The modules of the project and what each imports, read from the source, so that a lazy import counts as well."""

import ast
from collections.abc import Iterator, Mapping
from importlib.util import resolve_name
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Where modules are found, and the folder that their names start from.
TREES = {
    "services": ROOT,
    "tools": ROOT,
    "runner/src/innosystem/runner": ROOT / "runner/src",
    "sdk/src/innosystem/client": ROOT / "sdk/src",
}


def module_name(path: Path, base: Path) -> str:
    """Return the name that a source is imported by."""
    parts = path.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> Mapping[str, Path]:
    """Return all hand-written modules by name, without the revisions of databases."""
    found = {
        module_name(path, base): path
        for tree, base in TREES.items()
        for path in sorted((ROOT / tree).rglob("*.py"))
        if not path.name.startswith("2")
    }
    assert len(found) > 300, "modules are missing"
    return found


def imports(source: str, package: str = "") -> Iterator[str]:
    """Yield all names that a source imports, also inside functions; relative ones are resolved against its package."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def imports_of(name: str, path: Path) -> list[str]:
    """Return all names that a module imports."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return list(imports(path.read_text(encoding="utf-8"), package))


def graph(found: Mapping[str, Path]) -> dict[str, set[str]]:
    """Return for each module the modules of the project that it imports."""

    def owner(name: str) -> str:
        while name and name not in found:
            name = name.rpartition(".")[0]
        return name

    return {name: {owner(one) for one in imports_of(name, path)} - {name, ""} for name, path in found.items()}


def circle(edges: Mapping[str, set[str]]) -> list[str]:
    """Return the nodes of a circle, the first one again at the end; empty if there is none."""
    done: set[str] = set()
    for start in edges:
        trail: dict[str, Iterator[str]] = {}
        node: str | None = None if start in done else start
        while node is not None:
            trail[node] = iter(sorted(edges.get(node, ())))
            node = None
            while trail and node is None:
                last = next(reversed(trail))
                following = next(trail[last], None)
                if following is None:
                    done.add(last)
                    del trail[last]
                elif following in trail:
                    names = list(trail)
                    return [*names[names.index(following) :], following]
                elif following not in done:
                    node = following
    return []
