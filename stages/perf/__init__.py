"""The performance tests of `make bench`: a module with a `main` for each of `TESTS`."""

TESTS = {
    "margins": "Speed of the margins' pass against the engine alone.",
    "mining": "Time and memory of cue mining by number of tokens.",
    "dag": "Time to find nothing to do, to plan and to start.",
    "growth": "Growth of time and memory as the input doubles.",
    "handoff": "Cost of a hand-off, token ids against text.",
    "throughput": "Speed by number of answers in flight.",
    "serving": "Speed through the server, against the pipeline and vLLM.",
}
