"""A pair from two models: what params.yaml needs to say of them, found out from their files."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from pydantic import ValidationError

from stages.config import families
from stages.config.params import described, load
from stages.config.schema import PROMPT_TOKENS, File, Pair
from stages.engine import hub, models
from stages.engine.models import INSTEAD
from stages.problems import fit, pair_fit
from stages.problems.sources import from_file
from stages.runtime.errors import UserError
from stages.tracking.files import Row, write_text

LONGEST_BUDGET = 32768  # the paper's
SAMPLED = ("temperature", "top_p", "top_k", "min_p")
BENCHMARK = "math500"
DRAFT_TOKENS = 3  # drafted at once
BLOCK = """\
  {name}:
    # prompts and think tags: a file in workflow/reference/families/, or changes to one
    family: {family}
    engines:  # role: a model folder, or a name on the model hub with its commit
      large: {large}
      small: {small}
      # The small model drafts for the large one, which loses nothing: the method `draft`.
      # draft: {draft}
    budget: {budget}  # completion tokens of one answer, all segments together
    max_model_len: {max_model_len}  # tokens of prompt and answer together
    sampling: {sampling}
    calibration: {calibration}  # the problems that cues are mined on
    benchmarks: {benchmarks}  # the problems that all methods answer
    # Usual values; docs/configuration.md explains all keys.
    # repeats: 1  # answers per problem
    # cues: mined  # or published, or a file of cues
    # cue_matching: boundary  # substring: cues count inside words, too
    # min_segments: 20  # segments that a candidate needs: fewer where there are few traces
"""
WRITTEN = ("family", "budget", "max_model_len", "sampling", "calibration", "benchmarks")


def from_models(
    large: str | None, small: str | None, family: str | None, budget: int | None
) -> Pair:
    """Return the pair of two models, with what is usual for the rest.

    Raises UserError if a model is not given, or a value is not valid.
    """
    if not large or not small:
        raise UserError("give a pair of params.yaml, or both --large and --small")
    engines = {"large": engine(large), "small": engine(small)}
    draft = valid({"engines": engines, "budget": budget or 1, "family": family or families.USUAL})
    return (
        draft if pair_fit.findings_of_files(draft) else draft.model_copy(update=room(draft, budget))
    )


def valid(given: Row) -> Pair:
    """Return a pair; UserError if it is not valid."""
    try:
        return Pair.model_validate({"benchmarks": [BENCHMARK], **given})
    except ValidationError as error:
        problems = described([dict(item) for item in error.errors()])
        raise UserError("; ".join(problems)) from error


def engine(model: str, gpus: int = 0) -> Row:
    """Return what an engine serves: a folder, or a model on the hub at its newest commit."""
    on_gpus = {"gpus": gpus} if gpus else {}
    if Path(model).exists() or model.startswith((".", "/", "~")) or model.count("/") != 1:
        return {"model": model, **on_gpus}
    return {"model": model, "revision": hub.newest(model, INSTEAD), **on_gpus}


def found_out(given: Row, calibration: str, benchmarks: list[str]) -> Row:
    """Return a pair's block, completed by what its models' files say.

    `given`: `engines`, and `family` and `budget` if they are decided. Raises UserError, a line for
    each, if the models cannot be a pair.
    """
    decided = {key: value for key, value in given.items() if value}
    draft = valid({"budget": 1, "max_model_len": 2, **decided})
    refuse(pair_fit.findings_of_files(draft))
    block = {
        "family": given.get("family") or family_of(draft),
        "engines": given["engines"],
        **room(draft, given.get("budget")),
        "sampling": sampling_of(draft),
        "calibration": sets_of([calibration]),
        "benchmarks": sets_of(benchmarks),
    }
    refuse(pair_fit.findings(valid(block)))
    return block


def reader_of(small: str, family: str | None, gpus: int, min_segments: int | None) -> Pair:
    """Return a pair in which the small model plays both, to read traces, as far as it can read.

    Raises UserError, a line for each, for what is wrong with it.
    """
    engines = {role: engine(small, gpus) for role in ("large", "small")}
    given = {"engines": engines, "budget": 1, "family": family or families.USUAL}
    draft = valid({**given, "min_segments": min_segments})
    refuse(pair_fit.findings_of_files(draft))
    served = draft.engines["small"]
    reach = fit.context_of(pair_fit.config_of(served.model, served.revision))
    chosen = family or family_of(draft)
    pair = valid({**given, "family": chosen, "min_segments": min_segments})
    return pair.model_copy(update={"max_model_len": reach or LONGEST_BUDGET})


def refuse(findings: list[pair_fit.Finding]) -> None:
    """Raise UserError with what is wrong, if anything is."""
    if wrong := [finding.text for finding in findings if finding.verdict == "wrong"]:
        raise UserError("not a pair: " + "; ".join(wrong))


def room(pair: Pair, budget: int | None) -> dict[str, int]:
    """Return `budget` and `max_model_len`: as long as all models of a pair can read.

    `budget`: if it is decided.
    """
    configs = [pair_fit.config_of(one.model, one.revision) for one in pair.engines.values()]
    known = [reach for config in configs if (reach := fit.context_of(config))]
    reach = min(known, default=LONGEST_BUDGET + PROMPT_TOKENS)
    budget = budget or min(LONGEST_BUDGET, max(reach - PROMPT_TOKENS, reach // 2))
    return {"budget": budget, "max_model_len": max(min(reach, budget + PROMPT_TOKENS), budget + 1)}


def family_of(pair: Pair) -> str:
    """Return the first family whose end of the reasoning a pair's models write.

    The usual one comes first. If none suits, it is the usual one, and what is wrong is said of it.
    """
    others = sorted(file.stem for file in families.FOLDER.glob("*.yaml"))
    for name in (families.USUAL, *others):
        family = families.Family.model_validate(families.whole(name))
        found = pair_fit.tags(pair.model_copy(update={"family": family}))
        if all(finding.verdict == "ok" for finding in found):
            return name
    return families.USUAL


def sampling_of(pair: Pair) -> Row:
    """Return the sampling that the large model's files recommend, or the usual one."""
    large = pair.engines["large"]
    try:
        content = pair_fit.content_of(models.model_file(large, "generation_config.json"))
    except (UserError, OSError):
        content = {}
    found = {key: content[key] for key in SAMPLED if isinstance(content.get(key), int | float)}
    usual = pair.sampling.given()
    return {key: type(usual.get(key, 0.0))(value) for key, value in (usual | found).items()}


def sets_of(given: list[str]) -> Row | list[str]:
    """Return problem sets: names of the catalogue, or files of problems."""
    if not any(map(is_file, given)):
        return given
    return {Path(one).stem: file_of(one) if is_file(one) else {} for one in given}


def is_file(name: str) -> bool:
    """Return whether a problem set is a file."""
    return name.endswith((".jsonl", ".parquet"))


def file_of(path: str) -> Row:
    """Return what params.yaml says of a file of problems; UserError if it is none."""
    _, first = next(iter(from_file(File(source="file", path=path, scoring="math"))), (0, {}))
    scoring = "choice" if first.get("choices") else "math"
    return {"source": "file", "path": path, "scoring": scoring}


def text_of(name: str, block: Row) -> str:
    """Return a pair's block as params.yaml has it, with comments."""
    engines = block["engines"]
    return BLOCK.format(
        name=name,
        large=inline(engines["large"]),
        small=inline(engines["small"]),
        draft=inline({**engines["large"], "speculation": draft_model(engines["small"])}),
        **{key: inline(block[key]) for key in WRITTEN},
    )


def draft_model(small: Row) -> Row:
    """Return the speculation in which a pair's small model drafts."""
    drafter: Row = {key: small[key] for key in ("model", "revision") if key in small}
    return {"method": "draft_model", **drafter, "tokens": DRAFT_TOKENS}


def inline(value: Any) -> str:
    """Return a value in one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=float("inf"))
    return str(text).removesuffix("...\n").strip()


def add(file: Path, name: str, block: Row) -> None:
    """Write a pair into params.yaml, as the first of its pairs, and nothing else.

    Raises UserError, and leaves the file as it is, if the pair has a name that is taken or not
    fit, or if the file would not be valid.
    """
    if name in load(file).pairs:
        raise UserError(f"{file}: there is a pair '{name}': choose another name")
    before, text = file.read_text(encoding="utf-8"), text_of(name, block)
    after, n = re.subn(r"(?m)^pairs:[ \t]*(#.*)?\n", lambda found: f"{found[0]}{text}\n", before)
    if n != 1:
        raise UserError(f"{file}: no line `pairs:` to write below; add it yourself:\n{text}")
    with TemporaryDirectory() as folder:
        copy = Path(folder) / file.name
        copy.write_text(after, encoding="utf-8")
        try:
            load(copy)
        except UserError as error:
            raise UserError(str(error).replace(str(copy), str(file))) from error
    write_text(file, after)
