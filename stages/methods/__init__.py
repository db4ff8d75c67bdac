"""How an answer comes about: a module per kind of method, found by its name.

A module holds one subclass of `base.Method` called `Method`, whose fields are the method's line in
params.yaml and whose `start` gives the state machine that answers one problem.
"""

import importlib
import pkgutil
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError

from stages.methods.base import Method

SHARED = ("base", "matching", "offline")
KINDS = sorted(
    module.name for module in pkgutil.iter_modules(__path__) if module.name not in SHARED
)


def of_kind(settings: Any) -> Method:
    """The method that a line of params.yaml describes."""
    kind = settings.get("kind") if isinstance(settings, dict) else None
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}")
    try:
        method = importlib.import_module(f"{__name__}.{kind}").Method(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    assert isinstance(method, Method)
    return method


AnyMethod = Annotated[Method, BeforeValidator(of_kind)]
