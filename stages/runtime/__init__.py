"""The command line, errors and progress, and the checks of Slurm and containers."""
