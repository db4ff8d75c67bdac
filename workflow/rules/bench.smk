# Not part of `all`: how fast the pipeline is, not what it finds. One at a time, with all cores, or
# they would measure each other.
BENCHMARKS = ("margins", "mining", "dag", "growth", "handoff", "throughput")


rule measure:
    output:
        "results/bench/{benchmark}.json",
    log:
        "logs/bench/{benchmark}.log",
    container:
        PARAMS.containers.engine
    threads: CORES
    resources:
        mem_mb=12000,
        runtime=60,
    message:
        "Benchmark: {wildcards.benchmark}"
    shell:
        "python -m stages.perf.{wildcards.benchmark} --log {log} --out {output}"


rule bench:
    input:
        expand("results/bench/{benchmark}.json", benchmark=BENCHMARKS),
    output:
        "results/bench/table.md",
    log:
        "logs/bench/table.log",
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        readme="README.md",
    message:
        "Table of the benchmarks"
    shell:
        "python -m stages.perf.table --log {log} --results {input} --out {output} --readme {params.readme}"
