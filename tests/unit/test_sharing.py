"""Which methods are asked on the same engines, started once."""

from pathlib import Path

import pytest

from stages.config.params import load
from stages.config.selection import methods_of, variants_of
from stages.config.sharing import groups

pytestmark = pytest.mark.unit

PARAMS = load(Path("params.yaml"))
ALONE = ["small", "large"]
RELAYS = ["relaygen", "all_candidates", "substring", "answer_by_large"]


def test_a_method_shares_the_engines_of_another_that_needs_these_and_more() -> None:
    methods = methods_of(PARAMS, "demo") | variants_of(PARAMS, "demo")
    assert groups(methods) == {
        ("large", "small"): [*ALONE, "spec_think", "r2r", "r2r_entropy", *RELAYS],
        ("eagle3", "small"): ["eagle3", "relaygen_eagle3"],
        ("draft",): ["draft"],
    }


def test_without_a_wider_one_a_method_has_its_engines_to_itself() -> None:
    methods = methods_of(PARAMS, "demo")
    alone = {name: methods[name] for name in ALONE}
    assert groups(alone) == {("small",): ["small"], ("large",): ["large"]}


def test_nothing_to_ask_needs_no_engines() -> None:
    assert groups({}) == {}
