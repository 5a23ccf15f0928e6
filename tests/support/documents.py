"""Reads the documentation: what is code in it, what is prose, which commands it shows and where its links lead."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^(```+)([a-z]*)([^\n]*)\n(.*?)^\1\s*$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(`+)(.+?)\1", re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_ASSIGNMENT = re.compile(r"^[A-Z][A-Z0-9_]*=")
# What ends one command and begins the next.
_SEPARATORS = frozenset({"|", "&&", ";", "&", "||"})


@cache
def tracked() -> tuple[str, ...]:
    """Return the files that belong to the project, new ones included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    return tuple(name for name in listing.stdout.splitlines() if (ROOT / name).is_file())


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        runs: Whether the page says that its block is run: the word `run` follows the language.
    """

    language: str
    body: str
    runs: bool = False


@dataclass(frozen=True)
class Document:
    """A page of the documentation.

    Attributes:
        name: Its path in the project; links are resolved against it.
        text: Markdown.
    """

    name: str
    text: str

    @classmethod
    def read(cls, name: str) -> "Document":
        """Read a page of the project."""
        return cls(name, (ROOT / name).read_text(encoding="utf-8"))

    @cached_property
    def blocks(self) -> list[Block]:
        """The fenced blocks."""
        return [Block(language, body, "run" in words.split()) for _, language, words, body in _BLOCK.findall(self.text)]

    @cached_property
    def prose(self) -> str:
        """The text without fenced blocks and without the targets of links."""
        return re.sub(r"\]\([^)\s]+\)", "]", _BLOCK.sub("", self.text))

    @cached_property
    def spans(self) -> list[str]:
        """The inline code."""
        return [" ".join(span.split()) for _, span in _SPAN.findall(self.prose)]

    @cached_property
    def links(self) -> list[str]:
        """The targets of links."""
        return _LINK.findall(_BLOCK.sub("", self.text))

    @cached_property
    def anchors(self) -> set[str]:
        """The names that headings can be linked by."""
        headings = re.findall(r"(?m)^#+ (.+)$", _BLOCK.sub("", self.text))
        return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}

    @cached_property
    def commands(self) -> list[list[str]]:
        """The commands of console blocks and of inline code, as lists of words without redirections."""
        lines = [line for block in self.blocks for line in _command_lines(block)]
        lines += [span for span in self.spans if re.match(r"(?:[A-Z_]+=\S+ )*(?:innosystem|make|python) \S", span)]
        return [command for line in lines for command in _commands(line)]


def _command_lines(block: Block) -> Iterator[str]:
    body = block.body.replace("\\\n", " ")
    if block.language in {"console", "sh", "bash", ""}:
        for line in body.splitlines():
            if line.startswith("$ "):
                yield line.removeprefix("$ ")
            elif re.match(r"(make|innosystem) [a-z]", line):
                yield line


def _commands(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    try:
        words = [*lexer]
    except ValueError:  # a quotation that is not closed: prose in inline code
        return
    command: list[str] = []
    for word in [*words, ";"]:
        if word in _SEPARATORS:
            if command:
                yield command
            command = []
        elif command or not _ASSIGNMENT.match(word):
            command.append(word)


def pages() -> list[Document]:
    """Return the pages that describe the project as it is: neither the changelog nor logbooks."""
    names = [name for name in tracked() if name.endswith(".md")]
    return [Document.read(name) for name in names if not re.match(r"CHANGELOG|docs/notes/", name)]


def arrows(of: str) -> set[tuple[str, str]]:
    """Return the arrows of the state diagram of a job, or of its money."""
    diagrams = [block.body for block in Document.read("docs/life-of-a-job.md").blocks if block.language == "mermaid"]
    [diagram] = [one for one in diagrams if "stateDiagram" in one and ("CHARGE_DUE" in one) == (of == "money")]
    return set(re.findall(r"(?m)^ *(\S+) --> (\w+)", diagram))
