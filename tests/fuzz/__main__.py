"""`python -m tests.fuzz --requests n --seed s`: requests made at random, of every method, over real connections."""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from tests.fuzz.support.run import Result, run

_COMPLAINTS_SHOWN = 60


def main() -> int:
    """Run it; return the exit status."""
    arguments = _parse()
    seed: int = random.randrange(1_000_000) if arguments.seed is None else arguments.seed
    print(f"seed {seed}, {arguments.requests} requests", flush=True)
    folder = new_folder(seed)
    say = lambda line: print(line, flush=True)  # noqa: E731 - it is passed on
    try:
        result = asyncio.run(
            run(folder, seed=seed, requests=arguments.requests, say=say, only=arguments.only, limited=arguments.limited)
        )
    except Exception:  # noqa: BLE001 - whatever it is, the last line is the verdict
        traceback.print_exc()
        result = Result(["the run itself broke"])
    report(result, folder, keep=arguments.keep)
    print(result.line, flush=True)
    return 1 if result.complaints else 0


def new_folder(seed: int) -> Path:
    """Create the folder of a run: not below one of the user's, for PostgreSQL may run under an account of its own."""
    folder = Path(tempfile.mkdtemp(prefix=f"innosystem-fuzz-{seed}-"))
    folder.chmod(0o755)
    return folder


def report(result: Result, folder: Path, *, keep: bool = False) -> None:
    """Print what happened; keep the logs if they are needed."""
    for complaint in result.complaints[:_COMPLAINTS_SHOWN]:
        print(f"- {complaint}")
    for title, counts in (
        ("status", result.codes),
        ("reason", result.reasons),
        ("carried out", result.carried_out),
        ("carried out for", result.callers),
    ):
        print(f"{title}: " + ", ".join(f"{name.rpartition('/')[2]} {count}" for name, count in counts.most_common()))
    print("never carried out: " + (", ".join(name.rpartition("/")[2] for name in result.never_carried_out) or "none"))
    for when, sizes in zip(("after the warm-up", "in the end"), result.sizes, strict=False):
        print(f"MiB {when}: " + ", ".join(f"{name} {size:.0f}" for name, size in sizes.items()))
    if result.complaints or keep:
        print(f"logs and databases are in {folder}")
    else:
        shutil.rmtree(folder)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="how many are sent (100000)")
    parser.add_argument("--seed", type=int, help="decides on them (chosen and printed)")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="send only this one of them, to look at it again")
    parser.add_argument("--limited", action="store_true", help="give clients and customers low limits")
    parser.add_argument("--keep", action="store_true", help="keep the folder when all is well too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
