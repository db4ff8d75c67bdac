"""Lines of policies whose threshold is chosen on the calibration set."""

from typing import Annotated, Any

from pydantic import AfterValidator

from stages.methods import of_kind

OPEN = "threshold"  # what stands in a line in place of a number


def with_threshold(line: Any, value: float) -> Any:
    """Return a line, or a part of it, with a number in place of what is open."""
    if isinstance(line, dict):
        return {key: with_threshold(part, value) for key, part in line.items()}
    return value if line == OPEN else line


def is_open(line: dict[str, Any]) -> bool:
    """Return whether a line has a threshold that is to be chosen."""
    return bool(with_threshold(line, 0.5) != line)


def a_policy(line: dict[str, Any]) -> dict[str, Any]:
    """A line is a relay's, with any threshold, and has no cues but the pair's."""
    method = of_kind(with_threshold(line, 0.5))
    if method.kind != "relay" or method.cues not in ("none", "pair"):
        raise ValueError("a policy to tune has kind: relay and cues: none or pair")
    return line


Template = Annotated[dict[str, Any], AfterValidator(a_policy)]
