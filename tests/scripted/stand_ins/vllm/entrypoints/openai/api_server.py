"""Run as vLLM's server is: `python -m vllm.entrypoints.openai.api_server`."""

from tests.scripted.app import main

if __name__ == "__main__":
    main()
