"""Our errors, drawn once. Each says what happened, whose fault it is, and what to do.

    PotluckError
    ├─ ConfigError            the configuration is at fault; nothing starts
    ├─ Rejected               the request is at fault; trying elsewhere will not help
    │   ├─ Invalid            400   ├─ Unauthorized 401   ├─ Forbidden 403   ├─ UnknownModel 404
    │   ├─ Conflict           409
    │   ├─ TooLarge           413   ├─ ClientLimited 429 (`retry_after`)     ├─ Unsupported 501
    │   └─ NotCached          504: the client wanted a stored answer or none
    ├─ TargetFailed           this target is at fault; the next one may work
    │   ├─ RateLimited        its quota is gone: `means` minute|day|month|once, `retry_after` seconds or None
    │   ├─ NeverFits          413, or "limit: 0": this request can never be served there
    │   ├─ Busy               the provider is overloaded; not our quota
    │   ├─ OutOfCredit        402 and its spellings
    │   ├─ Denied             the key is bad or not allowed
    │   ├─ Gone               the model is gone
    │   ├─ ContextExceeded    a bigger window is needed
    │   ├─ ContentRefused     the provider's filter said no
    │   ├─ NotUnderstood      400/422: perhaps our request, perhaps this provider's dialect of it
    │   ├─ Unavailable        5xx, refused connection, cut connection
    │   ├─ TimedOut           no headers, no first token, or a stall
    │   └─ Malformed          not what the wire format promises
    ├─ StoreAway              503: our own store is locked or gone, and what was asked for is in it
    ├─ Exhausted              429 or 503: every target was tried or is full; `retry_after` is true
    └─ Interrupted            502: the stream broke after the commit point

Rules: errors carry the decision, so nobody matches on message text outside a dialect's `blame`. Only
dispatch catches `TargetFailed`; only the server turns errors into HTTP. No message ever holds a key.
"""

from __future__ import annotations

from typing import Any


class PotluckError(Exception):
    """`status` is the HTTP status, `code` is stable for programs, `str()` is a sentence for people."""

    status = 500
    code = "internal_error"
    type = "api_error"
    retry_after: float | None = None

    def __init__(self, message: str = "", *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class ConfigError(PotluckError):
    code = "config_error"


class Rejected(PotluckError):
    status = 400
    code = "invalid_request"
    type = "invalid_request_error"


class Invalid(Rejected):
    pass


class Unauthorized(Rejected):
    status, code, type = 401, "invalid_api_key", "authentication_error"


class Forbidden(Rejected):
    status, code, type = 403, "forbidden", "permission_error"


class UnknownModel(Rejected):
    status, code = 404, "model_not_found"


class NotFound(Rejected):
    status, code = 404, "not_found"


class Conflict(Rejected):
    status, code = 409, "conflict"


class TooLarge(Rejected):
    status, code = 413, "request_too_large"


class Unsupported(Rejected):
    status, code = 501, "unsupported"


class NotCached(Rejected):
    """`only-if-cached`, and nothing is. The status is RFC 9111's (§5.2.1.7)."""

    status, code = 504, "not_cached"


class ClientLimited(Rejected):
    """A client key's own limit, not a provider's."""

    status, code, type = 429, "client_rate_limit_exceeded", "rate_limit_error"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TargetFailed(PotluckError):
    """`sent` False: the request never left, the hold is released. True: the provider may have counted it.

    `status` is the upstream's HTTP status where there was one, 0 otherwise.
    """

    code = "upstream_error"
    outcome = "unavailable"
    usage: Any = None  # types.Usage, where an answer came that was none: what it reported

    def __init__(
        self, message: str = "", *, sent: bool = True, status: int = 0, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.sent, self.status, self.retry_after = sent, status, retry_after


class RateLimited(TargetFailed):
    outcome = "rate_limited"

    def __init__(
        self,
        message: str = "",
        *,
        means: str = "minute",
        unit: str = "",
        status: int = 429,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status=status, retry_after=retry_after)
        self.means, self.unit = means, unit


class NeverFits(TargetFailed):
    outcome = "too_large"


class Busy(TargetFailed):
    outcome = "busy"


class OutOfCredit(TargetFailed):
    outcome = "no_money"


class Denied(TargetFailed):
    outcome = "denied"


class Gone(TargetFailed):
    outcome = "gone"


class ContextExceeded(TargetFailed):
    outcome = "context"


class ContentRefused(TargetFailed):
    outcome = "refused"


class NotUnderstood(TargetFailed):
    outcome = "rejected"


class Unavailable(TargetFailed):
    outcome = "unavailable"


class TimedOut(TargetFailed):
    outcome = "timeout"


class Malformed(TargetFailed):
    outcome = "malformed"


class Exhausted(PotluckError):
    """429 when only quotas stand in the way (`retry_after` is when the first one opens), else 503."""

    status, code, type = 503, "all_targets_unavailable", "api_error"

    def __init__(self, message: str, *, retry_after: float | None = None, quota: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        if quota:
            self.status, self.code, self.type = 429, "quota_exhausted", "rate_limit_error"


class StoreAway(PotluckError):
    """Our own store is locked or gone for a moment."""

    status, code = 503, "store_unavailable"
    retry_after = 1.0


class DeadlinePassed(PotluckError):
    status, code, type = 504, "deadline_exceeded", "timeout_error"


class Interrupted(PotluckError):
    status, code, type = 502, "upstream_interrupted", "api_error"
