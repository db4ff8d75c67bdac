"""Who answers under load: each method, and beside it the large model on the same hardware."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from stages.config.schema import Model, Pair, Params
from stages.config.selection import methods_of
from stages.engine.spec import copy_of
from stages.methods.base import Method


class Contender(NamedTuple):
    """A method, with `replicas` of each of its engines that share its answers."""

    method: str
    roles: tuple[str, ...]
    replicas: int = 1

    def __str__(self) -> str:
        return f"{self.method} x {self.replicas}" if self.replicas > 1 else self.method

    def clients_of(self, replica: int) -> dict[str, str]:
        """Return {role: name of its engine} of one of the replicas."""
        return {role: copy_of(role, replica) for role in self.roles}


def contenders(methods: Mapping[str, Method], engines: Mapping[str, Model]) -> list[Contender]:
    """Return the methods, then the large model in as many replicas as each one's hardware holds.

    What is left over of the hardware, less than a replica takes, stays idle.
    """
    own = [Contender(name, method.roles) for name, method in methods.items()]
    large = next(one for one in own if one.method == "large")
    each = units(large, engines)
    fitting = sorted({units(one, engines) // each for one in own})
    return [*own, *(large._replace(replicas=n) for n in fitting if n > 1)]


def units(contender: Contender, engines: Mapping[str, Model]) -> int:
    """Return the hardware that a contender holds: GPUs, or engines on a CPU."""
    each = (max(1, engines[role].gpus) for role in dict.fromkeys(contender.roles))
    return contender.replicas * sum(each)


def together(all_of_them: Iterable[Contender]) -> list[list[Contender]]:
    """Return the contenders in groups that use the same engines."""
    groups: dict[tuple[frozenset[str], int], list[Contender]] = {}
    for one in all_of_them:
        groups.setdefault((frozenset(one.roles), one.replicas), []).append(one)
    return list(groups.values())


def largest(params: Params, name: str) -> Contender:
    """Return the contender of a pair that holds the most hardware."""
    pair: Pair = params.pair(name)
    found = contenders(methods_of(params, name), pair.engines)
    return max(found, key=lambda one: units(one, pair.engines))


def repeats(in_flight: int, n_problems: int) -> int:
    """Return how often each problem is answered, for twice as many answers as are in flight."""
    return math.ceil(2 * in_flight / n_problems)
