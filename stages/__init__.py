"""RelayGen as a pipeline: one module a stage, named as its rule, run as `python -m stages.NAME`."""
