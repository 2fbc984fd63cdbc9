"""Finds the stored answer to a question of the same meaning, and learns how near is near enough.

Rules: a candidate is given only if the guard has nothing against it and the learned threshold lets it pass. Every miss
is a lesson: the model's own answer is compared with the candidate's. Vectors are computed beside the event loop.
What goes wrong in here is nothing found.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from math import exp
from typing import TYPE_CHECKING, Any

import msgspec

from potluck.stages import folding
from potluck.stages.groups import Groups
from potluck.stages.guard import Marks, conflict, marks
from potluck.stages.likeness import same_answer
from potluck.stages.meaning import Sought
from potluck.stages.threshold import Near, State, Threshold
from potluck.store.answers import Answers, Entry
from potluck.store.vectors import ALIAS, Vectors

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Vector = NDArray[numpy.float32]

NEIGHBOURS = 10
SHARPNESS = 12.0  # how much more a nearer neighbour's vote counts: e-fold for each 0.083 of cosine
LONGEST = 1_000  # characters: the model reads 256 tokens, and what it does not read may differ
LOOK_EVERY = 1.0  # seconds between two looks at what has been stored, by us and by other workers
AT_ONCE = 5_000  # entries read in one look
COMPARED = 8  # answers nearby that a new one is compared with
KEEP_EVERY = 50  # confirmed answers between two notes of what was learned

_log = logging.getLogger("potluck.cache")


class Member(msgspec.Struct, frozen=True, gc=False):
    """One question in the index, and whose answer it got. `group`: the first entry that gave the same answer."""

    key: bytes
    group: bytes
    question: str


class Found(msgspec.Struct, frozen=True):
    """The candidate's features (None: the guard refused each), and the first entries of all answers nearby."""

    near: Near | None
    groups: tuple[bytes, ...]


class Semantic:
    """`embed` makes unit vectors; `checked` hears of each given answer that was asked again whether it was right."""

    def __init__(
        self,
        embed: Callable[[Sequence[str]], Vector],
        vectors: Vectors,
        answers: Answers,
        *,
        threshold: Threshold | None = None,
        keep: Callable[[State], object] = lambda _: None,
        checked: Callable[[str, bool], object] = lambda technique, agreed: None,
        look_every: float = LOOK_EVERY,
        same: Callable[[str, str, Callable[[Sequence[str]], Any]], bool] = same_answer,
    ) -> None:
        self._embed, self._vectors, self._answers = embed, vectors, answers
        self.threshold = threshold or Threshold()
        self._keep, self._checked, self._look_every, self._same = keep, checked, look_every, same
        self._members: dict[int, Member] = {}
        self._groups = Groups()
        self._seen, self._looked = 0, float("-inf")
        self._aliases = ALIAS  # numbers of questions that were given the answer of another
        self._tasks: set[asyncio.Task[None]] = set()
        self._one_at_a_time = asyncio.Lock()
        self._failing = False

    async def seek(self, question: str, context: bytes, error_rate: float, now: float) -> Sought | None:
        if not 2 <= len(question) <= LONGEST:
            return None
        try:
            async with self._one_at_a_time:  # the index is of one thread at a time
                await self._catch_up(now)
                vector, near = await asyncio.to_thread(self._look, question, context)
            sought = Sought(question, context, vector.tobytes())
            found, entry = await self._chosen(question, vector, near, now)
            self._failing = False
        except Exception as error:
            self._failed(error)
            return None
        if found.near is None:
            return msgspec.structs.replace(sought, near=found)
        serves = self.threshold.serves(found.near, error_rate)
        return msgspec.structs.replace(sought, hit=entry if serves else None, candidate=entry, near=found)

    def given(self, sought: Sought) -> None:
        """This question got that answer: from now on it stands for it, too."""
        entry = sought.candidate
        if entry is not None:
            self._aliases += 1
            member = Member(entry.key, self._groups.of(entry.same or entry.key), sought.question)
            self._add(self._aliases, member, self._vector(sought.vector), sought.context)

    def learned(self, entry: Entry, sought: Sought) -> Entry:
        if folding.text(entry.answer):
            self._background(self._learn(entry, sought))
        return entry

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._keep(self.threshold.state)
        self._vectors.close()

    async def idle(self) -> None:
        """Until everything that was answered is learned; for tests and benchmarks."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _learn(self, entry: Entry, sought: Sought) -> None:
        """Compares the model's answer with the candidate's and its neighbours', and stores the question with it."""
        said, found = folding.text(entry.answer), sought.near
        assert isinstance(found, Found)
        same: list[bytes] = []  # the answers nearby that this one repeats
        if found.near is not None and sought.candidate is not None:
            right = await self._agree(said, sought.candidate)
            self.threshold.confirm(found.near, right)
            if sought.hit is not None:
                self._checked("cache", right)
            same += [found.near.group] if right else []
            if self.threshold.state.confirmed % KEEP_EVERY == 0:
                self._keep(self.threshold.state)
        for group in found.groups[:COMPARED]:
            if found.near is None or group != found.near.group:
                known = await self._answers.get(group, entry.made)
                if known is not None and known.key != entry.key and await self._agree(said, known):
                    same.append(group)
        group = self._groups.join(same) if same else entry.key
        self._answers.put(
            msgspec.structs.replace(
                entry, question=sought.question, context=sought.context, vector=sought.vector, same=group
            ),
            entry.made,
        )

    async def _agree(self, said: str, known: Entry) -> bool:
        theirs = folding.text(known.answer)
        return await asyncio.to_thread(self._same, said, theirs, self._embed)

    def _look(self, question: str, context: bytes) -> tuple[Vector, list[tuple[int, float]]]:
        vector = self._embed([question])[0]
        return vector, self._vectors.search(vector, context, NEIGHBOURS)

    async def _chosen(
        self, question: str, vector: Vector, near: list[tuple[int, float]], now: float
    ) -> tuple[Found, Entry | None]:
        """The answer that most neighbours got, with what speaks for it."""
        known = [(self._members[number], score, number) for number, score in near if number in self._members]
        votes: dict[bytes, float] = {}
        for member, score, _ in known:
            weight = exp(SHARPNESS * (score - known[0][1]))
            group = self._groups.of(member.group)
            votes[group] = votes.get(group, 0.0) + weight
        groups = tuple(sorted(votes, key=lambda group: -votes[group]))
        ours = marks(question)
        for member, _, number in known:
            if self._groups.of(member.group) == groups[0] and not conflict(ours, _marks(member.question)):
                entry = await self._answers.get(member.key, now)
                if entry is not None:
                    return Found(self._near(vector, known, votes, groups[0]), groups), entry
                del self._members[number]  # it has expired, or was dropped
        return Found(None, groups), None

    def _near(
        self, vector: Vector, known: list[tuple[Member, float, int]], votes: dict[bytes, float], best: bytes
    ) -> Near:
        scores = [(self._groups.of(member.group), score) for member, score, _ in known]
        ours = max(score for group, score in scores if group == best)
        theirs = max((score for group, score in scores if group != best), default=0.0)
        like = {group: self._groups.likeness(group, vector) for group in votes}
        rival = max((value for group, value in like.items() if group != best), default=0.0)
        share = votes[best] / sum(votes.values())
        return Near.of(ours, share, ours - theirs, like[best], like[best] - rival, best)

    async def _catch_up(self, now: float) -> None:
        """Takes over what was stored since, by this worker and others."""
        if 0.0 <= now - self._looked < self._look_every:
            return
        self._looked = now
        while rows := await self._answers.meant(self._seen, AT_ONCE):
            await asyncio.to_thread(self._take, rows)
            self._seen = rows[-1][0]

    def _take(self, rows: list[tuple[int, Entry]]) -> None:
        for number, entry in rows:
            member = Member(entry.key, entry.same or entry.key, entry.question)
            self._add(number, member, self._vector(entry.vector), entry.context)

    def _add(self, number: int, member: Member, vector: Vector, context: bytes) -> None:
        self._members[number] = member
        if number >= ALIAS or number > self._vectors.upto:
            self._vectors.add(number, vector, context)
        self._groups.add(member.group, vector)

    def _vector(self, raw: bytes) -> Vector:
        import numpy as np

        return np.frombuffer(raw, np.float32)

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        if not self._failing:
            _log.warning(
                "answers cannot be found by meaning (%s: %s): only the same requests are hits",
                type(error).__name__,
                error,
            )
        self._failing = True


_remembered: OrderedDict[str, Marks] = OrderedDict()


def _marks(question: str) -> Marks:
    """Of a stored question: taken once, since neighbours are the same again and again."""
    found = _remembered.get(question)
    if found is None:
        found = _remembered[question] = marks(question)
        if len(_remembered) > 5_000:
            _remembered.popitem(last=False)
    return found
