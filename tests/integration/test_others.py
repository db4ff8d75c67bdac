"""`relaygen serve` on real engines, asked by tools that others wrote; they are not in setup."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import polars as pl
import pytest

from stages.analysis import cue_sets
from stages.config.schema import Params
from stages.config.selection import with_defaults
from stages.engine.client import Client
from stages.engine.server import Engine
from stages.generation.answering import Answering, Task
from stages.perf.serving import CUES, OWN_KEY, Place, serving
from tests.conftest import ROOT, TOKENIZER

pytestmark = pytest.mark.integration

DOCS = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
HARNESS = shutil.which(os.environ.get("LM_EVAL", "lm-eval"))
LLM = shutil.which(os.environ.get("LLM", "llm"))


@pytest.fixture(scope="module")
def place(
    engines: Mapping[str, Engine], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    with serving(engines, tmp_path_factory.mktemp("serving")) as place:
        yield place


def pipelines(
    params: Params, engines: Mapping[str, Engine], method: str, prompts: list[list[int]]
) -> list[str]:
    """The pipeline's answers, one after the other, with the likeliest token each time."""
    pair = params.pair("demo")
    greedy = pair.sampling.model_copy(update={"temperature": 0.0})
    cues = cue_sets.cue_set(CUES).cues if method == "relaygen" else ()
    answering = Answering(
        1, pair.budget, with_defaults(params, "demo", method), cues, TOKENIZER, pair.family.marks
    )

    async def all_of_them() -> list[str]:
        async with AsyncExitStack() as stack:
            clients = {
                role: await stack.enter_async_context(Client(engine, greedy, params.infer))
                for role, engine in engines.items()
            }
            rows = [await answering.answer(Task(prompt, 0), clients) for prompt in prompts]
            return [row["answer_text"] for row in rows]

    return asyncio.run(all_of_them())


@pytest.mark.skipif(not HARNESS, reason="no lm-eval here: pip install 'lm-eval[api]'")
@pytest.mark.parametrize("method", ["relaygen", "large"])
def test_lm_evaluation_harness_gets_the_pipelines_answers(
    params: Params,
    engines: Mapping[str, Engine],
    few_problems: pl.DataFrame,
    place: Place,
    tmp_path: Path,
    method: str,
) -> None:
    problems = tmp_path / "results" / "demo" / "problems" / "chains_short.parquet"
    problems.parent.mkdir(parents=True)
    few_problems.write_parquet(problems)
    (tmp_path / "tasks").mkdir()
    task = re.search(r"```yaml\n(task: chains_short.*?)```", DOCS, re.DOTALL)
    assert task
    (tmp_path / "tasks" / "chains_short.yaml").write_text(task[1])
    said = lm_eval(tmp_path, place, method)
    (samples,) = (tmp_path / "out").rglob("samples_*.jsonl")
    rows = sorted(map(json.loads, samples.read_text().splitlines()), key=lambda row: row["doc_id"])
    answers = [row["resps"][0][0] for row in rows]
    assert answers == pipelines(params, engines, method, few_problems["prompt_ids"].to_list()), said


def lm_eval(folder: Path, place: Place, method: str) -> str:
    """Run the command of the docs, one request at a time; return what it prints."""
    assert HARNESS
    url = f"{place.url}/v1/chat/completions"
    command = [
        *(HARNESS, "run", "--model", "local-chat-completions", "--apply_chat_template"),
        *("--tasks", "chains_short", "--include_path", "tasks"),
        *("--model_args", f"model={method},base_url={url}"),
        *("--log_samples", "--output_path", "out"),
    ]
    own = {"OPENAI_API_KEY": OWN_KEY, "HF_HOME": str(folder / "hub"), "PYTHONPATH": ""}
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **own}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(not LLM, reason="no llm here: pip install llm")
@pytest.mark.parametrize("options", [(), ("--no-stream",)])
def test_the_llm_command_prints_the_pipelines_answer(
    params: Params,
    engines: Mapping[str, Engine],
    few_problems: pl.DataFrame,
    place: Place,
    tmp_path: Path,
    options: tuple[str, ...],
) -> None:
    assert LLM
    models = re.search(r"```yaml\n(- model_id: relaygen.*?)```", DOCS, re.DOTALL)
    assert models
    told = models[1].replace("http://127.0.0.1:8000", place.url)
    (tmp_path / "extra-openai-models.yaml").write_text(told)
    problem = few_problems.row(0, named=True)
    command = [LLM, "-m", "relaygen", "-o", "temperature", "0", *options, problem["prompt"]]
    own = {"LLM_USER_PATH": str(tmp_path), "PYTHONPATH": ""}
    done = subprocess.run(
        [*command, "--key", OWN_KEY],
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        check=False,
    )
    (answer,) = pipelines(params, engines, "relaygen", [problem["prompt_ids"]])
    assert (done.stdout.strip(), done.stderr) == (answer, "")
