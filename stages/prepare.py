"""Benchmarks and calibration set of a pair: one schema, prompts rendered to token ids.

Writes one Parquet file per problem set (problem_id, prompt, gold, prompt_ids, and steps_prompt_ids,
the other words that a method may ask in) and the pair's tokenizer. Everything that would make a
later stage fail for sure (models, tokenizers, lengths) is found here. A benchmark that this account
may not read is left out, and noted.
"""

from pathlib import Path

from stages.config.params import load
from stages.engine import models
from stages.problems import availability
from stages.problems.prompts import check_models, problem_sets
from stages.runtime import command_line
from stages.tracking.files import write_text
from stages.tracking.frames import write_parquet


def main() -> None:
    """Write every problem set of a pair."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the Parquet files")
    args = parser.parse_args()
    command_line.start_log(args.log)
    params = load(args.params)
    check_models(args.pair, params.pair(args.pair))
    frames, left_out = problem_sets(params, args.pair)
    for name, (frame, origin) in frames.items():
        write_parquet(args.out / f"{name}.parquet", frame, origin)
    availability.note(args.out, left_out)
    tokenizer = models.tokenizer(params.pair(args.pair)).to_str(pretty=True)
    write_text(args.out / "tokenizer.json", tokenizer)
    for name, reason in left_out.items():
        command_line.warn(
            f"{name} is left out: {reason}; then make its problems again (see README)"
        )


if __name__ == "__main__":
    command_line.run(main)
