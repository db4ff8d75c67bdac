"""Choose a policy for a pair, with its thresholds, on the calibration set alone.

Candidates are the policies of the block `tune` in params.yaml, with thresholds by the small model's
margins over the traces. They answer the calibration set in rounds: the better half goes on to twice
as many problems. Writes the grid, and the line to put under `methods:`. With --by, it writes the
line of one policy, with a threshold by the margins alone, without any answer.
"""

from pathlib import Path

import polars as pl

from stages.analysis import tuning
from stages.analysis.cue_sets import words_in
from stages.analysis.grading import score
from stages.analysis.tuning import LARGE, PAPER, Candidate, Outcome
from stages.config.params import load
from stages.config.schema import Params
from stages.config.selection import filled
from stages.generation.answering import tasks
from stages.generation.tuning import Panel, panel, write_line
from stages.methods import of_kind
from stages.runtime import command_line
from stages.tracking import provenance, recipes
from stages.tracking.frames import GOLD, MARGINS, PROMPTS, check_parquet, read_parquet, write_csv
from stages.tracking.notes import write_provenance
from stages.tracking.targets import Target


class Tuning:
    """The calibration set of a pair, and what candidates come to on it."""

    def __init__(self, params: Params, pair: str, problems: pl.DataFrame, at: Panel) -> None:
        self.params, self.pair, self.problems, self.at = params, pair, problems, at
        settings = params.pair(pair)
        self.scoring = settings.calibration[settings.calibration_set].scoring

    def answers(self, candidate: Candidate, n: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return a candidate's answers to the first `n` problems, and their scores."""
        method = filled(self.params, self.pair, of_kind(candidate.line))
        problems = self.problems.head(n)
        todo = tasks(problems, self.params.pair(self.pair).repeats, method.prompt_column)
        answers = self.at.answers(candidate.name, method, todo)
        return answers, score(answers, problems, self.scoring)

    def outcome(self, candidate: Candidate, n: int) -> Outcome:
        """Return what a candidate's answers to the first `n` problems came to."""
        answers, scores = self.answers(candidate, n)
        _, large = self.answers(LARGE, n)
        known = self.params
        row = tuning.values(
            answers, scores, large, known.tune.max_loss, known.tables.bootstrap, known.seed
        )
        return Outcome(candidate, n, row)


def main() -> None:
    """Write grid.csv and chosen.yaml of a pair, and print the choice."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--policy", help="with --by: a line of tune.policies")
    parser.add_argument("--by", help="mixture, or a quantile: choose without answers")
    parser.add_argument("--out", type=Path, help="folder; default: results/PAIR/tune")
    args = parser.parse_args()
    command_line.start_log(args.log)
    params = load(args.params)
    pair, folder = params.pair(args.pair), Path("results") / args.pair
    out = args.out or folder / "tune"
    margins, cues = folder / "margins.parquet", folder / "cue_sets" / "relaygen.yaml"
    counted = tuning.at_content(read_parquet(margins, MARGINS), pair.family.content)
    job = recipes.job_of(params, Target("infer", args.pair, "relaygen"))
    settings = {"tune": params.tune.model_dump(), "pair": args.pair}
    if args.by or args.policy:
        one = tuning.without_answers(counted, params.tune, args.policy, args.by)
        write_line(one, out, provenance.derived(job, [margins], settings=settings))
        print(f"{one.name}: threshold by {one.by}, without any answer")
        return
    tuning.check_problems(args.pair, pair)
    problems = folder / "problems" / f"{pair.calibration_set}.parquet"
    for kind in (PROMPTS, GOLD):
        check_parquet(problems, kind)
    grid = list(tuning.candidates(params.tune, tuning.grid_thresholds(counted, params.tune)))
    table = read_parquet(problems)
    with panel(job, words_in(cues), command_line.engine_logs(args.log)) as at:
        work = Tuning(params, args.pair, table, at)
        first = params.tune.first_problems
        outcomes = list(tuning.halved(grid, first, len(table), work.outcome))
        references = [work.outcome(one, len(table)) for one in (LARGE, PAPER)]
    best = tuning.chosen(outcomes, len(table))
    origin = provenance.derived(job, [problems, margins, cues], settings=settings)
    write_csv(out / "grid.csv", tuning.table([*references, *outcomes], best))
    write_provenance(origin, out / "grid.csv")
    write_line(best.candidate if best else None, out, origin)
    print(tuning.in_words(best, references))


if __name__ == "__main__":
    command_line.run(main)
