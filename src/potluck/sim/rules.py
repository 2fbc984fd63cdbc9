"""What a strict provider objects to before it counts: unknown models, fields and shapes, long prompts.

Rules: a pure function of the table's row and the request; None means no objection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from potluck.sim.gate import Demand
from potluck.sim.provider import Model, Pretend
from potluck.sim.refusals import Trouble


def objection(
    pretend: Pretend, body: Mapping[str, Any], model: Model | None, demand: Demand, task: str
) -> Trouble | None:
    name = demand.model.id
    if model is None:
        credit = pretend.needs_credit_unless
        kind = "no_money" if credit and "/" in name and not name.endswith(credit) else "unknown_model"
        return Trouble(kind, model=name)
    if model.forbidden:
        return Trouble("forbidden", model.forbidden, model=name)
    for field in body:
        if field in pretend.rejects or (pretend.allows and field not in pretend.allows):
            return Trouble("unknown_field", model=name, param=field)
    if task == "embeddings":
        return _embeddings(body, model)
    if model.task != "chat":
        return Trouble("bad_request", f"{name} does not support chat completions.", model=name)
    return _chat(pretend, body, model, demand)


def _embeddings(body: Mapping[str, Any], model: Model) -> Trouble | None:
    given = body.get("input")
    if not isinstance(given, str | list) or not given:
        return Trouble(
            "bad_request", "'input' must be a text or a list of texts.", model=model.id, param="input"
        )
    if model.task != "embeddings" and model.limits and model.context:
        return Trouble("bad_request", f"{model.id} does not support embeddings.", model=model.id)
    return None


def _chat(pretend: Pretend, body: Mapping[str, Any], model: Model, demand: Demand) -> Trouble | None:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        return Trouble(
            "bad_request", "'messages' must be a list with at least one message.", param="messages"
        )
    for index, message in enumerate(messages):
        if pretend.plain_content and not isinstance(message.get("content"), str):
            text = f"Error: oneOf at '/messages/{index}/content' not met: Type mismatch, 'string' expected"
            return Trouble("bad_request", text, model=model.id)
    if pretend.manner == "groq" and body.get("n", 1) != 1:
        return Trouble("bad_request", "'n' : number must be at most 1", model=model.id, param="n")
    if pretend.manner == "zai" and body.get("tool_choice", "auto") != "auto":
        return Trouble("bad_request", "tool_choice: only auto is supported", model=model.id)
    wanted = demand.prompt + (demand.answer if pretend.default_max_tokens == 0 else 0)
    if model.context and wanted > model.context:
        return Trouble("context", model=model.id, used=model.context, wanted=wanted)
    return None
