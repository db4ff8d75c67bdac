"""Cues of traces outside the pipeline: by the pipeline's own steps and recipes."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from stages.analysis import cue_effects, trace_files
from stages.analysis.openers import cue_table
from stages.analysis.replay import Replayed, count
from stages.config.schema import Cues, Pair, Params
from stages.engine import models
from stages.methods.matching import CueSet
from stages.methods.offline import setting
from stages.tracking import recipes
from stages.tracking.frames import MARGINS, scan_parquet
from stages.tracking.recipes import Job
from stages.tracking.targets import Target

NAME = "mined"  # of the pair that stands for the traces and their reader


@dataclass(frozen=True)
class Mining:
    """What is to be mined. `pair`: the small model, which plays both, with its family."""

    params: Params
    pair: Pair

    def job(self, stage: str) -> Job:
        """Return what a stage of the pipeline would start from."""
        pairs = {**self.params.pairs, NAME: self.pair}
        with_it = self.params.model_copy(update={"pairs": pairs, "run": [NAME]})
        return recipes.job_of(with_it, Target(stage, NAME))

    @property
    def cues(self) -> Cues:
        """Return when a candidate becomes a cue."""
        return self.job("cues").settings.cues

    def effects(self, margins: Path) -> pl.DataFrame:
        """Return cues.csv; UserError if no candidate is selected."""
        known = self.job("cues").settings
        corpus = cue_effects.read_corpus(
            scan_parquet(margins, MARGINS), known.include_prompt, known.segment_ends
        )
        table = cue_table(corpus, known)
        cue_effects.check_selection(table, known.cues)
        return table

    def replayed(self, traces: Path, words: list[str]) -> Replayed:
        """Return what a relay with these cues would do on the traces."""
        tokenizer = models.tokenizer(self.pair.engines["small"])
        cues = CueSet(tuple(words), self.pair.cue_matching)
        rules = setting(tokenizer, cues, self.params.relay.min_tokens, self.pair.family.marks)
        return count(trace_files.read(traces, tokenizer), tokenizer, rules).values()


def fitted(reader: Pair, traces: pl.DataFrame) -> Pair:
    """Return the reader with a context no longer than the longest trace needs."""
    lengths = traces["prompt_ids"].list.len() + traces["token_ids"].list.len()
    needed = max(lengths.to_list()) + 1
    return reader.model_copy(update={"max_model_len": min(reader.max_model_len, needed)})


def with_openers(reader: Pair) -> Pair:
    """Return the reader with what opens sentences of the traces as candidates."""
    family = reader.family.model_copy(update={"candidates": "auto"})
    return reader.model_copy(update={"family": family})
