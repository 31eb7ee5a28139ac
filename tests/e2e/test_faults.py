"""The fault suite at small size: every scenario, side by side where they can be.

`make faults` runs the same scenarios one by one, with all three pipelines and many documents.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deployments.local.supervisor.stack import Stack
from lib.pipelines import CANCELLATION, IMPORT, SALE
from tests.faults.harness import Harness, open_harness
from tests.faults.report import result_lines
from tests.faults.suite import SCENARIOS, Group, run_group

pytestmark = pytest.mark.timeout(900)

#: For each pipeline that a group has.
DOCUMENTS = 20
SEED = 1
#: A few documents are claimed by few runs, which start soon.
LEASE_SECONDS = 15.0

#: Scenarios that harm only their own pipeline share a group; those that take a part away from
#: everybody are alone.
GROUPS: dict[str, Group] = {
    "crashes": {"kills": [SALE], "worker-stopped": [IMPORT], "cancelled": [CANCELLATION]},
    "claims": {"lost-lease": [SALE], "outage": [IMPORT], "answers": [CANCELLATION]},
    "operation": {"scale-down": [SALE], "wrong-clock": [IMPORT], "throttled": [CANCELLATION]},
    "mistakes": {"wrong-password": [IMPORT], "poison": [SALE, CANCELLATION]},
    "orchestrators": {"orchestrators": [SALE, IMPORT], "no-look-up": [CANCELLATION]},
    # Not beside faults of the API: a call without a token would use one up and store nothing.
    "token-storm": {"token-storm": [SALE, IMPORT]},
    "mongo-away": {"mongo-away": [SALE]},
    "source-away": {"source-away": [SALE, IMPORT]},
    "redis-away": {"redis-away": [IMPORT]},
    "prefect-restarted": {"prefect-restarted": [SALE]},
    "single documents": {
        "one-bad-document": [SALE],
        "crash-poison": [IMPORT],
        "wrong-refusals": [CANCELLATION],
    },
    "rows": {"foreign-values": [SALE], "changed-rows": [IMPORT]},
    "runs": {"revoked": [SALE], "same-run-again": [IMPORT]},
    "database-trouble": {"database-trouble": [SALE, IMPORT]},
}


#: On this machine: some scenarios need what not every platform has.
POSSIBLE = {
    name: {scenario: own for scenario, own in group.items() if scenario in SCENARIOS}
    for name, group in GROUPS.items()
}


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with (
        Stack(tmp_path_factory.mktemp("faults")) as stack,
        open_harness(stack, lease_seconds=LEASE_SECONDS) as harness,
    ):
        yield harness


def test_every_scenario_is_here() -> None:
    assert sorted(name for group in POSSIBLE.values() for name in group) == sorted(SCENARIOS)


@pytest.mark.parametrize("group", POSSIBLE.values(), ids=list(POSSIBLE))
def test_nothing_is_lost_sent_twice_or_wrongly_failed(harness: Harness, group: Group) -> None:
    documents = DOCUMENTS * len({pipeline for each in group.values() for pipeline in each})
    results = run_group(harness, group, documents, SEED)
    lines = [line for result in results for line in result_lines(result)]
    assert all(result.clean for result in results), "\n".join(lines)
    assert all(result.faults for result in results), "\n".join(lines)
