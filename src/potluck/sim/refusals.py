"""How each provider says no: status, headers and body, in its own published shape.

Rules: bodies follow the captures in the facts of 2026-11-23 (section 9 of providers.md, and 4 for what they
mean). What no source shows is in the plain shape of the provider's family and marked "unverified" here.
A manner is a function from a `Trouble` to a `Refusal`; `MANNERS` names them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from potluck.sim.provider import Limit

STATUS = {
    "limit": 429,
    "too_large": 413,
    "busy": 429,
    "bad_key": 401,
    "bad_request": 400,
    "unknown_field": 400,
    "unknown_model": 404,
    "gone": 404,
    "context": 400,
    "no_money": 402,
    "forbidden": 403,
    "not_found": 404,
    "agent": 403,
    "content": 400,
}


@dataclass(frozen=True)
class Trouble:
    """Why a request is refused. `wait` in seconds, `now` epoch seconds, `used` and `wanted` in units."""

    kind: str
    message: str = ""
    model: str = ""
    limit: Limit | None = None
    used: float = 0.0
    wanted: float = 0.0
    wait: float = 0.0
    now: float = 0.0
    param: str = ""
    status: int = 0
    bare: bool = False  # without any hint when to come back

    @property
    def code(self) -> int:
        return self.status or STATUS.get(self.kind, 500)

    @property
    def text(self) -> str:
        return self.message or SENTENCES.get(self.kind, "Internal server error").format(t=self)


SENTENCES = {
    "limit": "Rate limit reached for {t.model}: {t.limit.label} limit {t.limit.amount:g}.",
    "too_large": "Request too large for {t.model}.",
    "busy": "The model is overloaded. Please try again later.",
    "bad_key": "Incorrect API key provided.",
    "unknown_field": "Unrecognized request argument supplied: {t.param}",
    "unknown_model": "The model `{t.model}` does not exist or you do not have access to it.",
    "gone": "The model `{t.model}` has been decommissioned and is no longer supported.",
    "context": "This model's maximum context length is {t.used:.0f} tokens. However, your messages resulted "
    "in {t.wanted:.0f} tokens. Please reduce the length of the messages.",
    "no_money": "You exceeded your current quota, please check your plan and billing details.",
    "forbidden": "You are not allowed to use this model.",
    "not_found": "Not found",
    "content": "The request was rejected by the content filter.",
}


@dataclass(frozen=True)
class Refusal:
    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = "application/json"


Manner = Callable[[Trouble], Refusal]


def duration(seconds: float) -> str:
    """Go's way: 825ms, 7.66s, 1m26.4s, 1h0m5s."""
    if not math.isfinite(seconds):
        return "8760h0m0s"
    millis = math.ceil(seconds * 1000 - 1e-6)
    if millis < 1000:
        return f"{millis}ms" if millis else "0s"
    minutes, millis = divmod(millis, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{millis / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}" if minutes else text


def retry_after(trouble: Trouble) -> dict[str, str]:
    """Whole seconds, rounded up; nothing where a wait would be meaningless."""
    if trouble.bare or trouble.kind not in ("limit", "too_large") or not math.isfinite(trouble.wait):
        return {}
    return {"retry-after": str(max(1, math.ceil(trouble.wait)))}


TYPES = {
    "limit": ("rate_limit_error", "rate_limit_exceeded"),
    "too_large": ("rate_limit_error", "rate_limit_exceeded"),
    "bad_key": ("invalid_request_error", "invalid_api_key"),
    "unknown_model": ("invalid_request_error", "model_not_found"),
    "gone": ("invalid_request_error", "model_decommissioned"),
    "context": ("invalid_request_error", "context_length_exceeded"),
    "no_money": ("insufficient_quota", "insufficient_quota"),
    "content": ("invalid_request_error", "content_filter"),
    "busy": ("server_error", "overloaded"),
}


def openai(t: Trouble) -> Refusal:
    kind, code = TYPES.get(t.kind, ("invalid_request_error" if t.code < 500 else "server_error", None))
    if t.kind == "limit" and t.limit is not None:
        kind = "requests" if t.limit.unit == "requests" else "tokens"
    error = {"message": t.text, "type": kind, "param": t.param or None, "code": code}
    return Refusal(t.code, {"error": error}, retry_after(t))


GROQ_SPANS = {"requests/minute": "requests per minute (RPM)", "requests/day": "requests per day (RPD)"}
GROQ_SPANS |= {"tokens/minute": "tokens per minute (TPM)", "tokens/day": "tokens per day (TPD)"}


def groq(t: Trouble) -> Refusal:
    if t.kind == "agent":
        return Refusal(403, b"error code: 1010", kind="text/plain; charset=UTF-8")
    if t.kind not in ("limit", "too_large") or t.limit is None:
        return openai(t)
    what = GROQ_SPANS.get(t.limit.label, t.limit.label)
    start = "Request too large" if t.kind == "too_large" else "Rate limit reached"
    again = "" if t.kind == "too_large" or t.bare else f" Please try again in {duration(t.wait)}."
    message = (
        f"{start} for model `{t.model}` in organization `org_pretend` service tier `on_demand` on {what}: "
        f"Limit {t.limit.amount:.0f}, Used {t.used:.0f}, Requested {t.wanted:.0f}.{again} "
        "Need more tokens? Upgrade to Dev Tier today at https://console.groq.com/settings/billing"
    )
    if t.kind == "too_large":
        message = message.replace(f"Used {t.used:.0f}, ", "")
    kind = t.limit.unit
    return Refusal(
        t.code, {"error": {"message": message, "type": kind, "code": "rate_limit_exceeded"}}, retry_after(t)
    )


GOOGLE_STATUS = {
    400: "INVALID_ARGUMENT",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
}
GOOGLE_STATUS |= {500: "INTERNAL", 503: "UNAVAILABLE", 502: "UNAVAILABLE", 401: "UNAUTHENTICATED"}
GOOGLE_METRIC = "generativelanguage.googleapis.com/generate_content_free_tier_"
GOOGLE_IDS = {
    "requests/minute": ("requests", "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"),
    "requests/day": ("requests", "GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
    "input_tokens/minute": ("input_token_count", "GenerateContentInputTokensPerModelPerMinute-FreeTier"),
}
GOOGLE_TEXTS = {
    "bad_key": "API key not valid. Please pass a valid API key.",
    "unknown_model": "models/{t.model} is not found for API version v1main, or is not supported for "
    "generateContent. Call ListModels to see the list of available models and their supported methods.",
    "busy": "The model is overloaded. Please try again later.",
    "context": "The input token count ({t.wanted:.0f}) exceeds the maximum number of tokens allowed "
    "({t.used:.0f}).",
}


def google(t: Trouble) -> Refusal:
    status = {"bad_key": 400, "busy": 503, "unknown_field": 400}.get(t.kind, t.code)
    text = t.message or GOOGLE_TEXTS.get(t.kind, t.text).format(t=t)
    error: dict[str, Any] = {"code": status, "message": text, "status": GOOGLE_STATUS.get(status, "UNKNOWN")}
    if t.kind == "bad_key":
        reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
        error["details"] = [reason | {"domain": "googleapis.com"}]
    if t.kind == "limit" and t.limit is not None:
        error |= google_quota(t, t.limit)
    return Refusal(status, [{"error": error}], {})


def google_quota(t: Trouble, limit: Limit) -> dict[str, Any]:
    """The hint is a few seconds whatever is gone: the day's refusal says 23 s as well (section 1.7)."""
    metric, quota = GOOGLE_IDS.get(limit.label, ("requests", limit.label))
    wait = t.wait if limit.span == "minute" and math.isfinite(t.wait) else 23.47
    value = f"{limit.amount:.0f}"
    message = (
        "You exceeded your current quota, please check your plan and billing details. For more information "
        "on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.\n"
        f"* Quota exceeded for metric: {GOOGLE_METRIC}{metric}, limit: {value}, model: {t.model}\n"
        f"Please retry in {wait:.2f}s."
    )
    violation = {"quotaMetric": GOOGLE_METRIC + metric, "quotaId": quota, "quotaValue": value}
    violation |= {"quotaDimensions": {"location": "global", "model": t.model}}  # type: ignore[dict-item]
    link = {"description": "Learn more about Gemini API quotas"}
    link |= {"url": "https://ai.google.dev/gemini-api/docs/rate-limits"}
    details: list[dict[str, Any]] = [
        {"@type": "type.googleapis.com/google.rpc.Help", "links": [link]},
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]},
    ]
    if not t.bare:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{int(wait)}s"})
    return {"message": message, "details": details}
