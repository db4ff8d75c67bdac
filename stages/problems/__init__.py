"""Problem sets: where they come from, their prompts, and what a run goes without."""
