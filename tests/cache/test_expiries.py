"""What has ended is found, nothing before its time, and refuse does not gather."""

from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.cache.entry import Entry
from perfkit.cache.expiries import Expiries


def set_in(entries: dict[str, Entry], expiries: Expiries, key: str, now: float, ttl: float) -> None:
    old = entries.get(key)
    entries[key] = Entry(None, now, now + ttl)
    expiries.add(key, entries[key], old)


def all_due(entries: dict[str, Entry], expiries: Expiries, now: float) -> list[str]:
    """Ask until nothing more can come: a call may find refuse only and give up."""
    due: list[str] = []
    for _ in range(10_000):
        if expiries.earliest > now:
            return due
        key = expiries.due(now)
        if key is not None:
            due.append(key)
            del entries[key]
    raise AssertionError("it never comes to an end")


STEP = st.tuples(
    st.integers(0, 15), st.sampled_from([0.0, 0.4, 3.0, 127.9, 128.0, 700.0, 1e5, 1e13]), st.booleans()
)


@given(steps=st.lists(STEP, max_size=150), waits=st.lists(st.sampled_from([0.1, 1.0, 60.0, 5e3]), min_size=1))
@settings(max_examples=200, deadline=None)
def test_a_key_is_due_when_its_time_is_over_and_soon_after(
    steps: list[tuple[int, float, bool]], waits: list[float]
) -> None:
    entries: dict[str, Entry] = {}
    expiries = Expiries(entries)
    now = 0.0
    for index, (number, ttl, deleted) in enumerate(steps):
        now += waits[index % len(waits)]
        if deleted:
            entries.pop(str(number), None)
        set_in(entries, expiries, str(number), now, ttl)
        ends = {key: entry.stale_until_s for key, entry in entries.items()}
        lives = {key: entry.stale_until_s - entry.filled_s for key, entry in entries.items()}
        due = all_due(entries, expiries, now)
        assert all(ends[key] <= now for key in due)
        # A bucket is a second wide, or a 64th of a life.
        assert all(ends[key] + max(1.0, lives[key] / 64) >= now for key in entries)


def test_names_do_not_gather_when_keys_are_set_anew_without_end() -> None:
    """Lives differ as jitter makes them differ; the last bucket of each entry is the only one that counts."""
    entries: dict[str, Entry] = {}
    expiries = Expiries(entries)
    for number in range(60_000):
        key = str(number % 100)
        if number % 3 == 0:
            entries.pop(key, None)
        set_in(entries, expiries, key, number * 0.01, 1_000 + number * 7919 % 400)

    named = sum(map(len, expiries._buckets.values())) + len(expiries._unsorted)
    assert named < 3_000
