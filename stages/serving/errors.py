"""What a client is told of a request that fails, in the form of OpenAI's API."""

from http import HTTPStatus
from typing import Any

KINDS = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.NOT_FOUND: "not_found_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
    HTTPStatus.INTERNAL_SERVER_ERROR: "internal_server_error",
    HTTPStatus.SERVICE_UNAVAILABLE: "service_unavailable_error",
}


class ApiError(Exception):
    """A request that gets no answer; `param`: the parameter at fault."""

    def __init__(
        self,
        message: str,
        status: int = HTTPStatus.BAD_REQUEST,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code = HTTPStatus(status), param, code
        self.headers = {"Retry-After": str(retry_after_s)} if retry_after_s else {}

    @property
    def body(self) -> dict[str, Any]:
        """Return the reply's content."""
        kind = KINDS.get(self.status, "invalid_request_error")
        return {
            "error": {
                "message": str(self),
                "type": kind,
                "param": self.param,
                "code": self.code or self.status.value,
            }
        }
