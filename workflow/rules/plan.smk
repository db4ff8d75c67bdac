# Not part of `all`, and without an output: it depends on all that lies in results/ and store/, so a
# file of it would be out of date as soon as anything runs.
rule plan:
    log:
        "logs/plan.log",
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "What a run would do and take"
    shell:
        "python -m stages.plan --log {log:q}"
