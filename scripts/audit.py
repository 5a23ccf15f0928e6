"""Audit what is deployed and what is in the repository: locks, licences, secrets, known vulnerabilities.

The exit status is 1 for any finding, and 3 if there is none, but the service that knows vulnerabilities could not be
reached. With --offline it is not asked.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEPLOYED = "requirements-deploy.lock"
LOCKS = ("requirements.lock", DEPLOYED, "requirements-build.lock", "tools/bench/peers/requirements.txt")

FOUND, NOT_AUDITED = 1, 3

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[a-z0-9,._-]+\])?==(?P<version>[^\s;]+)(?P<rest>.*)")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
_AUDIT_SECONDS = 300

# Licences that let us ship the image. LGPL and MPL are of libraries that are used as they are and can be replaced.
ALLOWED = frozenset(
    {
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "LGPL-3.0-only",
        "MIT",
        "MIT-0",
        "MPL-2.0",
        "PSF-2.0",
        "Unlicense",
    }
)
# What packages say that name no SPDX expression.
_SPELLINGS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Public Domain": "Unlicense",
}

# Secrets are known by what is before or around them. A test that needs one makes it up when it runs.
SECRETS = {
    "private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s*\n[A-Za-z0-9+/=\s]{40}",
    "API key of a customer": r"\binno_[A-Za-z0-9_-]{43}\b",
    "signed token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{40,}",
    "token of a code host": r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60,}|glpat-[A-Za-z0-9_-]{20})\b",
    "token of a package index": r"\bpypi-AgE[A-Za-z0-9_-]{50,}|\bnpm_[A-Za-z0-9]{36}\b",
    "key of a cloud": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[A-Za-z0-9_-]{35}\b",
    "token of a chat": r"\bxox[abprs]-[A-Za-z0-9-]{20,}",
    "secret key of payments": r"\b[rs]k_live_[A-Za-z0-9]{20,}",
}

# Those of documents, which nothing has ever accepted: the starts of their SHA-256.
EXAMPLES = frozenset({"80098f282f4faef3"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit and return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/audit.py", description=__doc__)
    parser.add_argument("--offline", action="store_true", help="do not ask for known vulnerabilities")
    offline = parser.parse_args(arguments).offline
    texts = tracked()
    found = [
        *(f"{name}: {problem}" for name in LOCKS for problem in lock_problems((ROOT / name).read_text("utf-8"))),
        *licence_problems((ROOT / DEPLOYED).read_text("utf-8")),
        *(problem for name, text in texts.items() for problem in secrets(name, text)),
    ]
    vulnerable, unasked = ([], ["all: --offline"]) if offline else vulnerabilities()
    for problem in (*found, *vulnerable):
        print(problem)
    print(f"audit: {len(LOCKS)} locks, {len(texts)} files, {len(found) + len(vulnerable)} findings")
    if unasked:
        print(f"audit: vulnerabilities NOT AUDITED of {len(unasked)} packages, such as {unasked[0]}")
    if found or vulnerable:
        return FOUND
    return NOT_AUDITED if unasked and not offline else 0


def requirements(lock: str) -> Iterator[str]:
    """Return the requirements of a lock, each on one line."""
    for line in lock.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()


def lock_problems(lock: str) -> Iterator[str]:
    """Return what is wrong with a lock: everything must be pinned to a version, and have hashes."""
    for requirement in requirements(lock):
        found = _REQUIREMENT.fullmatch(requirement)
        if found is None or "://" in requirement or " @ " in requirement:
            yield f"{requirement[:100]} is no version of a package of the index"
        elif not _HASH.search(found["rest"]):
            yield f"{found['name']} has no hash"


def licence_problems(lock: str) -> Iterator[str]:
    """Return the packages of a lock whose licence is not allowed. What this platform does not install is left out."""
    for requirement in requirements(lock):
        found = _REQUIREMENT.fullmatch(requirement)
        if found is None:
            continue
        try:
            installed = distribution(found["name"])
        except PackageNotFoundError:
            if ";" not in found["rest"]:
                yield f"{found['name']} is not installed, so that its licence is not known: make setup"
            continue
        if unknown := licences(installed) - ALLOWED or (set() if licences(installed) else {"none"}):
            yield f"{found['name']} has a licence that is not on the list: {', '.join(sorted(unknown))}"


def licences(installed: Distribution) -> set[str]:
    """Return the licences that a package names, as SPDX names them. Each must be allowed, also of a choice."""
    metadata = installed.metadata.json
    expression = str(metadata.get("license_expression", ""))
    if expression:
        return {word for word in re.split(r"[\s()]+", expression) if word not in {"", "AND", "OR", "WITH"}}
    stated, classifiers = str(metadata.get("license", "")), metadata.get("classifier", [])
    named = [one.rpartition("::")[2].strip() for one in classifiers if one.startswith("License ::")]
    # The text of a whole licence is no name of it.
    return {_SPELLINGS.get(one, one) for one in (named or [stated.strip()]) if one and "\n" not in one}


def tracked() -> Mapping[str, str]:
    """Return the texts of all files that git knows, by path."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    files = [name for name in names.split("\0") if name and (ROOT / name).is_file()]
    return {name: (ROOT / name).read_bytes().decode("utf-8", "replace") for name in files}


def secrets(name: str, text: str) -> Iterator[str]:
    """Return where a file has a secret, without the secret."""
    for kind, pattern in SECRETS.items():
        for found in re.finditer(pattern, text):
            if sha256(found[0].encode()).hexdigest()[:16] in EXAMPLES:
                continue
            yield f"{name}:{text.count(chr(10), 0, found.start()) + 1}: {kind}"


def vulnerabilities() -> tuple[list[str], list[str]]:
    """Return the known vulnerabilities of what is deployed, and the packages that could not be asked about."""
    command = [str(Path(sys.executable).parent / "pip-audit"), "--requirement", DEPLOYED, "--require-hashes"]
    command += ["--disable-pip", "--progress-spinner", "off", "--format", "json"]
    try:
        done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=_AUDIT_SECONDS)
        responses = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, json.JSONDecodeError, KeyError):
        return [], ["all: pip-audit gave no response"]
    found = [f"{one['name']} {one['version']}: {bug['id']}" for one in responses for bug in one.get("vulns", ())]
    return found, [f"{one['name']}: {one['skip_reason']}" for one in responses if "skip_reason" in one]


if __name__ == "__main__":
    sys.exit(main())
