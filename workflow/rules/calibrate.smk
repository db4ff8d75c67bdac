rule prepare:
    input:
        "demo_pair/task.py",
        "workflow/reference/prompts.yaml",
        lambda w: own_files(w.pair),
    output:
        directory("results/{pair}/problems"),
    log:
        "logs/{pair}/prepare.log",
    benchmark:
        "logs/{pair}/prepare.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        depends=lambda w: block(pair=w.pair),
    message:
        "Problems and prompts of {wildcards.pair}"
    shell:
        "python -m stages.prepare --pair {wildcards.pair} --log {log} --out {output}"


rule traces:
    input:
        "results/{pair}/problems",
    output:
        "results/{pair}/traces.parquet",
    log:
        "logs/{pair}/traces.log",
    benchmark:
        "logs/{pair}/traces.tsv"
    container:
        PARAMS.containers.engine
    threads: CORES
    resources:
        mem_mb=8000,
        runtime=720,
        gpu=lambda w: gpus(w.pair, ["large"]),
    params:
        problems=lambda w, input: f"{input[0]}/{PARAMS.pair(w.pair).calibration_set}.parquet",
        depends=lambda w: block("engines", "infer", pair=w.pair, roles=("large",)),
    message:
        "Reasoning traces of {wildcards.pair}'s large model on the calibration set"
    shell:
        "python -m stages.traces --pair {wildcards.pair} --log {log} --problems {params.problems} --out {output}"


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
    threads: CORES
    resources:
        mem_mb=8000,
        runtime=240,
        gpu=lambda w: gpus(w.pair, ["small"]),
    params:
        depends=lambda w: block("engines", pair=w.pair, roles=("small",)),
    message:
        "Probability margins of {wildcards.pair}'s small model on the traces"
    shell:
        "python -m stages.margins --pair {wildcards.pair} --log {log} --traces {input} --out {output}"


rule cues:
    input:
        "results/{pair}/margins.parquet",
    output:
        table="results/{pair}/cues.csv",
        provenance="results/{pair}/cues.provenance.json",
    log:
        "logs/{pair}/cues.log",
    benchmark:
        "logs/{pair}/cues.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        depends=lambda w: block("cues", pair=w.pair),
    message:
        "Cue effects and selection for {wildcards.pair}"
    shell:
        "python -m stages.cues --pair {wildcards.pair} --log {log} --margins {input} --out {output.table}"
