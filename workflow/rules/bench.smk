from stages.perf import TESTS

# Not part of `all`: how fast the pipeline is, not what it finds. One at a time, with all cores, or
# they would measure each other.


rule measure:
    output:
        "results/bench/{test}.json",
    log:
        "logs/bench/{test}.log",
    container:
        PARAMS.containers.engine
    threads: CORES
    resources:
        mem_mb=12000,
        runtime=60,
    message:
        "Performance test: {wildcards.test}"
    shell:
        "python -m stages.perf.{wildcards.test:q} --log {log:q} --out {output:q}"


rule bench:
    input:
        expand("results/bench/{test}.json", test=TESTS),
    output:
        "results/bench/table.md",
    log:
        "logs/bench/table.log",
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        page="docs/performance.md",
    message:
        "Table of the performance tests"
    shell:
        "python -m stages.perf.table --log {log:q} --results {input:q} --out {output:q} --readme {params.page:q}"
