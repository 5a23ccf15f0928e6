"""Measure a Python source file: lines, functions, classes, cyclomatic complexity.

Run it with `python -m innosystem.runner --handlers innosystem.runner.examples.source_stats`.
"""

import ast
import warnings
from collections.abc import Iterator
from typing import Any, TypeAlias

from innosystem.runner import JobError, handler

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler)


@handler("python.source-stats", process=True)
def source_stats(input: Any) -> dict[str, Any]:
    """Measure one source file.

    Complexity is McCabe's cyclomatic complexity (T. J. McCabe, "A Complexity Measure", IEEE
    Transactions on Software Engineering SE-2(4), 1976): one more than the number of conditions.
    Conditions are `if`, `elif`, `for`, `while`, `except`, the conditional expression, each `and` and
    `or`, each `for` and `if` of a comprehension, and each `case` with a condition.

    Args:
        input: `{"path": "...", "source": "..."}`; the path is used in error messages only.

    Returns:
        lines; functions (including methods and nested functions) and classes; complexity, the sum over all functions;
        most_complex, the name and complexity of the first of the most complex functions, or null without functions.

    Raises:
        JobError: The input has no source, or the source is not Python.
    """
    if not isinstance(input, dict) or not isinstance(input.get("source"), str):
        raise JobError("The input needs a text `source`", type="INVALID_INPUT", retryable=False)
    source, path = input["source"], str(input.get("path", "<source>"))
    definitions = list(_definitions(_parse(source, path)))
    measured = [(name, _complexity(node)) for name, node in definitions if isinstance(node, _FUNCTIONS)]
    most = max(measured, key=lambda each: each[1], default=None)
    return {
        "lines": len(source.splitlines()),
        "functions": len(measured),
        "classes": len(definitions) - len(measured),
        "complexity": sum(complexity for _, complexity in measured),
        "most_complex": most and {"name": most[0], "complexity": most[1]},
    }


def _parse(source: str, path: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            # Invalid escapes and the like are for the author to judge.
            warnings.simplefilter("ignore")
            return ast.parse(source, path)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        raise JobError(f"{path}: {exc}", type=type(exc).__name__, retryable=False) from exc


def _definitions(tree: ast.Module) -> Iterator[tuple[str, _Function | ast.ClassDef]]:
    """Yield functions and classes in source order, with names such as `Class.method`."""
    waiting: list[tuple[str, ast.AST]] = [("", tree)]
    while waiting:
        prefix, node = waiting.pop()
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            yield f"{prefix}{node.name}", node
            prefix = f"{prefix}{node.name}."
        waiting += [(prefix, child) for child in reversed(list(ast.iter_child_nodes(node)))]


def _complexity(function: _Function) -> int:
    """Return the complexity of a function, excluding the functions and classes inside it."""
    conditions = 0
    waiting = list[ast.AST](function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            continue
        conditions += _conditions(node)
        waiting += ast.iter_child_nodes(node)
    return 1 + conditions


def _conditions(node: ast.AST) -> int:
    match node:
        case ast.BoolOp():
            return len(node.values) - 1
        case ast.comprehension():
            return 1 + len(node.ifs)
        case ast.match_case():
            catches_all = isinstance(node.pattern, ast.MatchAs) and node.pattern.pattern is None
            return 0 if catches_all and node.guard is None else 1
        case _:
            return isinstance(node, _BRANCHES)
