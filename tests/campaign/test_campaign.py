"""Twenty events of the kill campaign."""

from pathlib import Path

import pytest

from tests.campaign.campaign import campaign, table

pytestmark = pytest.mark.end_to_end


def test_runs_that_are_killed_again_and_again_end_with_an_undisturbed_runs_results(
    tmp_path: Path,
) -> None:
    results = list(campaign(tmp_path, n_events=20, seed=1, per_run=10, at_once=3))
    assert not any(result.wrong for result in results), table(results)
