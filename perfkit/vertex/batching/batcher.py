"""The batcher: texts of many callers in few requests, and each caller its own answer.

    submit ─▶ known already? join it
       │
       ▼                 policy: is it worth waiting for company?
    ┌──────────────┐
    │ single lane  │──due──┐      a free place, a token of the quota, a closed breaker
    └──────────────┘       ├────▶ and only then is the request composed ─▶ send ─▶ answers, one a text
    ┌──────────────┐       │                                                 │
    │ bulk lane    │──due──┘      429, 503: back to the head of the lane ◀───┤
    └──────────────┘              400: halved until the bad text is alone ◀──┘

*Late binding* is the point. What has to wait for quota is not a request but texts, and texts that come meanwhile
still find room in it; so a spent quota makes requests fuller instead of late. A refused request is dissolved
for the same reason: its texts go back to the head of their lane and travel with newcomers.

Each text is one item however many want it, and each call has a future of its own, so that a caller who leaves
takes nothing from others; a request is cancelled when nobody wants any of it. A server that takes less than the
table of models says (fewer texts, fewer tokens) is believed, and what it refused goes out again in smaller
requests. Policy is apart: `perfkit.vertex.batching.policy` decides how long, this file knows how.

A batcher belongs to one event loop, one model and one length of vectors.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from perfkit.clock import Clock, now_s
from perfkit.errors import (
    CircuitOpen,
    ModelTimeout,
    PerfkitError,
    QuotaExceeded,
    RequestRefused,
    Unavailable,
    WrongAnswer,
)
from perfkit.resilience import full_jitter_s
from perfkit.vertex.batching.items import Call, Item, Outcome, Request
from perfkit.vertex.batching.lanes import Lane
from perfkit.vertex.batching.outlet import Outlet
from perfkit.vertex.batching.packing import TokenEstimate
from perfkit.vertex.batching.policy import BatchPolicy, Reason
from perfkit.vertex.batching.verdict import verdict_on
from perfkit.vertex.batching.wait import Wait
from perfkit.vertex.counts import BatchCounts
from perfkit.vertex.latency_fit import LatencyFit
from perfkit.vertex.protocols import EmbedReply, Text, Vector

__all__ = ["Batcher", "Limits", "Patience", "Send"]

Send = Callable[[Sequence[Text], float], Awaitable[EmbedReply]]
"""Sends one request of these texts, within so many seconds."""

_GRACE: Final = 1.1
_RPC_WEIGHT: Final = 0.1
_NEAR: Final = 2.0
"""A call whose deadline is nearer than so many usual requests waits for nobody."""


@dataclass(slots=True)
class Limits:
    """What one request may hold; lowered when the server says that it takes less."""

    max_texts: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Patience:
    """How long, and how often."""

    request_s: float = 10.0
    """What one request may take."""
    attempts: int = 3
    """How often a text is sent at the most; refusals for quota do not count, they last until the deadline."""
    retry_base_s: float = 0.1
    retry_cap_s: float = 2.0


class Batcher:
    """Gathers texts for one model and deals out their vectors.

    Args:
        send: Sends one request.
        model: For errors.
        policy: How long to wait for company; None sends each call's texts by themselves.
        outlet: Quota, places, breaker and retries, shared with other batchers of the base model.
        limits: What one request may hold.
        estimate: Guesses a text's tokens, and learns.
        patience: How long a request may take and how often it is tried.
        bulk_share: The share of requests that bulk work may have while single queries wait.
        clock: The loop's, or one that goes as fast.
        rng: Draws jitter.
    """

    def __init__(
        self,
        send: Send,
        *,
        model: str,
        policy: BatchPolicy | None,
        outlet: Outlet,
        limits: Limits,
        estimate: TokenEstimate | None = None,
        patience: Patience | None = None,
        bulk_share: float = 0.5,
        clock: Clock = now_s,
        rng: random.Random | None = None,
    ) -> None:
        self.counts = BatchCounts()
        self.fit = LatencyFit()
        self.limits = limits
        self.outlet = outlet
        self._send = send
        self._model = model
        self._estimate = estimate or TokenEstimate()
        self._patience = patience or Patience()
        self._bulk_credit_each = bulk_share / (1 - bulk_share) if bulk_share < 1 else float("inf")
        self._bulk_credit = 0.0
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311  # jitter, not a secret
        self._loop = asyncio.get_running_loop()
        self._single, self._bulk, self._alone = Lane(bulk=False), Lane(bulk=True), Lane(bulk=False)
        self._parts: deque[list[Item]] = deque()
        self._live: dict[Text, Item] = {}
        self._requests: set[Request] = set()
        self._due: dict[Lane, Reason] = {}
        self._wait = None if policy is None else Wait(policy, self._over, loop=self._loop, clock=clock)
        self._turn: asyncio.Handle | None = None
        self._gate: asyncio.TimerHandle | None = None
        self._gate_s = float("inf")
        self._rpc_s = 0.0
        self._closed = False
        self._idle: asyncio.Event | None = None

    @property
    def waiting(self) -> int:
        """Texts that are not on their way yet."""
        return self._single.texts + self._bulk.texts + sum(map(len, self._parts))

    async def submit(self, texts: Sequence[Text], *, deadline_s: float, bulk: bool = False) -> Sequence[Outcome]:
        """Return what each text came to, in order: its vector, or what went wrong with it.

        Cancelled, it takes back what nobody else wants.

        Args:
            texts: One or many.
            deadline_s: Until when, on the clock; what has not come by then is a `ModelTimeout`.
            bulk: Whether single queries go first.

        Raises:
            Unavailable: it is closed.
        """
        if self._closed:
            raise Unavailable("The Vertex client was closed, so nothing was sent. Open a new one.", dependency=self._model)
        if not texts:
            return []
        now = self._clock()
        call = self._enter(texts, deadline_s, now, bulk=bulk)
        alarm = self._loop.call_later(max(0.0, deadline_s - now), self._expire, call)
        try:
            outcomes = await call.future
        except asyncio.CancelledError:
            self.counts.cancelled += 1
            self._forget(call.leave())
            raise
        finally:
            alarm.cancel()
        self.counts.e2e_s.add(self._clock() - now)
        return outcomes

    async def aclose(self, *, patience_s: float = 0.0) -> None:
        """Send what waits, give it so long to be answered, and fail what is left; nobody is kept waiting."""
        self._closed = True
        if self._live and patience_s > 0:
            self._idle = asyncio.Event()
            for lane in (self._single, self._bulk):
                if lane.texts:
                    self._due.setdefault(lane, "at_once")
            self._pump()
            try:
                async with asyncio.timeout(patience_s):
                    await self._idle.wait()
            except TimeoutError:
                pass
        tasks = [request.task for request in self._requests if request.task is not None]
        self._fail(list(self._live.values()), self._shut())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for handle in (self._turn, self._gate):
            if handle is not None:
                handle.cancel()
        if self._wait is not None:
            self._wait.close()

    def _enter(self, texts: Sequence[Text], deadline_s: float, now: float, *, bulk: bool) -> Call:
        """Put texts into their lane, or join those who want them already; and see what is due."""
        counts, live = self.counts, self._live
        call = Call(len(texts), deadline_s, self._loop)
        lane = self._bulk if bulk else self._single
        fresh: list[Item] = []
        for place, text in enumerate(texts):
            item = live.get(text)
            if item is None:
                item = live[text] = Item(text, self._estimate.of(text.content), now, lane)
                fresh.append(item)
            else:
                self._join(item, lane)
            item.waiters.append((call, place))
            call.items.append(item)
        counts.calls += 1
        counts.texts += len(texts)
        counts.unique += len(fresh)
        counts.coalesced += len(texts) - len(fresh)
        if self._wait is None:
            self._apart(fresh)
        elif fresh:
            for item in fresh:
                lane.append(item)
            if bulk:
                self._at_once(lane, "bulk")
            else:
                self._arrived(self._wait, now, deadline_s)
        return call

    def _join(self, item: Item, lane: Lane) -> None:
        """Want a text that is on its way already; a single query takes it out of the bulk lane."""
        if item.request is not None and not item.waiters:
            item.request.wanted += 1
        if item.where == "waiting" and item.lane.bulk and not lane.bulk:
            item.lane.drop(item)
            lane.append(item)
            self._at_once(lane, "at_once")

    def _apart(self, fresh: list[Item]) -> None:
        """Without a policy each call's texts travel by themselves, in as many requests as they need."""
        for item in fresh:
            self._alone.append(item)
        while self._alone.texts:
            self._part(self._alone.take(max_texts=self.limits.max_texts, max_tokens=self.limits.max_tokens))
        self._pump()

    def _part(self, items: list[Item]) -> None:
        for item in items:
            item.where = "parted"
        self._parts.append(items)

    def _arrived(self, wait: Wait, now: float, deadline_s: float) -> None:
        """Ask the policy anew, since somebody came."""
        lane = self._single
        if lane in self._due:  # its texts wait for quota or a place already, and what comes meanwhile joins them
            wait.heard(now)
            return
        latest_s = deadline_s - _NEAR * self._rpc_s
        why = wait.joined(now, price=self.outlet.quota.price, latest_s=latest_s)
        if lane.texts >= self.limits.max_texts:
            why = "full"
        elif lane.tokens >= self.limits.max_tokens:
            why = "tokens"
        if why is not None:
            self._at_once(lane, why)

    def _over(self, why: Reason) -> None:
        """The wait for company is over."""
        if self._single.texts:
            self._due.setdefault(self._single, why)
            self._pump()

    def _at_once(self, lane: Lane, why: Reason) -> None:
        """Send at the end of this turn of the loop, so that all who call in it travel together."""
        self._due.setdefault(lane, why)
        if self._turn is None:
            self._turn = self._loop.call_soon(self._end_of_turn)

    def _end_of_turn(self) -> None:
        self._turn = None
        self._pump()

    def _pump(self) -> None:
        """Send what is due, as far as places, quota and breaker let it."""
        while True:
            for lane, source in self._candidates():
                if self._pass(lane, source):
                    break
            else:
                return

    def _candidates(self) -> list[tuple[Lane, list[Item] | None]]:
        """What may be sent next, in order of preference; a part of a refused request goes before new ones."""
        if self._parts:
            part = self._parts[0] = [item for item in self._parts[0] if item.where == "parted"]
            if not part:
                self._parts.popleft()
                return self._candidates()
            return [(part[0].lane, part)]
        for lane in [lane for lane in self._due if not lane.texts]:
            self._emptied(lane)
        lanes = [lane for lane in (self._single, self._bulk) if lane in self._due]
        if len(lanes) == 2 and self._bulk_credit >= 1:
            lanes.reverse()
        return [(lane, None) for lane in lanes]

    def _pass(self, lane: Lane, part: list[Item] | None) -> bool:
        """Compose a request and send it, if it is let through; otherwise see to it that somebody asks again."""
        outlet, limits, bulk = self.outlet, self.limits, lane.bulk
        if not outlet.slots.free(bulk=bulk):
            outlet.slots.when_free(self._pump)
            return False
        tokens = sum(item.tokens for item in part) if part else lane.next_tokens(max_tokens=limits.max_tokens)
        wait_s = outlet.quota.take(tokens, bulk=bulk)
        if wait_s > 0:
            self._ask_again(wait_s)
            return False
        try:
            generation = outlet.breaker.admit()
        except CircuitOpen as refusal:
            outlet.quota.unsent(tokens)
            if outlet.breaker.state == "half_open":  # whoever is on trial gives its place back when it is over
                outlet.slots.when_free(self._pump)
            else:
                self._fail([item for item in self._live.values() if item.where in ("waiting", "parted")], refusal)
            return False
        outlet.slots.take(bulk=bulk)
        if part is not None:
            self._parts.popleft()
            items: list[Item] = part
            why: Reason = "part" if self._wait is not None else "at_once"
        else:
            contended = len(self._due) == 2
            items = lane.take(max_texts=limits.max_texts, max_tokens=limits.max_tokens)
            why = self._due[lane]
            if lane.texts:
                self._due[lane] = "full" if len(items) >= limits.max_texts else "tokens"
            else:
                self._emptied(lane)
            if contended:
                self._bulk_credit = min(1.0, self._bulk_credit + (-1 if bulk else self._bulk_credit_each))
        carried = sum(item.tokens for item in items)
        outlet.quota.settle(tokens, carried)
        self._go(Request(items, tokens=carried, bulk=bulk, generation=generation), why)
        return True

    def _emptied(self, lane: Lane) -> None:
        self._due.pop(lane, None)
        if lane is self._single and self._wait is not None:
            self._wait.done()

    def _ask_again(self, wait_s: float) -> None:
        """Come back when the quota may let something through."""
        at_s = self._loop.time() + wait_s
        if self._gate is not None:
            if self._gate.when() <= at_s:
                return
            self._gate.cancel()
        self._gate = self._loop.call_at(at_s, self._gate_opens)

    def _gate_opens(self) -> None:
        self._gate = None
        self._pump()

    def _go(self, request: Request, why: Reason) -> None:
        """Put a request on its way."""
        now, counts = self._clock(), self.counts
        self._requests.add(request)
        counts.sent(now, request.items, request.tokens, why)
        self.outlet.retries.earn()
        request.task = self._loop.create_task(self._carry(request))

    async def _carry(self, request: Request) -> None:
        """Send a request and see to what becomes of it; its place is free again when this ends."""
        outlet, began_s = self.outlet, self._clock()
        texts = [item.text for item in request.items]
        latest_s = max(item.latest_s for item in request.items)
        timeout_s = max(0.001, min(self._patience.request_s, latest_s - began_s))
        reported = False
        try:
            async with asyncio.timeout(timeout_s * _GRACE):  # a transport that forgets its own
                reply = await self._send(texts, timeout_s)
            if len(reply.vectors) != len(texts):
                raise WrongAnswer(
                    f"{self._model} answered {len(texts)} texts with {len(reply.vectors)} vectors, so none can "
                    "be told whose it is. Try again; if it stays so, the model is not the one it is taken for.",
                    model=self._model,
                )
        except Exception as error:  # whatever it is, somebody waits for it
            if isinstance(error, TimeoutError) and not isinstance(error, ModelTimeout):
                error = self._late(timeout_s)
            failed = isinstance(error, Unavailable | WrongAnswer) and not isinstance(error, QuotaExceeded)
            outlet.breaker.record(request.generation, ok=not failed, failed=failed)
            reported = True
            self._failed(request, error)
        else:
            outlet.breaker.record(request.generation, ok=1)
            reported = True
            self._answered(request, reply, self._clock() - began_s)
        finally:
            if not reported:
                outlet.breaker.release(request.generation)
            self._requests.discard(request)
            outlet.slots.release(bulk=request.bulk)
            self._pump()
            if self._idle is not None and not self._live:
                self._idle.set()

    def _answered(self, request: Request, reply: EmbedReply, took_s: float) -> None:
        items, vectors = request.items, reply.vectors
        counted = sum(vector.token_count for vector in vectors)
        self._rpc_s += _RPC_WEIGHT * (took_s - self._rpc_s) if self._rpc_s else took_s
        self.counts.answered(took_s, counted, reply.billable_characters)
        self.fit.add(len(items), counted or request.tokens, took_s)
        if counted:
            self._estimate.learn([item.text.content for item in items], [vector.token_count for vector in vectors])
            self.outlet.quota.settle(request.tokens, counted)
        for item, vector in zip(items, vectors, strict=True):
            self._done(item, vector)

    def _failed(self, request: Request, error: Exception) -> None:
        """Do as the verdict says with the texts that somebody still wants."""
        for item in request.items:
            item.request = None
        wanted = [item for item in request.items if item.waiters]
        self._forget([item for item in request.items if not item.waiters])
        verdict = verdict_on(error, len(request.items))
        if isinstance(error, QuotaExceeded):
            self.counts.refused_quota += 1
            self.outlet.quota.refused(error.retry_after_seconds)
        if isinstance(error, RequestRefused):
            self._believe(error, request)
        if verdict == "fail":
            self._fail(wanted, error)
        elif verdict == "rest":
            self._rest(wanted, error)
        elif verdict == "again":
            self._back(wanted)
        elif wanted:
            self.counts.splits += 1
            half = (len(wanted) + 1) // 2
            for part in (wanted[:half], wanted[half:]):
                if part and verdict == "halve":
                    self._part(part)
            if verdict == "smaller":
                self._back(wanted)

    def _believe(self, error: RequestRefused, request: Request) -> None:
        """Lower a limit the server says is lower; where it does not say how low, halve it."""
        texts = len(request.items)
        if error.max_texts is not None and texts > 1:
            said = error.max_texts if 0 < error.max_texts < texts else texts // 2
            self.limits.max_texts = max(1, min(self.limits.max_texts, said))
        if error.max_tokens is not None:
            said = error.max_tokens if error.max_tokens > 0 else request.tokens // 2
            self._estimate.too_many(request.tokens, said)
            self.limits.max_tokens = max(1, min(self.limits.max_tokens, said, request.tokens * 2 // 3))

    def _rest(self, items: list[Item], error: Exception) -> None:
        """Try again after a pause what may be tried again."""
        patience, again = self._patience, []
        if items and self.outlet.retries.allows():
            for item in items:
                item.attempts += 1
                if item.attempts < patience.attempts:
                    item.where = "resting"
                    again.append(item)
        self._fail([item for item in items if item.where != "resting"], error)
        if not again:
            return
        self.counts.retries += 1
        pause_s = full_jitter_s(
            again[0].attempts - 1, self._rng, base_s=patience.retry_base_s, cap_s=patience.retry_cap_s
        )
        if isinstance(error, Unavailable) and error.retry_after_seconds is not None:
            pause_s = max(pause_s, error.retry_after_seconds)
        self._loop.call_later(pause_s, self._back, again)

    def _back(self, items: Iterable[Item]) -> None:
        """Put texts back to the head of their lane, due at once."""
        for lane in (self._single, self._bulk):
            own = [item for item in items if item.lane.bulk == lane.bulk and item.where in ("sent", "resting")]
            if own:
                lane.put_back(own)
                self._due.setdefault(lane, "part")
        self._pump()

    def _expire(self, call: Call) -> None:
        """The call's time is over: what it lacks did not come in time."""
        unwanted = call.leave()
        late = self._late(None)
        self.counts.expired += call.missing
        for place, outcome in enumerate(call.outcomes):
            if outcome is None:
                call.settle(place, late)
        self._forget(unwanted)

    def _forget(self, unwanted: Iterable[Item]) -> None:
        """Do no more for texts that nobody wants; a request all of whose texts are such is cancelled."""
        for item in unwanted:
            request = item.request
            if request is not None:  # it goes on while others in its request are wanted, and may be joined again
                request.wanted -= 1
                if not request.wanted and request.task is not None:
                    for other in request.items:
                        self._done(other, None)
                    request.task.cancel()
            elif item.where != "done":
                if item.where == "waiting":
                    item.lane.drop(item)
                self._done(item, None)

    def _fail(self, items: Iterable[Item], error: Exception) -> None:
        for item in items:
            if item.where == "waiting":
                item.lane.drop(item)
            if item.where != "done":
                self.counts.failed += 1
                self._done(item, error)

    def _done(self, item: Item, outcome: Outcome | None) -> None:
        if self._live.get(item.text) is item:
            del self._live[item.text]
        item.request = None
        if outcome is None:
            item.where = "done"
        else:
            item.settle(outcome)

    def _late(self, timeout_s: float | None) -> ModelTimeout:
        within = "before the call's deadline" if timeout_s is None else f"within {timeout_s:.3g} s"
        return ModelTimeout(
            f"{self._model} did not answer {within}; {self.waiting} texts wait and {len(self._requests)} requests "
            "are under way. Give it a later deadline, or find out why it has become slow.",
            dependency=self._model,
        )

    def _shut(self) -> PerfkitError:
        return Unavailable(
            "The Vertex client was closed before this text was answered. Open a new one and ask again.",
            dependency=self._model,
        )
