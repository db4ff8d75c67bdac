"""Show an answer of a finished run: who wrote what, cues, times of segments, the verdict."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from stages.analysis.display import shown
from stages.analysis.reading import Part, one_answer, parts
from stages.analysis.replay import read_tokenizer
from stages.config.params import load
from stages.runtime.errors import UserError
from stages.tracking.files import Row
from stages.tracking.frames import ANSWERS, PROMPTS, SCORES, read_parquet
from stages.view.terminal import CUE, has_colours, painted

RESULTS = Path("results")


def main() -> None:
    """Print one answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", required=True, help="a method")
    parser.add_argument("--benchmark", required=True, help="a problem set")
    parser.add_argument("--problem", type=int, required=True, help="a problem_id")
    parser.add_argument("--repeat", type=int, default=0, help="which of the answers to it")
    parser.add_argument("--pair", help="default: the first pair of `run`")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="params.yaml")
    args = parser.parse_args()
    folder = RESULTS / (args.pair or load(args.params).run[0])
    answers = folder / "generations" / args.method / f"{args.benchmark}.parquet"
    problems = read_parquet(problem_set(folder, args.benchmark), PROMPTS)
    decode = read_tokenizer(folder / "problems/tokenizer.json").decode
    answer = chosen(read_parquet(found(answers), ANSWERS), args.problem, args.repeat, answers)
    scores = read_parquet(folder / "scores.parquet", SCORES)
    score = chosen(
        scores.filter(method=args.method, benchmark=args.benchmark),
        args.problem,
        args.repeat,
        folder / "scores.parquet",
    )
    print(f"{problems.filter(problem_id=args.problem)['prompt'].item()}\n")
    print("\n".join(lines(answer, score, parts(answer, decode), has_colours())))


def problem_set(folder: Path, benchmark: str) -> Path:
    """Return the file of a benchmark's problems; UserError if there is none."""
    return found(folder / "problems" / f"{benchmark}.parquet")


def found(path: Path) -> Path:
    """Return a file; UserError with the names that there are instead if it is not there."""
    if path.is_file():
        return path
    folder, pattern = (path.parent, "*.parquet")
    if not folder.is_dir():
        folder, pattern = folder.parent, "*"
    names = sorted(one.stem for one in folder.glob(pattern)) if folder.is_dir() else []
    raise UserError(f"{path}: no such file; there are: {', '.join(names) or 'none'}")


def chosen(rows: pl.DataFrame, problem: int, repeat: int, path: Path) -> Row:
    """Return the row of an answer; UserError if there is none."""
    try:
        return one_answer(rows, problem, repeat)
    except pl.exceptions.NoRowsReturnedError as error:
        n, repeats = rows["problem_id"].n_unique(), rows["repeat"].n_unique()
        raise UserError(
            f"{path}: no answer {repeat} to problem {problem}; it has {n} problems with {repeats} "
            "answers each, counted from 0"
        ) from error


def lines(answer: Row, score: Row, segments: Sequence[Part], coloured: bool) -> Iterator[str]:
    """Yield what is printed: the text, then a line per segment, then the verdict."""
    yield "".join(
        painted(one.text + (CUE if one.cue else ""), one.by, coloured) for one in segments
    )
    yield ""
    for i, one in enumerate(segments, start=1):
        cue = f"  cue: {one.cue}" if one.cue else ""
        yield painted(
            f"{i:4d}  {one.by}  {one.tokens:5d} tokens  {one.seconds:8.3f} s  {one.stage}{cue}",
            one.by,
            coloured,
        )
    large, small = answer["large_tokens"], answer["small_tokens"]
    verdict = "right" if score["correct"] else "wrong"
    yield ""
    yield (
        f"{shown(score['method'])}: {verdict}; answer: {score['predicted'] or 'none'}; right "
        f"answer: {score['gold']}"
    )
    ended = "" if answer["finish_reason"] == "stop" else ", ended by the budget"
    share, wall_s = 100 * large / (large + small), answer["wall_s"]
    yield (
        f"{large + small} tokens in {wall_s:.1f} s, {share:.0f} % by the large model, "
        f"{answer['n_switches']} hand-offs{ended}"
    )
