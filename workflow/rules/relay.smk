rule cue_set:
    input:
        lambda w: mined(w.pair, w.method),
    output:
        file="results/{pair}/cue_sets/{method}.yaml",
        provenance="results/{pair}/cue_sets/{method}.provenance.json",
    log:
        "logs/{pair}/cue_set-{method}.log",
    benchmark:
        "logs/{pair}/cue_set-{method}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        recipe=lambda w: recipe("cue_set", w.pair, w.method),
        mined=lambda w, input: ["--mined", *input] if input else [],
    message:
        "The words at which {wildcards.method} hands over"
    shell:
        "python -m stages.cue_set --pair {wildcards.pair:q} --method {wildcards.method:q} --recipe {params.recipe:q} --log {log:q} {params.mined:q} --out {output.file:q}"


# Targets: what dvc.yaml asks for of a pair.
for pair in PARAMS.run:

    rule:
        name:
            f"cue_sets_of_{pair}"
        input:
            expand(
                "results/{pair}/cue_sets/{method}.yaml",
                pair=pair,
                method=PARAMS.all_methods,
            ),


rule replay:
    input:
        tokenizer="results/{pair}/problems/tokenizer.json",
        traces="results/{pair}/traces.parquet",
        cues="results/{pair}/cue_sets/relaygen.yaml",
    output:
        values="results/{pair}/replay.json",
        provenance="results/{pair}/replay.provenance.json",
    log:
        "logs/{pair}/replay.log",
    benchmark:
        "logs/{pair}/replay.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        recipe=lambda w: recipe("replay", w.pair),
    message:
        "Where the relay would hand over in {wildcards.pair}'s traces"
    shell:
        "python -m stages.replay --pair {wildcards.pair:q} --recipe {params.recipe:q} --log {log:q} --traces {input.traces:q} --tokenizer {input.tokenizer:q} --cues {input.cues:q} --out {output.values:q}"


rule together:
    input:
        problems=lambda w: benchmarks_of(w.pair),
        cue_sets=lambda w: expand(
            "results/{pair}/cue_sets/{method}.yaml",
            pair=w.pair,
            method=together(w.pair)[w.engines],
        ),
    output:
        touch("logs/{pair}/together-{engines}-{part}.done"),
    log:
        "logs/{pair}/together-{engines}-{part}.log",
    benchmark:
        "logs/{pair}/together-{engines}-{part}.tsv"
    # What takes longest first.
    priority: lambda w: len(together(w.pair)[w.engines])
    container:
        PARAMS.containers.engine
    threads: lambda w: cores_together(w.pair)
    resources:
        mem_mb=12000,
        runtime=1440,
        gpu=lambda w: gpus(w.pair, w.engines.split("+")),
    params:
        problems=lambda w: f"results/{w.pair}/problems",
        cue_sets=lambda w: f"results/{w.pair}/cue_sets",
    message:
        "Answers of methods that share {wildcards.pair}'s engines {wildcards.engines}, part {wildcards.part}"
    shell:
        "python -m stages.together --pair {wildcards.pair:q} --engines {wildcards.engines:q} --part {wildcards.part:q} --log {log:q} --problems {params.problems:q} --cue-sets {params.cue_sets:q}"


# Targets: what dvc.yaml asks for of a pair.
for pair in PARAMS.run:

    rule:
        name:
            f"together_of_{pair}"
        input:
            expand(
                "logs/{pair}/together-{engines}-{part}.done",
                pair=pair,
                engines=together(pair),
                part=range(PARAMS.infer.shards),
            ),


rule infer:
    input:
        problems=lambda w: benchmarks_of(w.pair, w.method),
        cues="results/{pair}/cue_sets/{method}.yaml",
    output:
        temp("results/{pair}/receipts/{method}/{part}.json"),
    log:
        "logs/{pair}/infer-{method}-{part}.log",
    benchmark:
        "logs/{pair}/infer-{method}-{part}.tsv"
    container:
        PARAMS.containers.engine
    threads: lambda w: cores(w.pair)
    resources:
        mem_mb=12000,
        runtime=1440,
        gpu=lambda w: gpus(w.pair, PARAMS.method(w.method).roles),
    params:
        recipe=lambda w: recipe("infer", w.pair, w.method),
        problems=lambda w, input: Path(input.problems[0]).parent,
    message:
        "Answers of {wildcards.method} to {wildcards.pair}'s benchmarks, part {wildcards.part}"
    shell:
        "python -m stages.infer --pair {wildcards.pair:q} --method {wildcards.method:q} --part {wildcards.part:q} --recipe {params.recipe:q} --log {log:q} --problems {params.problems:q} --cue-set {input.cues:q} --out {output:q}"


rule merge:
    input:
        problems=lambda w: benchmarks_of(w.pair, w.method),
        receipts=lambda w: receipts_of(w.method, w.pair),
    output:
        directory("results/{pair}/generations/{method}"),
    log:
        "logs/{pair}/merge-{method}.log",
    benchmark:
        "logs/{pair}/merge-{method}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recipe=lambda w: recipe("merge", w.pair, w.method),
        problems=lambda w, input: Path(input.problems[0]).parent,
    message:
        "All answers of {wildcards.method} to {wildcards.pair}'s benchmarks"
    shell:
        "python -m stages.merge --pair {wildcards.pair:q} --method {wildcards.method:q} --recipe {params.recipe:q} --log {log:q} --problems {params.problems:q} --receipts {input.receipts:q} --out {output:q}"


rule score:
    input:
        problems=lambda w: benchmarks_of(w.pair),
        generations=lambda w: generations_of(methods_of(w.pair), w.pair),
    output:
        "results/{pair}/scores.parquet",
    log:
        "logs/{pair}/score.log",
    benchmark:
        "logs/{pair}/score.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        problems=lambda w: f"results/{w.pair}/problems",
        generations=lambda w, input: Path(input.generations[0]).parent,
        recipe=lambda w: recipe("score", w.pair),
    message:
        "Scores of every method of {wildcards.pair}"
    shell:
        "python -m stages.score --pair {wildcards.pair:q} --recipe {params.recipe:q} --log {log:q} --problems {params.problems:q} --generations {params.generations:q} --out {output:q}"


rule summary:
    input:
        problems=lambda w: benchmarks_of(w.pair),
        scores="results/{pair}/scores.parquet",
        generations=lambda w: generations_of(methods_of(w.pair), w.pair),
    output:
        expand(
            "results/summaries/{{pair}}/{table}.{suffix}",
            table=("accuracy", "differences", "policies", "left_out"),
            suffix=("csv", "provenance.json"),
        ),
    log:
        "logs/{pair}/summary.log",
    benchmark:
        "logs/{pair}/summary.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        problems=lambda w: f"results/{w.pair}/problems",
        generations=lambda w, input: Path(input.generations[0]).parent,
        out=lambda w, output: Path(output[0]).parent,
        recipe=lambda w: recipe("summary", w.pair),
    message:
        "Pass@1 of every method of {wildcards.pair}"
    shell:
        "python -m stages.summary --pair {wildcards.pair:q} --recipe {params.recipe:q} --log {log:q} --problems {params.problems:q} --scores {input.scores:q} --generations {params.generations:q} --out {params.out:q}"


rule latency:
    input:
        problems=lambda w: f"results/{w.pair}/problems/{PARAMS.pair(w.pair).speed_benchmark}.parquet",
        cue_sets=lambda w: expand(
            "results/{pair}/cue_sets/{method}.yaml",
            pair=w.pair,
            method=methods_of(w.pair),
        ),
    output:
        "results/{pair}/latency.parquet",
    log:
        "logs/{pair}/latency.log",
    benchmark:
        "logs/{pair}/latency.tsv"
    container:
        PARAMS.containers.engine
    threads: CORES
    resources:
        mem_mb=16000,
        runtime=1440,
        gpu=lambda w: gpus(
            w.pair,
            [role for m in methods_of(w.pair) for role in PARAMS.method(m).roles],
        ),
    params:
        cue_sets=lambda w, input: Path(input.cue_sets[0]).parent,
        recipe=lambda w: recipe("latency", w.pair),
    message:
        "Latency of every method of {wildcards.pair}"
    shell:
        "python -m stages.latency --pair {wildcards.pair:q} --recipe {params.recipe:q} --log {log:q} --problems {input.problems:q} --cue-sets {params.cue_sets:q} --out {output:q}"


rule throughput:
    input:
        problems=lambda w: f"results/{w.pair}/problems/{PARAMS.pair(w.pair).speed_benchmark}.parquet",
        cue_sets=lambda w: expand(
            "results/{pair}/cue_sets/{method}.yaml",
            pair=w.pair,
            method=methods_of(w.pair),
        ),
    output:
        "results/{pair}/throughput.parquet",
    log:
        "logs/{pair}/throughput.log",
    benchmark:
        "logs/{pair}/throughput.tsv"
    container:
        PARAMS.containers.engine
    threads: CORES
    resources:
        mem_mb=16000,
        runtime=1440,
        gpu=lambda w: gpus_under_load(w.pair),
    params:
        cue_sets=lambda w, input: Path(input.cue_sets[0]).parent,
        recipe=lambda w: recipe("throughput", w.pair),
    message:
        "Answers of every method of {wildcards.pair} under load"
    shell:
        "python -m stages.throughput --pair {wildcards.pair:q} --recipe {params.recipe:q} --log {log:q} --problems {input.problems:q} --cue-sets {params.cue_sets:q} --out {output:q}"


rule load:
    input:
        "results/{pair}/throughput.parquet",
    output:
        table="results/summaries/{pair}/throughput.csv",
        provenance="results/summaries/{pair}/throughput.provenance.json",
        figure=report(
            "results/figures/{pair}-throughput.png",
            category="Figures",
            subcategory="{pair}",
        ),
        beside=expand("results/figures/{{pair}}-throughput.{suffix}", suffix=SUFFIXES),
    log:
        "logs/{pair}/load.log",
    benchmark:
        "logs/{pair}/load.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recipe=lambda w: recipe("load", w.pair),
    message:
        "Answers a minute of {wildcards.pair} by the number in flight"
    shell:
        "python -m stages.load --pair {wildcards.pair:q} --recipe {params.recipe:q} --log {log:q} --throughput {input:q} --out {output.table:q} --figures results/figures"


rule speed:
    input:
        "results/{pair}/latency.parquet",
    output:
        table="results/summaries/{pair}/speed.csv",
        provenance="results/summaries/{pair}/speed.provenance.json",
    log:
        "logs/{pair}/speed.log",
    benchmark:
        "logs/{pair}/speed.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recipe=lambda w: recipe("speed", w.pair),
    message:
        "Speedup of every method of {wildcards.pair}"
    shell:
        "python -m stages.speed --pair {wildcards.pair:q} --recipe {params.recipe:q} --log {log:q} --latency {input:q} --out {output.table:q}"


rule answer_stage:
    input:
        problems=lambda w: benchmarks_of(w.pair),
        large="results/{pair}/generations/large",
    output:
        table="results/summaries/{pair}/answer_stage.csv",
        provenance="results/summaries/{pair}/answer_stage.provenance.json",
    log:
        "logs/{pair}/answer_stage.log",
    benchmark:
        "logs/{pair}/answer_stage.tsv"
    container:
        PARAMS.containers.engine
    threads: lambda w: cores(w.pair)
    resources:
        mem_mb=8000,
        runtime=240,
        gpu=lambda w: gpus(w.pair, ["small"]),
    params:
        problems=lambda w: f"results/{w.pair}/problems",
        recipe=lambda w: recipe("answer_stage", w.pair),
    message:
        "Answer stages by {wildcards.pair}'s small model behind the large one's reasoning"
    shell:
        "python -m stages.answer_stage --pair {wildcards.pair:q} --recipe {params.recipe:q} --log {log:q} --problems {params.problems:q} --large {input.large:q} --out {output.table:q}"


rule ablation:
    input:
        problems=lambda w: f"results/{w.pair}/problems/{PARAMS.pair(w.pair).ablation_benchmark}.parquet",
        generations=lambda w: generations_of(
            ["relaygen", *selection.variants_of(PARAMS, w.pair)], w.pair
        ),
    output:
        table="results/summaries/{pair}/cue_ablation.csv",
        provenance="results/summaries/{pair}/cue_ablation.provenance.json",
    log:
        "logs/{pair}/ablation.log",
    benchmark:
        "logs/{pair}/ablation.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        problems=lambda w: f"results/{w.pair}/problems",
        generations=lambda w, input: Path(input.generations[0]).parent,
        recipe=lambda w: recipe("ablation", w.pair),
    message:
        "Ablations of {wildcards.pair}'s relay"
    shell:
        "python -m stages.ablation --pair {wildcards.pair:q} --recipe {params.recipe:q} --log {log:q} --problems {params.problems:q} --generations {params.generations:q} --out {output.table:q}"
