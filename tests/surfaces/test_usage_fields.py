"""The usage of a response, held against the OpenAI package's own strict type (found by its resource tests)."""

from __future__ import annotations

from openai.types.responses import ResponseUsage

from potluck.surfaces.responses_stream import usage_of
from potluck.types import Usage


def test_the_usage_of_a_response_has_every_field_that_strict_clients_require() -> None:
    usage = ResponseUsage.model_validate(usage_of(Usage(input=7, output=3)))
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (7, 3, 10)
