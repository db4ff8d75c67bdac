"""The pair's tokenizer, once it is sure that its models and drafters fit together."""

from pathlib import Path

from stages.engine import models
from stages.problems.fit import check_models, check_reach
from stages.runtime import command_line
from stages.tracking import provenance, recipes
from stages.tracking.files import write_text
from stages.tracking.notes import write_provenance


def main() -> None:
    """Write tokenizer.json of a pair."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--out", type=Path, required=True, help="tokenizer.json")
    args = parser.parse_args()
    command_line.start_log(args.log)
    job = recipes.begin("tokenizer", args)
    engines = job.settings.tokenizers
    check_models(engines, args.pair)
    for role, served in engines.items():
        if served.drafter:
            where = f"pairs.{args.pair}.engines.{role}"
            check_reach(where, served.drafter, job.settings.max_model_len)
    write_text(args.out, models.tokenizer(job.settings.tokenizer).to_str(pretty=True))
    write_provenance(provenance.derived(job, []), args.out)


if __name__ == "__main__":
    command_line.run(main)
