"""A probe of the bundled pair's real engines."""

from collections.abc import Mapping

import pytest

from stages.config.schema import Params
from stages.engine.server import Engine
from stages.perf import bundled
from stages.perf.probe import Probing, measured

pytestmark = pytest.mark.integration


async def test_the_small_model_is_faster_and_a_hand_off_finds_its_prefix(
    engines: Mapping[str, Engine], drafted: Mapping[str, Engine], params: Params
) -> None:
    running = {role: {**engines, **drafted}[role] for role in params.pair("demo").engines}
    problems = bundled.problems(params, "chains_short", 2)
    found = await measured(Probing(params, "demo", problems), running, {})
    alone = found.tokens_per_s
    assert alone["small"] > 2 * alone["large"]
    assert found.tokens_per_s_at_once["small"] > alone["small"]
    assert found.cached_percent > 50
    assert found.acceptance_length["eagle3"] > 1.5
    assert found.handoff_ms < 16 * 1000 / alone["large"]  # a turn of the large model
