import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")

sys.path.insert(0, str(workflow.basedir))


include: "workflow/rules/common.smk"


# For rules that start no engine; the others name theirs. Without Apptainer they run in the environment
# that called Snakemake.
container: PARAMS.containers.pipeline


include: "workflow/rules/containers.smk"
include: "workflow/rules/calibrate.smk"
include: "workflow/rules/relay.smk"
include: "workflow/rules/paper.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/bench.smk"
include: "workflow/rules/slurm.smk"


rule all:
    default_target: True
    input:
        "results/report.html",
        expand("results/{pair}/replay.json", pair=PARAMS.run),
        # Those, too, that a pair goes without: their folder says why.
        expand(
            [
                "results/{pair}/cue_sets/{method}.yaml",
                "results/{pair}/generations/{method}",
            ],
            pair=PARAMS.run,
            method=PARAMS.all_methods,
        ),
