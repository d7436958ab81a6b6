"""The batcher: texts of many callers in few requests, and each caller its own answer.

    submit ─▶ is the text on its way already? join it
       │
       ▼                policy: is it worth waiting for company?
    ┌─────────────┐
    │ single lane │──due──┐      a free place, a token of the quota, a closed breaker
    └─────────────┘       ├────▶ and only then is the request composed ─▶ sent ─▶ answers, one a text
    ┌─────────────┐       │                                                │
    │ bulk lane   │──due──┘      429, 503: back to the head of the lane ◀──┤
    └─────────────┘              400: halved until the bad text is alone ◀─┘

*Late binding* is the point. What waits for quota is not a request but texts, and those that come meanwhile
still find room: a spent quota makes requests fuller instead of late. A refused request is dissolved for the
same reason: its texts go back to the head of their lane and travel with newcomers.

Each text is one item however many want it, and each call has a future of its own, so that a caller who
leaves takes nothing from others; a request is cancelled when nobody wants any of it. A server that takes less
than the table of models says (fewer texts, fewer tokens) is believed, and what it refused goes out again in
smaller requests. Policy is apart: `perfkit.vertex.batching.policy` decides how long, this file knows how.

A batcher belongs to one event loop, one model and one length of vectors.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final

from perfkit.clock import Clock, now_s
from perfkit.errors import (
    CircuitOpen,
    ModelTimeout,
    QuotaExceeded,
    RequestRefused,
    Unavailable,
    WrongAnswer,
)
from perfkit.resilience import full_jitter_s
from perfkit.vertex.batching.doorway import Doorway, Limits, Passed
from perfkit.vertex.batching.items import Call, Item, Outcome, Request
from perfkit.vertex.batching.lanes import Lane
from perfkit.vertex.batching.ledger import Ledger
from perfkit.vertex.batching.outlet import Outlet
from perfkit.vertex.batching.packing import TokenEstimate
from perfkit.vertex.batching.policy import BatchPolicy, Reason
from perfkit.vertex.batching.troubles import closed, late, miscounted
from perfkit.vertex.batching.verdict import RetryRules, verdict_on
from perfkit.vertex.batching.wait import Wait
from perfkit.vertex.counts import BatchCounts
from perfkit.vertex.latency_fit import LatencyFit
from perfkit.vertex.protocols import EmbedReply, Text

__all__ = ["Batcher", "Limits", "RetryRules", "Send"]

Send = Callable[[Sequence[Text], float], Awaitable[EmbedReply]]
"""Sends one request of these texts, within so many seconds."""

_GRACE: Final = 1.1
"""A transport that forgets its own timeout is cut off after so many times as long."""
_RPC_WEIGHT: Final = 0.1
_NEAR: Final = 2.0
"""A call whose deadline is nearer than so many usual requests waits for nobody."""


class Batcher:
    """Gathers texts for one model and deals out their vectors.

    Args:
        send: Sends one request.
        model: For errors.
        policy: How long to wait for company; None sends each call's texts by themselves.
        outlet: Quota, places, breaker and retries, shared with other batchers of the base model.
        limits: What one request may hold.
        estimate: Guesses a text's tokens, and learns.
        retrying: How long a request may take and how often it is tried.
        bulk_share: The share of requests that bulk work may have while single queries wait.
        counts: Where to count; several batchers may share one.
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
        retrying: RetryRules | None = None,
        bulk_share: float = 0.5,
        counts: BatchCounts | None = None,
        clock: Clock = now_s,
        rng: random.Random | None = None,
    ) -> None:
        self.counts = counts or BatchCounts()
        self.fit = LatencyFit()
        self.ledger = Ledger()
        self.limits = limits
        self.outlet = outlet
        self._send = send
        self._model = model
        self._estimate = estimate or TokenEstimate()
        self._retrying = retrying or RetryRules()
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311  # jitter, not a secret
        self._loop = asyncio.get_running_loop()
        self._doorway = Doorway(self, outlet, limits, loop=self._loop, bulk_share=bulk_share)
        self._wait = None if policy is None else Wait(policy, self._over, loop=self._loop, clock=clock)
        self._live: dict[Text, Item] = {}
        self._requests: set[Request] = set()
        self._rpc_s = 0.0
        self._closed = False
        self._idle: asyncio.Event | None = None

    @property
    def waiting(self) -> int:
        """Texts that are not on their way yet."""
        return self._doorway.waiting

    @property
    def under_way(self) -> int:
        """Requests that are on their way."""
        return len(self._requests)

    async def submit(
        self,
        texts: Sequence[Text],
        *,
        deadline_s: float,
        wanted_s: float | None = None,
        bulk: bool = False,
    ) -> Sequence[Outcome]:
        """Return what each text came to, in order: its vector, or what went wrong with it.

        Cancelled, it takes back what nobody else wants.

        Args:
            texts: One or many.
            deadline_s: Until when, on the clock; what has not come by then is a `ModelTimeout`.
            wanted_s: When it is wanted, if that is sooner; so it is not held back for company until too late.
            bulk: Whether single queries go first.

        Raises:
            Unavailable: it is closed.
        """
        if self._closed:
            raise closed(self._model)
        if not texts:
            return []
        now = self._clock()
        call = Call(len(texts), self._loop)
        self._enter(call, texts, now, min(deadline_s, wanted_s or deadline_s), bulk=bulk)
        alarm = self._loop.call_later(max(0.0, deadline_s - now), self._expire, call)
        try:
            return await call.future
        except asyncio.CancelledError:
            self._forget(call.leave())
            raise
        finally:
            alarm.cancel()

    async def aclose(self, *, patience_s: float = 0.0) -> None:
        """Send what waits, give it so long to be answered, and fail what is left; nobody is kept waiting."""
        self._closed = True
        if self._live and patience_s > 0:
            self._idle = asyncio.Event()
            for lane in (self._doorway.single, self._doorway.bulk):
                self._doorway.due_now(lane, "at_once")
            try:
                async with asyncio.timeout(patience_s):
                    await self._idle.wait()
            except TimeoutError:
                pass
        self._fail(list(self._live.values()), closed(self._model))
        tasks = [request.task for request in self._requests if request.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._doorway.close()
        if self._wait is not None:
            self._wait.close()

    def _enter(self, call: Call, texts: Sequence[Text], now: float, wanted_s: float, *, bulk: bool) -> None:
        """Put texts into their lane, or join those who want them already; and see what is due."""
        counts, live = self.counts, self._live
        lane = self._doorway.lane(bulk=bulk)
        fresh: list[Item] = []
        for place, text in enumerate(texts):
            item = live.get(text)
            if item is None:
                item = live[text] = Item(text, self._estimate.of(text.content), now, lane)
                fresh.append(item)
            else:
                self._join(item, lane)
                counts.coalesced += 1
                counts.save(text.content)
            item.waiters.append((call, place))
            call.items.append(item)
        counts.unique += len(fresh)
        if self._wait is None:
            self._apart(fresh)
        elif fresh:
            for item in fresh:
                lane.append(item)
            if bulk:
                self._doorway.due_this_turn(lane, "bulk")
            else:
                self._arrived(self._wait, lane, now, wanted_s)

    def _join(self, item: Item, lane: Lane) -> None:
        """Want a text that is on its way already; a single query takes it out of the bulk lane."""
        if item.request is not None and not item.waiters:
            item.request.wanted += 1
        if item.where == "waiting" and item.lane.bulk and not lane.bulk:
            item.lane.drop(item)
            lane.append(item)
            self._doorway.due_this_turn(lane, "at_once")

    def _apart(self, fresh: list[Item]) -> None:
        """Without a policy each call's texts travel by themselves, in as many requests as they need."""
        alone = Lane(bulk=bool(fresh) and fresh[0].lane.bulk)
        for item in fresh:
            alone.append(item)
        while alone.texts:
            part = alone.take(max_texts=self.limits.max_texts, max_tokens=self.limits.max_tokens)
            self._doorway.due_as_is(part, "at_once")
        self._doorway.pump()

    def _arrived(self, wait: Wait, lane: Lane, now: float, wanted_s: float) -> None:
        """Ask the policy anew, since somebody came."""
        if self._doorway.is_due(
            lane
        ):  # its texts wait for a way out already, and what comes meanwhile joins them
            wait.heard(now)
            return
        latest_s = wanted_s - _NEAR * self._rpc_s
        why = wait.joined(now, price=self.outlet.quota.price, latest_s=latest_s)
        if lane.texts >= self.limits.max_texts:
            why = "full"
        elif lane.tokens >= self.limits.max_tokens:
            why = "tokens"
        if why is not None:
            self._doorway.due_this_turn(lane, why)

    def _over(self, why: Reason) -> None:
        """The wait for company is over."""
        self._doorway.due_now(self._doorway.single, why)

    def emptied(self, lane: Lane) -> None:
        """Nothing waits in a lane any more."""
        if self._wait is not None and not lane.bulk:
            self._wait.done()

    def shut(self, refusal: CircuitOpen) -> None:
        """The breaker is open: nothing that waits has a chance now."""
        self._fail([item for item in self._live.values() if item.where in ("waiting", "parted")], refusal)

    def go(self, passed: Passed) -> None:
        """Put a request on its way."""
        now, counts = self._clock(), self.counts
        request = Request(
            passed.items,
            tokens=passed.tokens,
            bulk=passed.bulk,
            generation=passed.generation,
            sent_s=now,
            trial=passed.trial,
        )
        first = [item for item in passed.items if not item.sent]
        for item in first:
            item.sent = True
            counts.added_wait_s.add(now - item.came_s)
        if first and not passed.bulk:
            self.ledger.sent([(item.came_s, item.tokens) for item in first], now)
        counts.requests += 1
        counts.sent_texts += len(passed.items)
        counts.texts_per_request.add(len(passed.items))
        counts.tokens_per_request.add(passed.tokens)
        counts.reasons[passed.why] = counts.reasons.get(passed.why, 0) + 1
        self.outlet.retries.earn()
        self._requests.add(request)
        request.task = self._loop.create_task(self._carry(request))
        request.task.add_done_callback(partial(self._ended, request))

    async def _carry(self, request: Request) -> None:
        """Send a request and see to what becomes of it."""
        texts = [item.text for item in request.items]
        timeout_s = self._retrying.request_s  # no deadline of a caller: others may still join
        try:
            async with asyncio.timeout(timeout_s * _GRACE):
                reply = await self._send(texts, timeout_s)
            if len(reply.vectors) != len(texts):
                raise miscounted(self._model, len(texts), len(reply.vectors))
        except Exception as error:  # whatever it is, somebody waits for it
            if isinstance(error, TimeoutError) and not isinstance(error, ModelTimeout):
                error = self._late(f"within {timeout_s:.3g} s")
            away = isinstance(error, Unavailable | WrongAnswer) and not isinstance(error, QuotaExceeded)
            self._reported(request, ok=not away, failed=away)
            self._failed(request, error)
        else:
            self._reported(request, ok=1)
            self._answered(request, reply, self._clock() - request.sent_s)

    def _reported(self, request: Request, *, ok: int = 0, failed: int = 0) -> None:
        """Tell the breaker, and those who wait to see whether this one was small enough."""
        request.reported = True
        self.outlet.breaker.record(request.generation, ok=ok, failed=failed)
        self._doorway.tried(request, answered=bool(ok))

    def _ended(self, request: Request, _task: asyncio.Task[None]) -> None:
        """Free its place; also where it was cancelled before its first step."""
        if not request.reported:
            self.outlet.breaker.release(request.generation)
            self._doorway.tried(request, answered=False)
        self._requests.discard(request)
        self.outlet.slots.release(bulk=request.bulk)
        self._doorway.pump()
        if self._idle is not None and not self._live:
            self._idle.set()

    def _answered(self, request: Request, reply: EmbedReply, took_s: float) -> None:
        items, counts = request.items, self.counts
        tokens = [vector.token_count for vector in reply.vectors]
        counted = sum(tokens)
        self._rpc_s += _RPC_WEIGHT * (took_s - self._rpc_s) if self._rpc_s else took_s
        self.fit.add(len(items), counted or request.tokens, took_s)
        counts.rpc_s.add(took_s)
        counts.input_tokens += counted
        counts.billable_characters += reply.billable_characters
        if counted:
            self._estimate.learn([item.text.content for item in items], tokens)
            self.outlet.quota.settle(request.tokens, counted)
        for item, vector in zip(items, reply.vectors, strict=True):
            self._done(item, vector)

    def _failed(self, request: Request, error: Exception) -> None:
        """Do as the verdict says with the texts that somebody still wants."""
        for item in request.items:
            item.request = None
        wanted = [item for item in request.items if item.waiters]
        self._forget([item for item in request.items if not item.waiters])
        if isinstance(error, QuotaExceeded):
            self.counts.refused_quota += 1
            self.outlet.quota.refused(error.retry_after_seconds, sent_s=request.sent_s)
        verdict = verdict_on(error, len(request.items))
        if verdict == "fail":
            self._fail(wanted, error)
        elif verdict == "rest":
            self._rest(wanted, error)
        elif verdict == "again":
            self.counts.retries += len(wanted)
            self._doorway.put_back(wanted)
        elif verdict == "smaller":
            assert isinstance(error, RequestRefused)  # noqa: S101  # for the type checker: the verdict is on one
            self.counts.splits += 1
            self._believe(error, request)
            self._doorway.put_back(wanted)
        elif wanted:
            self.counts.splits += 1
            half = (len(wanted) + 1) // 2
            for part in filter(None, (wanted[:half], wanted[half:])):
                self._doorway.due_as_is(part, "part")

    def _believe(self, error: RequestRefused, request: Request) -> None:
        """Lower a limit that the server says is lower; where it does not say how low, halve it."""
        limits, texts = self.limits, len(request.items)
        if error.max_texts is not None and texts <= limits.max_texts:  # else it is known already
            limits.max_texts = error.max_texts if 0 < error.max_texts < texts else texts // 2
        if error.max_tokens is not None:
            said = error.max_tokens if error.max_tokens > 0 else request.tokens // 2
            self._estimate.too_many(request.tokens, said)
            limits.max_tokens = max(1, min(limits.max_tokens, said, request.tokens * 2 // 3))
        self._doorway.try_one()

    def _rest(self, items: list[Item], error: Exception) -> None:
        """Try again after a pause what may be tried again."""
        rules, again = self._retrying, []
        if items and self.outlet.retries.allows():
            for item in items:
                item.attempts += 1
            again = [item for item in items if item.attempts < rules.attempts]
        for item in again:
            item.where = "resting"
        self._fail([item for item in items if item.where != "resting"], error)
        if again:
            self.counts.retries += len(again)
            pause_s = full_jitter_s(
                again[0].attempts - 1, self._rng, base_s=rules.retry_base_s, cap_s=rules.retry_cap_s
            )
            said_s = error.retry_after_seconds if isinstance(error, Unavailable) else None
            self._loop.call_later(max(pause_s, said_s or 0.0), self._doorway.put_back, again)

    def _expire(self, call: Call) -> None:
        """The call's time is over: what it lacks did not come in time."""
        unwanted = call.leave()
        late = self._late("before the call's deadline")
        for place, outcome in enumerate(call.outcomes):
            if outcome is None:
                call.settle(place, late)
        self._forget(unwanted)

    def _forget(self, unwanted: Iterable[Item]) -> None:
        """Do no more for texts that nobody wants; a request all of whose texts are such is cancelled."""
        for item in unwanted:
            request = item.request
            if request is None:
                if item.where == "waiting":
                    item.lane.drop(item)
                self._done(item, None)
                continue
            request.wanted -= 1  # it goes on while others in it are wanted, and this one may be joined again
            if not request.wanted:
                for other in request.items:
                    self._done(other, None)
                if request.task is not None:
                    request.task.cancel()

    def _fail(self, items: Iterable[Item], error: Exception) -> None:
        for item in items:
            if item.where == "waiting":
                item.lane.drop(item)
            self._done(item, error)

    def _done(self, item: Item, outcome: Outcome | None) -> None:
        if self._live.get(item.text) is item:
            del self._live[item.text]
        item.request = None
        item.where = "done"
        if outcome is not None:
            item.settle(outcome)

    def _late(self, when: str) -> ModelTimeout:
        return late(self._model, when, waiting=self.waiting, under_way=self.under_way)
