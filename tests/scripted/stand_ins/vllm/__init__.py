"""As much of vLLM as the pipeline starts."""
