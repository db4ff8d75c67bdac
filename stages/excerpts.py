"""What the report shows of one pair besides tables and figures: what was run, cues, and answers."""

import json
from pathlib import Path

from stages.analysis.reading import to_read, within
from stages.analysis.replay import read_tokenizer
from stages.analysis.what_ran import durations, facts
from stages.problems.availability import available
from stages.runtime import command_line
from stages.tracking import provenance, recipes
from stages.tracking.files import write_text
from stages.tracking.frames import ANSWERS, CUES, GOLD, SCORES, read_csv, read_parquet
from stages.tracking.notes import read_provenance, write_provenance
from stages.tracking.targets import STAGES

MOST_BYTES = 6_000_000  # of answers to read


def main() -> None:
    """Write the excerpts of a pair."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--problems", type=Path, required=True, help="folder of problem sets")
    parser.add_argument("--scores", type=Path, required=True, help="scores.parquet")
    parser.add_argument("--cues", type=Path, required=True, help="cues.csv")
    parser.add_argument("--generations", type=Path, required=True, help="folder METHOD/BENCHMARK")
    parser.add_argument("--out", type=Path, required=True, help="PAIR.json")
    args = parser.parse_args()
    command_line.start_log(args.log)
    job = recipes.begin("excerpts", args)
    settings = job.settings
    benchmarks = available(settings.benchmarks, args.problems)
    files = {
        (method, name): args.generations / method / f"{name}.parquet"
        for name in benchmarks
        for method in settings.method_names
    }
    sets = {name: args.problems / f"{name}.parquet" for name in benchmarks}
    tokenizer = args.problems / "tokenizer.json"
    problems = {name: read_parquet(path, GOLD) for name, path in sets.items()}
    answers = {key: read_parquet(path, ANSWERS) for key, path in files.items()}
    scores = read_parquet(args.scores, SCORES)
    decode = read_tokenizer(tokenizer).decode
    asked = [read_provenance(file) for file in files.values()]
    prompts = {
        name: read_provenance(path)["recipe"]["content"]["settings"]["prompts"]
        for name, path in sets.items()
    }
    content = {
        "speed_benchmark": settings.speed_benchmark,
        "min_segments": settings.min_segments,
        "facts": facts(asked, prompts),
        "seconds": durations(Path("logs") / args.pair, STAGES),
        "cues": read_csv(args.cues, CUES).to_dicts(),
        "n_problems": sum(map(len, problems.values())),
        "problems": within(to_read(scores, problems, answers, decode), MOST_BYTES),
    }
    write_text(args.out, json.dumps(content, ensure_ascii=False) + "\n")
    made_from = [args.cues, args.scores, tokenizer, *sets.values(), *files.values()]
    write_provenance(provenance.derived(job, made_from), args.out)


if __name__ == "__main__":
    command_line.run(main)
