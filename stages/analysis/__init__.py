"""Grading, cue mining, replay, and the values, tables and figures of a run."""
