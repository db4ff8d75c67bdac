"""Whether engines fit on a node and in the memory of its GPUs."""

from collections.abc import Iterator

from stages.planning.jobs import Job, all_roles, engine_specs, jobs, n_gpus
from stages.planning.pair import PlannedPair
from stages.planning.sizes import engine_room, engine_weights_gib, gpu_share, shapes


def misfits(pair: PlannedPair) -> list[str]:
    """Return why engines cannot run as params.yaml asks, one line each."""
    lines = [line for role in all_roles(pair) for line in engine_misfits(pair, role)]
    lines += [line for job in jobs(pair) for line in job_misfits(pair, job)]
    lines += context_misfits(pair)
    return [f"pair '{pair.name}': {line}" for line in dict.fromkeys(lines)]


def engine_misfits(pair: PlannedPair, role: str) -> Iterator[str]:
    """Yield what does not fit of one engine; models without sizes in plan.yaml are not checked."""
    served = pair.settings.engines[role]
    if not served.gpus or not (found := shapes(served, pair.known.models)):
        return
    if found[0].heads % served.gpus:
        yield (
            f"engine '{role}': gpus {served.gpus} does not divide the {found[0].heads} "
            f"attention heads of {served.model}"
        )
    share = gpu_share(pair, role) * pair.known.node.gpu_gib
    weights, room = engine_weights_gib(pair, role), engine_room(pair, role) or 0
    if weights > share:
        yield (
            f"engine '{role}': {weights:.1f} GiB of weights on each of {served.gpus} GPUs, "
            f"engines.gpu_memory leaves it {share:.1f}: raise its gpus"
        )
    elif room < pair.settings.max_model_len:
        yield (
            f"engine '{role}': its KV cache holds {room} tokens, not one answer of "
            f"max_model_len {pair.settings.max_model_len}: raise its gpus or engines.gpu_memory"
        )


def job_misfits(pair: PlannedPair, job: Job) -> Iterator[str]:
    """Yield that a job wants more GPUs than a node has."""
    wanted, have = n_gpus(pair, job), pair.known.node.gpus
    if wanted > have:
        names = ", ".join(f"{spec.role} {spec.served.gpus}" for spec in engine_specs(pair, job))
        yield f"{job.stage} {job.method} takes {wanted} GPUs ({names}), a node has {have}"


def context_misfits(pair: PlannedPair) -> Iterator[str]:
    """Yield that a prompt and the budget are longer than the models' context."""
    settings, prompt = pair.settings, pair.known.prompt_tokens
    if settings.max_model_len < settings.budget + prompt:
        yield (
            f"max_model_len {settings.max_model_len} is less than budget {settings.budget} and "
            f"{prompt} tokens for a prompt: raise the one or lower the other"
        )
