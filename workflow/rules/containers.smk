import os

from snakemake.settings.types import DeploymentMethod
from stages.runtime import containers

# By `containers.use` in params.yaml, or by `--sdm apptainer` for this one call.
deployment = workflow.deployment_settings
if PARAMS.containers.use == "apptainer":
    deployment.deployment_method = {
        *deployment.deployment_method,
        DeploymentMethod.APPTAINER,
    }
if DeploymentMethod.APPTAINER in deployment.deployment_method:
    try:
        if workflow.is_main_process:
            # Only who runs jobs by himself counts cores.
            containers.check(
                PARAMS, os.environ, workflow.resource_settings.cores is not None
            )
    except UserError as error:
        raise WorkflowError(str(error)) from None
    os.environ.update(containers.passed_on(os.environ))
    ours = containers.arguments(PARAMS, os.environ)
    # A job that Snakemake starts by itself has them already.
    if ours not in deployment.apptainer_args:
        deployment.apptainer_args = f"{ours} {deployment.apptainer_args}".strip()
