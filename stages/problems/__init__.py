"""Problem sets: their sources, their prompts, and those that a run leaves out."""
