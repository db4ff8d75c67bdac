"""Counts and times of the server, in Prometheus' format."""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
BETWEEN = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3)


@dataclass
class Metrics:
    """What /metrics shows; `method` is the model that a client names."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        own = self.registry
        self.requests = Counter(
            "relaygen_requests", "Answers by outcome", ["method", "outcome"], registry=own
        )
        self.running = Gauge("relaygen_running", "Answers that are being written", registry=own)
        self.waiting = Gauge("relaygen_waiting", "Answers that wait for their turn", registry=own)
        self.first = Histogram(
            "relaygen_time_to_first_token_seconds",
            "From the request to its first token",
            ["method"],
            buckets=SECONDS,
            registry=own,
        )
        self.between = Histogram(
            "relaygen_time_between_tokens_seconds",
            "Between the pieces of a stream, per token",
            ["method"],
            buckets=BETWEEN,
            registry=own,
        )
        self.tokens = Counter(
            "relaygen_tokens", "Tokens kept, by model", ["method", "model"], registry=own
        )
        self.hand_offs = Counter(
            "relaygen_hand_offs", "Hand-offs, both directions", ["method"], registry=own
        )
        self.engine_up = Gauge(
            "relaygen_engine_up", "1: the engine serves", ["engine"], registry=own
        )
        self.restarts = Counter(
            "relaygen_engine_restarts", "Restarts of an engine", ["engine"], registry=own
        )

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it. The large model's share is a ratio of tokens."""
        return generate_latest(self.registry)
