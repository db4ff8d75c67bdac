rule tables:
    input:
        [
            f"results/summaries/{pair}/{table}.csv"
            for pair in PARAMS.run
            for table in tables_of(pair)
        ],
        "workflow/reference/paper.yaml",
    output:
        report(
            expand("results/tables/{table}.csv", table=ALL_TABLES), category="Tables"
        ),
        expand(
            "results/tables/{table}.{suffix}",
            table=ALL_TABLES,
            suffix=("md", "tex", "provenance.json"),
        ),
        "results/tables/numbers.tex",
        "results/tables/numbers.provenance.json",
        [
            f"results/tables/metrics/{pair}-{method}.json"
            for pair in PARAMS.run
            for method in methods_of(pair)
        ],
    log:
        "logs/tables.log",
    benchmark:
        "logs/tables.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recipe=recipe("tables"),
    message:
        "Tables"
    shell:
        "python -m stages.tables --recipe {params.recipe:q} --log {log:q} --summaries results/summaries --out results/tables"


rule figures:
    input:
        table="results/tables/accuracy.csv",
        cues="results/{pair}/cues.csv",
        margins="results/{pair}/margins.parquet",
        speed="results/tables/speed.csv",
        latency="results/{pair}/latency.parquet",
    output:
        report(
            expand("results/figures/{{pair}}-{name}.png", name=FIGURES),
            category="Figures",
            subcategory="{pair}",
        ),
        expand(
            "results/figures/{{pair}}-{name}.{suffix}", name=FIGURES, suffix=SUFFIXES
        ),
    log:
        "logs/{pair}/figures.log",
    benchmark:
        "logs/{pair}/figures.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recipe=lambda w: recipe("figures", w.pair),
    message:
        "Figures of {wildcards.pair}"
    shell:
        "python -m stages.figures --pair {wildcards.pair:q} --recipe {params.recipe:q} --log {log:q} --table {input.table:q} --cues {input.cues:q} --margins {input.margins:q} --speed {input.speed:q} --latency {input.latency:q} --out results/figures"


rule excerpts:
    input:
        problems=lambda w: benchmarks_of(w.pair),
        tokenizer="results/{pair}/problems/tokenizer.json",
        cues="results/{pair}/cues.csv",
        scores="results/{pair}/scores.parquet",
        generations=lambda w: generations_of(methods_of(w.pair), w.pair),
    output:
        content="results/excerpts/{pair}.json",
        provenance="results/excerpts/{pair}.provenance.json",
    log:
        "logs/{pair}/excerpts.log",
    benchmark:
        "logs/{pair}/excerpts.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        recipe=lambda w: recipe("excerpts", w.pair),
        problems=lambda w: f"results/{w.pair}/problems",
        generations=lambda w: f"results/{w.pair}/generations",
    message:
        "What was run for {wildcards.pair}, and answers to read"
    shell:
        "python -m stages.excerpts --pair {wildcards.pair:q} --recipe {params.recipe:q} --log {log:q} --problems {params.problems:q} --cues {input.cues:q} --scores {input.scores:q} --generations {params.generations:q} --out {output.content:q}"


rule report:
    input:
        "results/tables/accuracy.csv",
        "workflow/report.html.j2",
        expand("results/excerpts/{pair}.json", pair=PARAMS.run),
        expand(
            "results/figures/{pair}-{name}.{suffix}",
            pair=PARAMS.run,
            name=FIGURES,
            suffix=("png", "txt"),
        ),
        expand(
            "results/figures/{pair}-{name}.{suffix}",
            pair=PARAMS.throughput.run,
            name=OF_LOAD,
            suffix=("png", "txt"),
        ),
    output:
        page=report("results/report.html", category="Report"),
        provenance="results/report.provenance.json",
    log:
        "logs/report.log",
    benchmark:
        "logs/report.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recipe=recipe("report"),
    message:
        "Report"
    shell:
        "python -m stages.report --recipe {params.recipe:q} --log {log:q} --out {output.page:q}"
