"""What a paid request can cost at most, so that a budget holds to the micro-dollar before anything is sent.

Rules: an estimate that is usually right is good enough for free quota and not for money. So a paid target holds
an upper bound: every token is at least one byte of what we send, and an answer ends where `max_tokens` says;
where the client said nothing, we do. What has a price of its own (a web search, a file behind an id) cannot be
bounded, and is not sent to a paid target. The truth replaces the bound as soon as it is known; where it never
is, the bound stands.
"""

from __future__ import annotations

import msgspec

from potluck.types import Request, Target

ANSWER = (
    1024,
    4096,
)  # tokens a paid answer may take when the client sets no limit: the more, unless that is dear
DEAR = 500_000  # micro-USD: an answer that may cost more than this gets the fewer
TEMPLATE = 64  # tokens of the chat template around the messages, beyond what their JSON has in brackets
TOOLS = 512  # tokens of the instructions some templates put around tools
IMAGE = (
    50_000  # tokens: above what any vendor counts for one (37k for gpt-4o-mini's largest, general knowledge)
)

# Each changes the price of a call by an amount that is not in tokens, or at another rate than the text's.
EXTRAS = frozenset(
    {
        *("web_search_options", "plugins", "service_tier", "prediction", "modalities", "audio"),
        *("models", "route", "provider", "transforms"),  # an aggregator would choose another model
    }
)
_FILES = (b'"file"', b'"file_url"', b'"document"', b'"video_url"', b'"input_audio"', b'"audio_url"')


def unpriced(request: Request) -> str:
    """Why no bound can be put on this request, or ""."""
    extras = EXTRAS & request.body.keys()
    if extras:
        return f"{', '.join(sorted(extras))} has a price of its own, which no budget can hold"
    if request.kind == "chat" and any(part in bytes(request.body["messages"]) for part in _FILES):
        return "a file, a sound or a film costs what no budget can tell beforehand"
    return ""


def bounded(request: Request, target: Target) -> Request:
    """The same request with the most it can take: `tokens_in`, `tokens_out`, and a `max_tokens` that says so."""
    body = request.body
    tokens_in = TEMPLATE + sum([len(raw) for raw in body.values()])
    if request.kind != "chat":
        return request.replace(tokens_in=tokens_in, tokens_out=0)
    tokens_in += IMAGE * bytes(body["messages"]).count(b'"image_url"')
    if "tools" in request.needs:
        tokens_in += TOOLS
    limits = [request.decoded(name) for name in ("max_tokens", "max_completion_tokens")]
    said = [limit for limit in limits if isinstance(limit, int) and limit > 0]
    if said:
        return request.replace(tokens_in=tokens_in, tokens_out=max(said))
    most = ANSWER[cost(target, 0, ANSWER[1]) <= DEAR]
    body = {**body, "max_tokens": msgspec.Raw(b"%d" % most)}
    body.pop("max_completion_tokens", None)  # null
    return request.replace(body=body, tokens_in=tokens_in, tokens_out=most)


def cost(target: Target, tokens_in: int, tokens_out: int) -> int:
    """Micro-USD at list price; 0 for what is free. One US dollar per million tokens is one micro-USD per token."""
    return round(tokens_in * target.price_in + tokens_out * target.price_out) if target.paid else 0
