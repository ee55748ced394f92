from collections import Counter
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from expllm.shuffling import WINDOW, Deal

LENGTHS = st.lists(st.integers(0, 12), min_size=1, max_size=12).filter(lambda lengths: sum(lengths) >= 5)
WORKERS = st.integers(1, 5)
SEEDS = st.integers(0, 99)


def rows(windows):
    """Each window's rows in the order they are seen in, as (part, row)."""
    for window in windows:
        held = [(piece.part, row) for piece in window.pieces for row in range(piece.start, piece.stop)]
        yield from (held[place] for place in window.order)


def everything(lengths):
    return Counter((part, row) for part, length in enumerate(lengths) for row in range(length))


@given(LENGTHS, SEEDS, WORKERS, st.integers(0, 3))
def test_in_a_pass_all_workers_together_see_each_row_once(lengths, seed, workers, epoch):
    deals = [Deal(lengths, seed, rank, workers) for rank in range(workers)]
    seen = [list(rows(deal.windows(epoch))) for deal in deals]
    assert sum((Counter(one) for one in seen), Counter()) == everything(lengths)
    assert [len(one) for one in seen] == [deal.num_rows for deal in deals]
    assert max(map(len, seen)) - min(map(len, seen)) <= 1


@given(LENGTHS, SEEDS, WORKERS, st.data())
def test_from_any_place_the_rest_is_that_of_an_undisturbed_stream(lengths, seed, workers, data):
    deal = Deal(lengths, seed, data.draw(st.integers(0, workers - 1)), workers)
    stop = data.draw(st.integers(1, 4 * deal.num_rows))
    start = data.draw(st.integers(0, stop))
    whole = list(islice(rows(deal.between(0, stop)), stop))
    rest = list(islice(rows(deal.between(start, stop)), stop - start))
    assert len(whole) == stop and whole[start:] == rest


@given(LENGTHS, SEEDS, WORKERS, st.integers(0, 200))
def test_no_window_is_read_that_lies_before_the_place_or_after_the_end(lengths, seed, workers, start):
    deal = Deal(lengths, seed, 0, workers)
    read = list(deal.between(start, start + 3))
    assert all(0 < len(window.pieces) <= WINDOW for window in read)
    assert len(read[0]) > 0 and sum(map(len, read[:-1])) < 3


def test_each_pass_and_each_seed_has_an_order_of_its_own():
    orders = [tuple(rows(Deal((20,) * 6, seed).windows(epoch))) for seed in range(2) for epoch in range(2)]
    assert len(set(orders)) == 4


def test_rows_of_neighbouring_parts_are_mixed():
    seen = [part for part, _ in rows(Deal((50,) * 4, seed=0).windows(0))]
    assert len(set(seen[:20])) == 4
