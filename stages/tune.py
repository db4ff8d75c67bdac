"""Choose a policy for a pair, with its thresholds, on the calibration set alone.

Candidates are the policies of the block `tune` in params.yaml, with thresholds at quantiles of the
small model's margins over the traces. They answer the calibration set in rounds: the better half
goes on to twice as many problems. Writes the grid, and the line to put under `methods:`.
"""

from pathlib import Path

import polars as pl
import yaml

from stages.analysis import tuning
from stages.analysis.cue_sets import words_in
from stages.analysis.grading import score
from stages.analysis.tuning import Candidate, Outcome
from stages.config.params import load
from stages.config.schema import Params
from stages.config.selection import filled
from stages.generation.answering import tasks
from stages.generation.tuning import Panel, panel
from stages.methods import of_kind
from stages.runtime import command_line
from stages.tracking import provenance, recipes
from stages.tracking.files import write_text
from stages.tracking.frames import GOLD, MARGINS, PROMPTS, check_parquet, read_parquet, write_csv
from stages.tracking.notes import write_provenance
from stages.tracking.targets import Target

BASE = {"kind": "relay", "large": "large", "small": "small", "cues": "pair"}
LARGE = Candidate("large", {"kind": "single", "engine": "large", "cues": "none"})
PAPER = Candidate("relaygen", BASE)


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
    parser.add_argument("--out", type=Path, help="folder; default: results/PAIR/tune")
    args = parser.parse_args()
    command_line.start_log(args.log)
    params = load(args.params)
    pair, folder = params.pair(args.pair), Path("results") / args.pair
    tuning.check_problems(args.pair, pair)
    problems = folder / "problems" / f"{pair.calibration_set}.parquet"
    margins, cues = folder / "margins.parquet", folder / "cue_sets" / "relaygen.yaml"
    for kind in (PROMPTS, GOLD):
        check_parquet(problems, kind)
    found = tuning.thresholds(
        read_parquet(margins, MARGINS), pair.family.content, params.tune.quantiles
    )
    grid = list(tuning.candidates(params.tune, found))
    job = recipes.job_of(params, Target("infer", args.pair, "relaygen"))
    table = read_parquet(problems)
    with panel(job, words_in(cues), command_line.engine_logs(args.log)) as at:
        work = Tuning(params, args.pair, table, at)
        first = params.tune.first_problems
        outcomes = list(tuning.halved(grid, first, len(table), work.outcome))
        references = [work.outcome(one, len(table)) for one in (LARGE, PAPER)]
    out = args.out or folder / "tune"
    best = tuning.chosen(outcomes, len(table))
    write_csv(out / "grid.csv", tuning.table([*references, *outcomes], best))
    line = {"tuned": best.candidate.line} if best else {}
    write_text(out / "chosen.yaml", yaml.safe_dump(line, sort_keys=False))
    settings = {"tune": params.tune.model_dump(), "pair": args.pair}
    origin = provenance.derived(job, [problems, margins, cues], settings=settings)
    write_provenance(origin, out / "grid.csv", out / "chosen.yaml")
    print(tuning.in_words(best, references))


if __name__ == "__main__":
    command_line.run(main)
