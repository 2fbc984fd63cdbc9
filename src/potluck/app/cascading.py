"""The cascade of one gateway, and the desk at which clients say whether an answer was good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from potluck.errors import ConfigError, NotFound
from potluck.server.answer import Answer
from potluck.server.desk import Visit
from potluck.stages.calibration import shipped
from potluck.stages.cascade import Cascade
from potluck.surfaces import openai

if TYPE_CHECKING:
    from potluck.app.compose import Gateway


class Feedback(msgspec.Struct):
    """`id`: of the answer, or what `X-Potluck-Request` said."""

    id: str
    good: bool


_feedback = msgspec.json.Decoder(Feedback)


def cascade(gateway: Gateway) -> Cascade:
    """Raises ConfigError if it is not said which models are small and which is strong."""
    settings = gateway.settings.cascade
    if len(settings.small) < 2 or not settings.strong:
        raise ConfigError(
            'The stage "cascade" needs two small models to compare and a strong one: '
            'small = ["llama-3.1-8b", "gemma-2-9b"] and strong = "llama-3.3-70b" under [cascade], say.'
        )

    def room(model: str) -> float:
        """The free share of the emptiest quota of the target that has most left."""
        pool = gateway.pool
        targets = pool.candidates(pool.wish(model), "chat")
        return max((gateway.ledger.room(target).share for target in targets), default=0.0)

    return Cascade(settings, shipped(), room, gateway.savings.checked)


class FeedbackDesk:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def visit(self, visit: Visit) -> Answer:
        """`POST /v1/feedback`. Raises Invalid, NotFound."""
        visit.needs("POST")
        said: Feedback = openai.decode(_feedback, visit.body)
        stage = self._gateway.stages.made.get("cascade")
        if not isinstance(stage, Cascade):
            raise NotFound('No profile uses the cascade. `stages = ["cascade"]` in potluck.toml turns it on.')
        id = said.id.rpartition("-")[2].rpartition("_")[2]
        if not stage.feedback(id, visit.key.id, said.good):
            raise NotFound(
                "No small model's answer is remembered under this id for your key. Feedback is taken once, from who "
                "asked, on the latest 10,000 answers of this worker."
            )
        return Answer(b'{"learned":true}')
