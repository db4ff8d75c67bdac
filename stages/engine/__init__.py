"""vLLM servers as child processes, and the client that sends them token ids."""
