"""Holds the module that `stages.engine.serve` patches."""
