"""Sessions in a terminal that the documentation shows: commands, each with what it prints."""

import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

# What differs from run to run; everything else must be as shown.
_VARYING = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{8}(-[0-9a-f]{1,4}){0,3}(-[0-9a-f]{1,12})?\b"), "<id>"),  # the start of one
    (re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{12}\b"), "<revision>"),
    (re.compile(r"\binno_[\w-]+"), "<key>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?\b"), "<time>"),
    (re.compile(r"\b(localhost|127\.0\.0\.1):\d+\b"), "<address>"),
    (re.compile(r"\b\d+(\.\d+)? ?(ms|s|m|min|h|d|seconds)\b( \d+ ?(s|m|h)\b)?( ago)?|\bnow\b"), "<duration>"),
    (re.compile(r"─+"), "─"),
    (re.compile(r"[ \t]+"), " "),
)


class Step(NamedTuple):
    """A command and what the page says it prints, a line each; `...` stands for any text, alone for any lines."""

    command: str
    output: tuple[str, ...]

    def differs(self, printed: str) -> str:
        """Return the first shown line that was not printed in its place, or an empty text."""
        lines = [_plain(line) for line in printed.rstrip().splitlines()]
        at, anywhere = 0, False
        for shown in (line.rstrip() for line in self.output):
            if shown.strip() == "...":
                anywhere = True
                continue
            pattern = re.compile(".*".join(map(re.escape, _plain(shown).split("..."))))
            found = next(
                (
                    n
                    for n in range(at, len(lines) if anywhere else min(at + 1, len(lines)))
                    if pattern.fullmatch(lines[n])
                ),
                None,
            )
            if found is None:
                return shown or "(an empty line)"
            at, anywhere = found + 1, False
        return "" if anywhere or at == len(lines) else f"(nothing, in place of {lines[at]!r})"


def steps(body: str) -> Iterator[Step]:
    """Return the commands of a block with their outputs."""
    command: list[str] = []
    output: list[str] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            if command:
                yield Step("\n".join(command), tuple(_trimmed(output)))
            command, output = [line.removeprefix("$ ")], []
        elif command and not output and _continues("\n".join(command)):
            command.append(line)
        else:
            output.append(line)
    if command:
        yield Step("\n".join(command), tuple(_trimmed(output)))


def _continues(command: str) -> bool:
    """Whether a shell would read on: after a backslash, within quotes, and until the end of a here-document."""
    if here := re.search(r"<<'(\w+)'\n?", command):
        return here[1] not in command[here.end() :].splitlines()
    try:
        shlex.split(command)
    except ValueError:
        return True
    return command.endswith("\\")


def _trimmed(lines: list[str]) -> list[str]:
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    return lines


def _plain(line: str) -> str:
    for pattern, word in _VARYING:
        line = pattern.sub(word, line)
    return line.strip()
