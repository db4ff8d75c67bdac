"""How much GPU memory and disk models take: arithmetic, with units in the names."""

from collections.abc import Mapping

from stages.config.schema import Model
from stages.planning.assumptions import Shape
from stages.planning.pair import PlannedPair

GIB = 2**30
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def weights_gib(billions: float, bytes_each: int, gpus: int) -> float:
    """Return the GiB of weights on each of `gpus` GPUs."""
    return billions * 1e9 * bytes_each / gpus / GIB


def kv_bytes(shape: Shape, bytes_each: int, gpus: int) -> int:
    """Return the bytes of a token's keys and values on each GPU, which holds at least one head."""
    heads = max(1, shape.kv_heads // gpus)
    return shape.layers * heads * shape.head_dim * 2 * bytes_each


def kv_tokens(free_gib: float, bytes_per_token: int) -> int:
    """Return the number of tokens whose keys and values fit."""
    return max(0, int(free_gib * GIB / bytes_per_token))


def shapes(served: Model, models: Mapping[str, Shape]) -> list[Shape]:
    """Return the shapes of an engine's model and drafter; empty if one is not known."""
    names = [name for name, _ in served.parts]
    return [models[name] for name in names] if all(name in models for name in names) else []


def engine_weights_gib(pair: PlannedPair, role: str) -> float:
    """Return the GiB of an engine's weights on each of its GPUs; 0 if its models are not known."""
    served, bytes_each = pair.settings.engines[role], BYTES[pair.settings.dtype]
    return sum(
        weights_gib(shape.billions, bytes_each, served.gpus)
        for shape in shapes(served, pair.known.models)
    )


def engine_room(pair: PlannedPair, role: str) -> int | None:
    """Return the tokens that an engine's KV cache holds; None on a CPU or if it is not known."""
    served, node = pair.settings.engines[role], pair.known.node
    if not served.gpus or not (found := shapes(served, pair.known.models)):
        return None
    taken = engine_weights_gib(pair, role) + node.overhead_gib
    each = sum(kv_bytes(shape, BYTES[pair.settings.dtype], served.gpus) for shape in found)
    return kv_tokens(gpu_share(pair, role) * node.gpu_gib - taken, each)


def gpu_share(pair: PlannedPair, role: str) -> float:
    """Return the share of a GPU's memory that an engine takes."""
    return pair.settings.engines[role].gpu_memory or pair.params.engines.gpu_memory


def model_bytes(pair: PlannedPair) -> float:
    """Return the disk space of the pair's models from the hub, each counted once."""
    models, bytes_each = pair.known.models, BYTES[pair.settings.dtype]
    names = dict.fromkeys(
        name
        for served in pair.settings.engines.values()
        for name, _ in served.parts
        if served.on_hub and name in models
    )
    return sum(models[name].billions * 1e9 * bytes_each for name in names)
