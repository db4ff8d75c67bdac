rule recipe:
    input:
        # A method without mined cues does not wait for them, nor run again because of them.
        lambda w: cues_needed(w.method, w.pair),
    output:
        "results/{pair}/{recipes}/{method}.yaml",
    log:
        "logs/{pair}/{recipes}-{method}.log",
    benchmark:
        "logs/{pair}/{recipes}-{method}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        effects=lambda w: f"results/{w.pair}/cues.csv",
        depends=lambda w: block("relay", pair=w.pair, method=w.method),
    message:
        "What {wildcards.method}'s answers depend on"
    shell:
        "python -m stages.recipe --pair {wildcards.pair} --method {wildcards.method} --log {log} --effects {params.effects} --out {output}"


rule replay:
    input:
        problems="results/{pair}/problems",
        traces="results/{pair}/traces.parquet",
        recipe="results/{pair}/recipes/relaygen.yaml",
    output:
        figures="results/{pair}/replay.json",
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
        min_tokens=PARAMS.relay.min_tokens,
    message:
        "Where the relay would hand over in {wildcards.pair}'s traces"
    shell:
        "python -m stages.replay --log {log} --traces {input.traces} --tokenizer {input.problems} --cues {input.recipe} --min-tokens {params.min_tokens} --out {output.figures}"


rule infer:
    input:
        problems="results/{pair}/problems",
        recipe=lambda w: recipe_of(w.method, w.pair),
    output:
        temp(directory("results/{pair}/parts/{method}/{part}")),
    log:
        "logs/{pair}/infer-{method}-{part}.log",
    benchmark:
        "logs/{pair}/infer-{method}-{part}.tsv"
    container:
        PARAMS.containers.engine
    threads: CORES
    resources:
        mem_mb=12000,
        runtime=1440,
        gpu=lambda w: gpus(w.pair, PARAMS.method(w.method).roles),
    params:
        benchmarks=lambda w: PARAMS.benchmarks_of(w.pair, w.method),
        depends=lambda w: block("engines", "relay", "infer"),
    message:
        "Answers of {wildcards.method} to {wildcards.pair}'s benchmarks, part {wildcards.part}"
    shell:
        "python -m stages.infer --pair {wildcards.pair} --method {wildcards.method} --part {wildcards.part} --log {log} --problems {input.problems} --recipe {input.recipe} --out {output}"


rule merge:
    input:
        problems="results/{pair}/problems",
        recipe=lambda w: recipe_of(w.method, w.pair),
        parts=lambda w: parts_of(w.method, w.pair),
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
        depends=lambda w: block("infer"),
    message:
        "All answers of {wildcards.method} to {wildcards.pair}'s benchmarks"
    shell:
        "python -m stages.merge --pair {wildcards.pair} --method {wildcards.method} --log {log} --problems {input.problems} --recipe {input.recipe} --parts {input.parts} --out {output}"


rule score:
    input:
        problems="results/{pair}/problems",
        generations=lambda w: generations_of(PARAMS.methods_of(w.pair), w.pair),
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
        generations=lambda w, input: Path(input.generations[0]).parent,
        depends=lambda w: block("methods", pair=w.pair),
    message:
        "Scores of every method of {wildcards.pair}"
    shell:
        "python -m stages.score --pair {wildcards.pair} --log {log} --problems {input.problems} --generations {params.generations} --out {output}"


rule summary:
    input:
        problems="results/{pair}/problems",
        scores="results/{pair}/scores.parquet",
        generations=lambda w: generations_of(PARAMS.methods_of(w.pair), w.pair),
    output:
        expand(
            "results/summaries/{{pair}}/{table}.{suffix}",
            table=("accuracy", "left_out"),
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
        generations=lambda w, input: Path(input.generations[0]).parent,
        out=lambda w, output: Path(output[0]).parent,
        depends=lambda w: block("methods", "tables", pair=w.pair),
    message:
        "Pass@1 of every method of {wildcards.pair}"
    shell:
        "python -m stages.summary --pair {wildcards.pair} --log {log} --problems {input.problems} --scores {input.scores} --generations {params.generations} --out {params.out}"


rule latency:
    input:
        problems="results/{pair}/problems",
        recipes=lambda w: [
            recipe_of(method, w.pair) for method in PARAMS.methods_of(w.pair)
        ],
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
            [role for m in PARAMS.methods_of(w.pair).values() for role in m.roles],
        ),
    params:
        problems=lambda w, input: f"{input.problems}/{PARAMS.pair(w.pair).speed_benchmark}.parquet",
        recipes=lambda w, input: Path(input.recipes[0]).parent,
        depends=lambda w: block("engines", "relay", "latency"),
    message:
        "Latency of every method of {wildcards.pair}"
    shell:
        "python -m stages.latency --pair {wildcards.pair} --log {log} --problems {params.problems} --recipes {params.recipes} --out {output}"


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
        depends=lambda w: block("methods", "tables", pair=w.pair),
    message:
        "Speedup of every method of {wildcards.pair}"
    shell:
        "python -m stages.speed --pair {wildcards.pair} --log {log} --latency {input} --out {output.table}"


rule answer_stage:
    input:
        problems="results/{pair}/problems",
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
    threads: CORES
    resources:
        mem_mb=8000,
        runtime=240,
        gpu=lambda w: gpus(w.pair, ["small"]),
    params:
        depends=lambda w: block("engines", "infer", pair=w.pair, roles=("small",)),
    message:
        "Answer stages by {wildcards.pair}'s small model behind the large one's reasoning"
    shell:
        "python -m stages.answer_stage --pair {wildcards.pair} --log {log} --problems {input.problems} --large {input.large} --out {output.table}"


rule ablation:
    input:
        problems="results/{pair}/problems",
        generations=lambda w: generations_of(
            ["relaygen", *PARAMS.variants_of(w.pair)], w.pair
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
        generations=lambda w, input: Path(input.generations[0]).parent,
        depends=lambda w: block("ablation", "tables", pair=w.pair),
    message:
        "Ablations of {wildcards.pair}'s relay"
    shell:
        "python -m stages.ablation --pair {wildcards.pair} --log {log} --problems {input.problems} --generations {params.generations} --out {output.table}"
