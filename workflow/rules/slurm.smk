from stages.runtime import machine, one_run, owners, slurm
from stages.tracking import files


# Seconds of one core, or in need of the network, or about this machine: on a cluster these run where
# Snakemake does, and jobs are left to what takes longer than to start one.
localrules:
    ablation,
    all,
    bench,
    cue_set,
    excerpts,
    figures,
    load,
    measure,
    merge,
    plan,
    prepare,
    report,
    speed,
    summary,
    tables,
    tokenizer,


onstart:
    if workflow.is_main_process:
        try:
            # Held by the process: the lock lasts as long as it.
            workflow.run_lock = one_run.claim()
            owners.own()
        except UserError as error:
            raise WorkflowError(str(error)) from None
        if workflow.executor_plugin.name == "local":
            # Jobs of a run that was killed have ended, unlike a cluster's.
            files.remove_leftovers()
            try:
                machine.check(
                    PARAMS,
                    workflow.dag.needrun_jobs(),
                    DeploymentMethod.APPTAINER in deployment.deployment_method,
                )
            except UserError as error:
                raise WorkflowError(str(error)) from None
    if workflow.executor_plugin.name == "slurm":
        try:
            slurm.check(
                workflow.dag.needrun_jobs(),
                workflow.executor_settings.partition_config,
            )
        except UserError as error:
            raise WorkflowError(str(error)) from None
