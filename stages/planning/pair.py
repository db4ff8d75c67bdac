"""A pair of params.yaml together with what a plan assumes of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from stages.config.schema import Pair, Params
from stages.planning.assumptions import Assumptions, FamilyEstimates, published_speedups
from stages.planning.due import Due
from stages.planning.measured import Measured

REFERENCE = Path("workflow/reference")
NOTHING = Measured()


@dataclass(frozen=True)
class PlannedPair:
    """What all parts of a plan work on. `speedups`: {method: speedup over the large model}.

    `due`: the stages of dvc.yaml that a run goes through; those that are not there yet are due
    without being named.
    """

    params: Params
    name: str
    known: Assumptions
    speedups: Mapping[str, float]
    due: Due
    measured: Measured

    @property
    def settings(self) -> Pair:
        """Return the pair's block of params.yaml."""
        return self.params.pair(self.name)

    @property
    def family(self) -> FamilyEstimates:
        """Return what is assumed of the pair's family."""
        return self.known.families[self.settings.family.estimates]


def planned_pair(
    params: Params,
    name: str,
    known: Assumptions,
    due: Due = MappingProxyType({}),
    measured: Measured = NOTHING,
) -> PlannedPair:
    """Return a pair to plan for; by default nothing has been measured of it."""
    speedups = known.families[params.pair(name).family.estimates].speedups
    if isinstance(speedups, str):
        speedups = published_speedups(REFERENCE / "paper.yaml", speedups)
    return PlannedPair(params, name, known, speedups, due, measured)
