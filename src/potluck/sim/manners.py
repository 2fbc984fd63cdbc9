"""The refusals of the providers that do not follow the plain shape, and the table that names every manner.

Rules: as in refusals.py. Each function's docstring says what is sourced and what is not.
"""

from __future__ import annotations

import math
from typing import Any

from potluck.sim.refusals import Manner, Refusal, Trouble, google, groq, openai, retry_after


def openrouter(t: Trouble) -> Refusal:
    """Captured: the day's and the minute's 429, the upstream's 429, 402. Reset is epoch milliseconds."""
    if t.kind == "limit" and t.limit is not None:
        daily = t.limit.span == "day"
        text = "Rate limit exceeded: free-models-per-min. "
        if daily:
            text = (
                "Rate limit exceeded: free-models-per-day. "
                "Add 10 credits to unlock 1000 free model requests per day"
            )
        limits = {"X-RateLimit-Limit": f"{t.limit.amount:.0f}", "X-RateLimit-Remaining": "0"}
        limits["X-RateLimit-Reset"] = str(math.ceil((t.now + t.wait) * 1000))
        source = "openrouter_free_tier_daily" if daily else "openrouter_free_tier_minute"
        error: dict[str, Any] = {"message": text, "code": 429}
        error["metadata"] = {"headers": limits, "limit_source": source, "provider_name": None}
        if t.bare:
            del error["metadata"]["headers"]
        return Refusal(429, {"error": error, "user_id": "user_pretend"}, {} if t.bare else limits)
    texts = {
        "bad_key": "User not found.",
        "unknown_model": f"No endpoints found for {t.model}.",
        "gone": f"No endpoints found for {t.model}.",
        "no_money": "Insufficient credits. Add more using https://openrouter.ai/settings/credits",
        "busy": "Provider returned error",
    }
    error = {"message": t.message or texts.get(t.kind, t.text), "code": t.code}
    if t.kind == "busy":
        raw = f"{t.model} is temporarily rate-limited upstream. Please retry shortly."
        error["metadata"] = {"raw": raw, "provider_name": "Pretend"}
    return Refusal(t.code, {"error": error, "user_id": "user_pretend"})


def mistral(t: Trouble) -> Refusal:
    """Captured: code 1300, 3505. The 422's shape is unverified in the facts too. No `error` wrapper."""
    status = 422 if t.kind == "unknown_field" else 400 if t.kind == "unknown_model" else t.code
    body: dict[str, Any] = {"object": "error", "message": t.text, "type": "invalid_request_error"}
    body |= {"param": t.param or None, "code": None}
    if t.kind == "limit":
        body |= {"message": "Rate limit exceeded", "type": "rate_limited", "code": "1300"}
    elif t.kind == "busy":
        message = "Service tier capacity exceeded for this model."
        body |= {"message": message, "type": "service_tier_capacity_exceeded", "code": "3505"}
    elif t.kind == "unknown_model":
        body |= {"message": f"Invalid model: {t.model}", "type": "invalid_model", "code": "1500"}
    elif t.kind == "context":
        text = f"Prompt contains {t.wanted:.0f} tokens, too large for a context length of {t.used:.0f}"
        body |= {"message": text, "code": "3051"}
    elif t.kind == "unknown_field":
        detail = {
            "type": "extra_forbidden",
            "loc": ["body", t.param],
            "msg": "Extra inputs are not permitted",
        }
        body |= {"message": {"detail": [detail]}}
    elif t.kind == "bad_key":
        return Refusal(401, {"detail": "Unauthorized"})
    return Refusal(status, body | {"raw_status_code": status})


CLOUDFLARE = {
    "busy": (429, 3040),
    "bad_key": (401, 10000),
    "unknown_model": (400, 5007),
    "context": (413, 3006),
}
CLOUDFLARE |= {
    "forbidden": (403, 5018),
    "gone": (410, 5028),
    "bad_request": (400, 5006),
    "no_money": (403, 3023),
}


def cloudflare(t: Trouble) -> Refusal:
    """Captured: 3036, 3040, 3006, 3023/5018. The codes of bad key, request and model are unverified."""
    if t.kind == "agent":
        return groq(t)
    status, code = CLOUDFLARE.get(t.kind, (t.code, 8000 + t.code % 1000))
    text = {"bad_key": "Authentication error", "context": "request too large"}.get(t.kind, t.text)
    if t.kind == "busy":
        text = "Capacity temporarily exceeded, please try again."
    if t.kind == "limit" and t.limit is not None:
        status, code = 429, 3036 if t.limit.unit == "neurons" else 3040
        text = "Rate limit exceeded, please try again."
        if t.limit.unit == "neurons":
            text = (
                f"you have used up your daily free allocation of {t.limit.amount:,.0f} neurons, please "
                "upgrade to Cloudflare's Workers Paid plan if you would like to continue usage."
            )
    errors = [{"code": code, "message": text}]
    return Refusal(status, {"success": False, "errors": errors, "messages": [], "result": None})


def cohere(t: Trouble) -> Refusal:
    """Captured: the trial key's 429. The rest follows the documented {"id","message"}."""
    text = {"bad_key": "invalid api token"}.get(t.kind, t.text)
    if t.kind == "limit" and t.limit is not None:
        text = (
            f"You are using a Trial key, which is limited to {t.limit.amount:.0f} API calls / "
            f"{t.limit.span}. You can continue to use the Trial key for free or upgrade to a Production "
            "key with higher rate limits at 'https://dashboard.cohere.com/api-keys'. Contact us on "
            "'https://discord.gg/XW44jPfYJu'"
            " or email us at support@cohere.com with any questions"
        )
    return Refusal(t.code, {"id": "00000000-0000-4000-8000-000000000001", "message": text})


TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
}
TITLES |= {410: "Gone", 429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway"}


def problem(t: Trouble) -> Refusal:
    """problem+json (RFC 9457). Captured: the 429 has status and title only; 410 at a model's end of life."""
    status = 410 if t.kind == "gone" else t.code
    body: dict[str, Any] = {"status": status, "title": TITLES.get(status, "Service Unavailable")}
    if t.kind not in ("limit", "busy"):
        body["detail"] = t.text
    return Refusal(status, body, kind="application/problem+json")


def string(t: Trouble) -> Refusal:
    """`error` is a string. Captured: 401 and 402; any spent credit is a 402."""
    text = {"bad_key": "Invalid username or password."}.get(t.kind, t.text)
    status = t.code
    if t.kind == "no_money" or (t.kind == "limit" and t.limit is not None and t.limit.unit == "credits"):
        status = 402
        text = (
            "You have exceeded your monthly included credits for Inference Providers. Subscribe to PRO to "
            "get 20x more monthly included credits."
        )
    return Refusal(status, {"error": text})


def ollama(t: Trouble) -> Refusal:
    """String errors; 403 captured as "this model requires a subscription". The 429's text is unverified."""
    texts = {"forbidden": "this model requires a subscription", "limit": "too many concurrent requests"}
    return Refusal(t.code, {"error": texts.get(t.kind, t.text)})


def cerebras(t: Trouble) -> Refusal:
    """Captured: tokens per minute. Requests wording and code are general knowledge. No `error` wrapper."""
    kind, code = {
        "busy": ("server_error", "queue_exceeded"),
        "gone": ("not_found_error", "model_archived"),
    }.get(t.kind, ("invalid_request_error", "wrong_api_key" if t.kind == "bad_key" else "bad_request"))
    body = {"message": t.text, "type": kind, "param": t.param, "code": code}
    if t.kind == "unknown_model":
        body |= {"type": "not_found_error", "code": "model_not_found"}
    elif t.kind == "context":
        body |= {"code": "context_length_exceeded"}
    elif t.kind == "limit" and t.limit is not None:
        unit = t.limit.unit.removesuffix("s")
        text = f"{unit.title()}s per {t.limit.span} limit exceeded - too many {unit}s processed."
        body = {
            "message": text,
            "type": f"too_many_{unit}s_error",
            "param": "quota",
            "code": f"{unit}_quota_exceeded",
        }
    return Refusal(t.code, body, retry_after(t) if t.kind != "limit" else {})


ZAI = {"limit": ("1302", 429, "Rate limit reached for requests"), "busy": ("1305", 429, "")}
ZAI |= {"no_money": ("1113", 429, "Insufficient balance or no resource package. Please recharge.")}
ZAI |= {
    "unknown_model": ("1211", 400, "Unknown Model, please check the model code."),
    "gone": ("1211", 400, ""),
}
ZAI |= {"bad_request": ("1214", 400, ""), "context": ("1261", 400, "Prompt exceeds max length")}


def zai(t: Trouble) -> Refusal:
    """Codes are strings; money is a 429 with code 1113. The bad key's code is unverified."""
    code, status, text = ZAI.get(t.kind, (str(t.code), t.code, ""))
    return Refusal(status, {"error": {"code": code, "message": text or t.text}})


def deepseek(t: Trouble) -> Refusal:
    if t.kind == "no_money" or (t.kind == "limit" and t.limit is not None and t.limit.span == "once"):
        error = {"message": "Insufficient Balance", "type": "unknown_error", "param": None}
        return Refusal(402, {"error": error | {"code": "invalid_request_error"}})
    return openai(t)


def together(t: Trouble) -> Refusal:
    """An input too long for the context is a 403 there; a lack of capacity a 503."""
    refusal = openai(t)
    return Refusal({"context": 403, "busy": 503}.get(t.kind, refusal.status), refusal.body, refusal.headers)


MANNERS: dict[str, Manner] = {
    "openai": openai,
    "groq": groq,
    "google": google,
    "openrouter": openrouter,
    "mistral": mistral,
    "cloudflare": cloudflare,
    "cohere": cohere,
    "problem": problem,
    "string": string,
    "ollama": ollama,
    "cerebras": cerebras,
    "zai": zai,
    "deepseek": deepseek,
    "together": together,
}
