"""How an answer is written: one module per kind of method, found by its name.

Each module has a class `Method`, a subclass of `base.Method`. Its fields are those of the method's
line in params.yaml; its method `start` returns the state machine that answers one problem.
"""

import importlib
import pkgutil
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError

from stages.methods.base import Method

SHARED = ("base", "matching", "offline", "policies")
KINDS = sorted(
    module.name for module in pkgutil.iter_modules(__path__) if module.name not in SHARED
)


def of_kind(settings: Any) -> Method:
    """Return the method that a line of params.yaml describes; ValueError for an invalid line."""
    kind = settings.get("kind") if isinstance(settings, dict) else None
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}")
    try:
        method = importlib.import_module(f"{__name__}.{kind}").Method(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        what = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {what}") from error
    assert isinstance(method, Method)
    return method


AnyMethod = Annotated[Method, BeforeValidator(of_kind)]
