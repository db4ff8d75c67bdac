"""As much of torch as `stages.engine.serve` takes to be imported."""


class Tensor:
    """The name, for annotations."""
