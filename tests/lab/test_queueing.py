"""The closed forms agree with the tables they come from, and with a line that is really stood in."""

import heapq
import math

import numpy as np
import pytest

from perfkit.lab.queueing import Queue, erlang_c, most_at_once, quantile_s


def stood_in_line(rate_per_s: float, service_s: float, servers: int, calls: int = 60_000) -> np.ndarray:
    """The waits of so many calls that come at random and take equally long, first come first served."""
    arrivals = np.cumsum(np.random.default_rng(7).exponential(1 / rate_per_s, calls))
    free = [0.0] * servers
    waits = np.empty(calls)
    for number, came in enumerate(arrivals.tolist()):
        begins = max(came, heapq.heappop(free))
        heapq.heappush(free, begins + service_s)
        waits[number] = begins - came
    return waits


@pytest.mark.parametrize(("servers", "offered"), [(1, 0.3), (2, 1.5), (8, 6.12), (32, 30.0), (1_000, 900.0)])
def test_erlangs_c_is_the_share_that_must_wait(servers: int, offered: float) -> None:
    """Against the definition, in logarithms so that a thousand servers do not overflow."""
    terms = [number * math.log(offered) - math.lgamma(number + 1) for number in range(servers)]
    last = servers * math.log(offered) - math.lgamma(servers + 1) - math.log(1 - offered / servers)
    highest = max(*terms, last)
    weights = [math.exp(term - highest) for term in terms]
    waiting = math.exp(last - highest)

    assert erlang_c(servers, offered) == pytest.approx(waiting / (sum(weights) + waiting), rel=1e-9)


def test_one_server_of_constant_time_has_the_wait_of_pollaczek_and_khinchine() -> None:
    queue = Queue(rate_per_s=800, service_s=0.001, servers=1, patience_s=math.inf)

    assert queue.mean_wait_s == pytest.approx(0.8 * 0.001 / (2 * 0.2))


@pytest.mark.parametrize(("rate_per_s", "servers"), [(600, 4), (1_000, 8), (1_400, 8)])
def test_the_line_is_as_long_as_one_that_is_really_stood_in(rate_per_s: float, servers: int) -> None:
    """Within a quarter, or five microseconds: the halved wait is an approximation, and is held to it."""
    waits = stood_in_line(rate_per_s, 0.0051, servers)
    queue = Queue(rate_per_s, 0.0051, servers, patience_s=math.inf)

    assert queue.mean_wait_s == pytest.approx(waits.mean(), rel=0.25, abs=5e-6)
    assert quantile_s([(1.0, queue)], 0.95) == pytest.approx(np.quantile(waits, 0.95), rel=0.25, abs=5e-6)


def test_more_than_can_be_served_is_refused_and_the_rest_waits_as_long_as_it_will() -> None:
    queue = Queue(rate_per_s=3_000, service_s=0.001, servers=2, patience_s=0.1)

    assert queue.refused == pytest.approx(1 / 3)
    assert queue.mean_wait_s == 0.1
    assert queue.beyond(0.099) == 1.0
    assert queue.beyond(0.1) == 0.0


def test_patience_shorter_than_the_line_cuts_the_waits_and_refuses_the_rest() -> None:
    patient = Queue(rate_per_s=1_400, service_s=0.0051, servers=8, patience_s=math.inf)
    hasty = Queue(rate_per_s=1_400, service_s=0.0051, servers=8, patience_s=0.002)

    assert patient.refused == 0.0
    assert 0 < hasty.refused < 0.5
    assert hasty.mean_wait_s < patient.mean_wait_s
    assert quantile_s([(1.0, hasty)], 0.99) <= 0.002


def test_a_quantile_over_two_queues_lies_between_theirs() -> None:
    near = Queue(rate_per_s=700, service_s=0.001, servers=1, patience_s=math.inf)
    far = Queue(rate_per_s=150, service_s=0.005, servers=1, patience_s=math.inf)
    ends = [quantile_s([(1.0, queue)], 0.95) for queue in (near, far)]

    assert min(ends) < quantile_s([(0.5, near), (0.5, far)], 0.95) < max(ends)


def test_the_most_at_once_grows_with_the_load_and_is_never_none() -> None:
    assert most_at_once(0.0) == 1
    assert most_at_once(0.5) < most_at_once(5) < most_at_once(50)
    assert most_at_once(50) > 50
