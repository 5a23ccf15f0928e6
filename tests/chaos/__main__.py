"""`python -m tests.chaos --minutes n --seed s`: the chaos suite, for as long as one likes."""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from tests.chaos.support.load import JOBS_PER_SECOND
from tests.chaos.support.run import FAULT_EVERY_SECONDS, NEIGHBOURS_SECONDS, Result, run

_COMPLAINTS_SHOWN = 50


def main() -> int:
    """Run it; return the exit status."""
    arguments = _parse()
    seed: int = random.randrange(1_000_000) if arguments.seed is None else arguments.seed
    print(f"seed {seed}, {arguments.minutes:g} minutes", flush=True)
    folder = new_folder(seed)
    running = run(
        folder,
        seed=seed,
        for_seconds=arguments.minutes * 60,
        say=lambda line: print(line, flush=True),
        jobs_per_second=arguments.jobs_per_second,
        fault_every_seconds=arguments.fault_every_seconds,
        neighbours_seconds=arguments.neighbours_seconds,
    )
    try:
        result = asyncio.run(running)
    except Exception:  # noqa: BLE001 - whatever it is, the last line is the verdict
        traceback.print_exc()
        result = Result(["the run itself broke"])
    report(result, folder, keep=arguments.keep)
    print(result.line, flush=True)
    return 1 if result.complaints else 0


def new_folder(seed: int) -> Path:
    """Create the folder of a run: not below one of the user's, for PostgreSQL may run under an account of its own."""
    folder = Path(tempfile.mkdtemp(prefix=f"innosystem-chaos-{seed}-"))
    folder.chmod(0o755)
    return folder


def report(result: Result, folder: Path, *, keep: bool = False) -> None:
    """Print what happened; keep the logs if they are needed."""
    for complaint in result.complaints[:_COMPLAINTS_SHOWN]:
        print(f"- {complaint}")
    if result.figures is not None:
        print(*result.figures.report, sep="\n")
    if result.complaints or keep:
        print(f"logs, databases and the schedule are in {folder}")
    else:
        shutil.rmtree(folder)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long there are faults (10)")
    parser.add_argument("--seed", type=int, help="decides on jobs and faults (chosen and printed)")
    parser.add_argument(
        "--jobs-per-second",
        type=float,
        default=JOBS_PER_SECOND,
        help="how many jobs are submitted; beyond the usual rate they are quick ones",
    )
    parser.add_argument("--fault-every-seconds", type=float, default=FAULT_EVERY_SECONDS, help="the mean pause")
    parser.add_argument(
        "--neighbours-seconds",
        type=float,
        default=NEIGHBOURS_SECONDS,
        help="how long neighbours are measured under each trouble, before the faults; 0 for not at all",
    )
    parser.add_argument("--keep", action="store_true", help="keep the folder when all is well too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
