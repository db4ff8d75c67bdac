"""What was run, as the report says it: by the notes with the answers, and by the times in logs."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

from stages.analysis.display import shown
from stages.tracking.files import Row
from stages.tracking.provenance import HASH, distinct, named, on

Facts = list[tuple[str, str]]
IN_FLIGHT = "--max-num-seqs"
ALSO = {"infer": ("together",)}  # jobs that do a stage's work


def facts(origins: Sequence[Row], prompts: Mapping[str, Mapping[str, str]]) -> Facts:
    """Return (what, value) of a pair's answers. `origins`: what is noted with each method's.

    `prompts`: {benchmark: {wording: words around a problem}}.
    """
    settings = [one["asked_by"]["content"]["settings"] for one in origins]
    packages = [one["asked_by"]["content"]["packages"] for one in origins]
    sessions = distinct(session for one in origins for session in one["sessions"])
    flags = [given for session in sessions for given in session["flags"].items()]
    return [
        *models(origins, flags),
        ("Sampling", said(listed(one["sampling"]) for one in settings)),
        ("Budget of an answer", said(f"{one['budget']} tokens" for one in settings)),
        ("Answers to each problem", said(str(one["repeats"]) for one in settings)),
        ("Number format", said(str(one["dtype"]) for one in settings)),
        ("Answers in flight", said(after(IN_FLIGHT, given) for _, given in flags)),
        ("Seed", said(str(one["seed"]) for one in settings)),
        *wordings(prompts),
        ("Engine", said(one["engine"] for one in sessions)),
        ("Packages", said(f"{name} {number}" for one in packages for name, number in one.items())),
        ("Hardware", said(on(one["hardware"]) for one in sessions)),
        ("Container", said(one["container"] for one in sessions)),
        ("Python", said(one["python"] for one in sessions)),
        ("Commit", said(one["git_commit"] for one in sessions)),
        ("Begun", days(one["started"] for one in sessions)),
    ]


def beside_paper(
    own: Sequence[tuple[str, str]], setup: Mapping[str, Mapping[str, str]], published: str | None
) -> list[tuple[str, str, str]]:
    """Return (what, value, the paper's value where it is another one).

    `setup`: the paper's, for all of its pairs and for each. `published`: which of them this one is;
    a pair that is none of them has models and sampling of its own.
    """
    papers = {**setup["all"], **(setup[published] if published else {})}
    return [
        (what, value, "" if papers.get(what, "") in value else papers[what]) for what, value in own
    ]


def models(origins: Sequence[Row], flags: Sequence[tuple[str, list[str]]]) -> Facts:
    """Return a line per engine: its model as it was named, and its revision or digest."""
    known = {role: model for one in origins for role, model in one["models"].items()}
    given = dict(flags)
    return [
        (f"Model, {role}", without_repeats(after("--model", given.get(role, [])), named(model)))
        for role, model in known.items()
    ]


def wordings(prompts: Mapping[str, Mapping[str, str]]) -> Facts:
    """Return a line per prompt, with the benchmarks that are asked in it."""
    found: dict[tuple[str, str], list[str]] = {}
    for benchmark, words in prompts.items():
        for wording, text in words.items():
            found.setdefault((wording, text), []).append(shown(benchmark))
    return [
        (f"Prompt, {wording} ({', '.join(benchmarks)})", text)
        for (wording, text), benchmarks in found.items()
    ]


def without_repeats(*texts: str) -> str:
    """Return texts in one line, no word twice, and digests cut to ten digits."""
    return HASH.sub(r"\1", " ".join(dict.fromkeys(" ".join(texts).split())))


def after(flag: str, given: Sequence[str]) -> str:
    """Return the value of a flag of a command line; empty if it does not have it."""
    return given[given.index(flag) + 1] if flag in given else ""


def said(texts: Iterable[str]) -> str:
    """Return different texts, each once."""
    return "; ".join(dict.fromkeys(HASH.sub(r"\1", text) for text in texts if text))


def listed(table: Row) -> str:
    """Return names and values in one line."""
    return ", ".join(f"{name} {value}" for name, value in table.items())


def days(times: Iterable[str]) -> str:
    """Return the first and the last day of times in ISO format."""
    found = sorted(time[:10] for time in times)
    return " to ".join(dict.fromkeys(found[:1] + found[-1:]))


def durations(logs: Path, stages: Iterable[str]) -> dict[str, float]:
    """Return {stage: seconds in which any of its jobs ran, the last time} by Snakemake's notes."""
    found = {}
    for stage in stages:
        names = [stage, *ALSO.get(stage, ())]
        patterns = [f"{name}{rest}.tsv" for name in names for rest in ("", "-*")]
        if spans := [span(file) for pattern in patterns for file in logs.glob(pattern)]:
            found[stage] = covered(spans)
    return found


def span(file: Path) -> tuple[float, float]:
    """Return when a job began and ended, by its benchmark file, which is written at its end."""
    end = file.stat().st_mtime
    return end - seconds(file), end


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return the length of what spans cover together; spans may overlap."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def seconds(file: Path) -> float:
    """Return what a job took, by its benchmark file."""
    return float(pl.read_csv(file, separator="\t")["s"].sum())
