"""Which methods are asked on the same engines, started once."""

from collections.abc import Mapping
from typing import Protocol


class UsesEngines(Protocol):
    """A method, or a job: what asks engines."""

    @property
    def roles(self) -> tuple[str, ...]: ...


def groups(asking: Mapping[str, UsesEngines]) -> dict[tuple[str, ...], list[str]]:
    """Return {roles of engines: names of those that ask them}.

    Whoever needs some of another's engines shares all of these.
    """
    own = {name: frozenset(one.roles) for name, one in asking.items()}
    # In one order of roles, whatever the method that comes first.
    widest = [roles for roles in own.values() if not any(roles < other for other in own.values())]
    found: dict[tuple[str, ...], list[str]] = {}
    for name, roles in own.items():
        engines = next(wide for wide in widest if roles <= wide)
        found.setdefault(tuple(sorted(engines)), []).append(name)
    return found
