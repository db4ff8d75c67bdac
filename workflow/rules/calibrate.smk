rule tokenizer:
    output:
        file="results/{pair}/problems/tokenizer.json",
        provenance="results/{pair}/problems/tokenizer.provenance.json",
    log:
        "logs/{pair}/tokenizer.log",
    benchmark:
        "logs/{pair}/tokenizer.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recipe=lambda w: recipe("tokenizer", w.pair),
    message:
        "Tokenizer of {wildcards.pair}, once its models fit together"
    shell:
        "python -m stages.tokenizer --pair {wildcards.pair:q} --recipe {params.recipe:q} --log {log:q} --out {output.file:q}"


rule prepare:
    input:
        # Models that do not fit together are found before any problem set is made.
        "results/{pair}/problems/tokenizer.json",
    output:
        "results/{pair}/problems/{set}.parquet",
    log:
        "logs/{pair}/prepare-{set}.log",
    benchmark:
        "logs/{pair}/prepare-{set}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recipe=lambda w: recipe("prepare", w.pair, w.set),
        folder=lambda w, output: Path(output[0]).parent,
    message:
        "Problems and prompts of {wildcards.set}, {wildcards.pair}"
    shell:
        "python -m stages.prepare --pair {wildcards.pair:q} --set {wildcards.set:q} --recipe {params.recipe:q} --log {log:q} --out {params.folder:q}"


# Targets: what dvc.yaml asks for of a pair.
for pair in PARAMS.run:

    rule:
        name:
            f"problems_of_{pair}"
        input:
            f"results/{pair}/problems/tokenizer.json",
            sets_of(pair),


rule traces:
    input:
        lambda w: f"results/{w.pair}/problems/{PARAMS.pair(w.pair).calibration_set}.parquet",
    output:
        "results/{pair}/traces.parquet",
    log:
        "logs/{pair}/traces.log",
    benchmark:
        "logs/{pair}/traces.tsv"
    container:
        PARAMS.containers.engine
    threads: lambda w: cores(w.pair)
    resources:
        mem_mb=8000,
        runtime=720,
        gpu=lambda w: gpus(w.pair, [] if PARAMS.pair(w.pair).recorded else ["large"]),
    params:
        recipe=lambda w: recipe("traces", w.pair),
    message:
        "Reasoning traces of {wildcards.pair}'s large model on the calibration set"
    shell:
        "python -m stages.traces --pair {wildcards.pair:q} --recipe {params.recipe:q} --log {log:q} --problems {input:q} --out {output:q}"


rule margins:
    input:
        "results/{pair}/traces.parquet",
    output:
        "results/{pair}/margins.parquet",
    log:
        "logs/{pair}/margins.log",
    benchmark:
        "logs/{pair}/margins.tsv"
    container:
        PARAMS.containers.engine
    threads: lambda w: cores(w.pair)
    resources:
        mem_mb=8000,
        runtime=240,
        gpu=lambda w: gpus(w.pair, ["small"]),
    params:
        recipe=lambda w: recipe("margins", w.pair),
    message:
        "Probability margins of {wildcards.pair}'s small model on the traces"
    shell:
        "python -m stages.margins --pair {wildcards.pair:q} --recipe {params.recipe:q} --log {log:q} --traces {input:q} --out {output:q}"


rule cues:
    input:
        "results/{pair}/margins.parquet",
    output:
        table="results/{pair}/cues.csv",
        provenance="results/{pair}/cues.provenance.json",
        selected="results/{pair}/selected_cues.yaml",
        selected_provenance="results/{pair}/selected_cues.provenance.json",
    log:
        "logs/{pair}/cues.log",
    benchmark:
        "logs/{pair}/cues.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recipe=lambda w: recipe("cues", w.pair),
    message:
        "Cue effects and selection for {wildcards.pair}"
    shell:
        "python -m stages.cues --pair {wildcards.pair:q} --recipe {params.recipe:q} --log {log:q} --margins {input:q} --out {output.table:q} --selected {output.selected:q}"
