"""A short run of the chaos suite; `make chaos` makes long ones."""

import pytest

from tests.chaos.__main__ import new_folder, report
from tests.chaos.support.run import run

SEED = 20261121
SECONDS = 45.0


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_the_platform_survives_a_minute_of_faults_and_owes_nobody_anything() -> None:
    folder = new_folder(SEED)
    print(f"seed {SEED}")

    result = await run(folder, seed=SEED, for_seconds=SECONDS, say=print, fault_every_seconds=1.2)

    report(result, folder)
    assert not result.complaints, result.line
