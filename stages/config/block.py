"""The base of every block of params.yaml."""

from pydantic import BaseModel, ConfigDict


class Block(BaseModel):
    """Strict: unknown keys and silent conversions are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
