"""vLLM servers as child processes, and the client that speaks token ids to them."""
