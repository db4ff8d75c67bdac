"""params.yaml as one model, and what follows from it."""
