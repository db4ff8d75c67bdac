"""Which methods are asked on the same engines, started once."""

from collections.abc import Mapping
from typing import Protocol

from stages.config.schema import Params
from stages.config.selection import methods_of, variants_of


class UsesEngines(Protocol):
    """A method, or a job: what asks engines."""

    @property
    def roles(self) -> tuple[str, ...]: ...


def groups(asking: Mapping[str, UsesEngines]) -> dict[tuple[str, ...], list[str]]:
    """Return {roles of engines, in alphabetical order: names of those that ask them}.

    Whose engines are all among those of another shares these.
    """
    own = {name: frozenset(one.roles) for name, one in asking.items()}
    widest = [roles for roles in own.values() if not any(roles < other for other in own.values())]
    found: dict[tuple[str, ...], list[str]] = {}
    for name, roles in own.items():
        engines = next(wide for wide in widest if roles <= wide)
        found.setdefault(tuple(sorted(engines)), []).append(name)
    return found


def sets_of_engines(params: Params, pair: str) -> dict[str, list[str]]:
    """Return {roles of engines, as `large+small`: methods and variants that share them}."""
    had = methods_of(params, pair) | variants_of(params, pair)
    return {"+".join(roles): names for roles, names in groups(had).items()}
