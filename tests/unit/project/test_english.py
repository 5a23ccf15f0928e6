"""Phrases that make a native reader stumble stay out of code, contracts and documentation.

Ruff's D401 sees to imperative first lines; this list has the rest. What must quote a phrase goes into `QUOTES`.
"""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# What to write instead stands beside each.
PHRASES = {
    r"answer(s|ed|ing|able)?": "return, or response",
    r"(is|are|was|were|be|been|being|stays?|keeps?) away": "is unavailable",
    r"(go|goes|going|went|gone) on": "resume, or continue",
    r"at once": "immediately, or at the same time",
    r"again and again": "repeatedly",
    r"(hand|hands|handed|handing) (it |them |jobs |those )?over": "dispatch",
    r"(some|any)body": "another runner, replica or caller",
    r"whoever": "a noun",
    r"in vain": "an empty poll, or without success",
    r"(is|are|was|were|be|been|being|gets?) told": "is notified",
    r"(pass|passes|passed|passing) by": "skip",
    r"other than AIP-\d+ has it": "unlike AIP-...",
    r"is to be had": "is available",
    r"what there is": "a noun",
    r"looks? (it )?over": "check",
    r"of its own accord": "by itself",
}
# The areas that are held to it.
AREAS = (
    "protos",
    "sdk",
    "runner",
    "services/kit",
    "services/customers",
    "services/wallets",
    "services/jobs",
    "tools",
    "tests",
    "scripts",
    "deploy",
    "docs",
    "README.md",
    "CHANGELOG.md",
    "SECURITY.md",
    ".github",
    ".vscode",
    ".pre-commit-config.yaml",
    "Makefile",
    "pyproject.toml",
)
# Records of their time, frozen text, and this list.
QUOTES = re.compile(
    r"docs/adr/\d|docs/notes/|/migrations/2|tests/migration/data/|test_english\.py$|\.lock$|\.svg$|\.sql$"
)
PATTERN = re.compile("|".join(rf"\b(?:{phrase})\b" for phrase in PHRASES), re.IGNORECASE)


def stumbled(text: str) -> list[str]:
    """The lines of a text in which a phrase stands, each with its number; also where a line break is inside of it."""
    flat = re.sub(r"\n[ \t]*(?:#|//|\*)?[ \t]*", lambda gap: " " * len(gap[0]), text)
    # Names of files, in links of Markdown.
    flat = re.sub(r"\]\([^)\s]*\)", lambda link: " " * len(link[0]), flat)
    assert len(flat) == len(text)
    loose = re.compile(PATTERN.pattern.replace(" ", r"\s+"), re.IGNORECASE)
    return [f"{text.count(chr(10), 0, found.start()) + 1}: {found[0]}" for found in loose.finditer(flat)]


def tracked(area: str) -> list[str]:
    """The text files of an area."""
    listing = subprocess.run(["git", "ls-files", area], check=True, cwd=ROOT, capture_output=True, text=True)
    return [name for name in listing.stdout.splitlines() if not QUOTES.search(name)]


@pytest.mark.parametrize("area", AREAS)
def test_no_phrase_makes_a_reader_stumble(area: str) -> None:
    names = tracked(area)
    assert names
    found = {name: lines for name in names if (lines := stumbled((ROOT / name).read_text(encoding="utf-8")))}
    assert not found


def test_a_phrase_is_found_in_any_case_and_over_the_end_of_a_line() -> None:
    assert stumbled("Fine.\nAnswers the jobs,\n    # at\n    # once.") == ["2: Answers", "3: at       once"]
    assert stumbled("The answering machine is far away; onward.") == ["1: answering"]
    assert stumbled("A return at one site.") == []
