import asyncio
import threading

import pytest

from recbole_gro.http_service.batching import Batcher
from recbole_gro.http_service.ledger import Entry
from recbole_gro.http_service.refusal import HttpRefusal


def entry(number, histories=1):
    return Entry(number, [[number]] * histories, 10)


def echo(entries):
    return [[[entry.key] for _ in entry.histories] for entry in entries]


def answered(entries, respond=echo, **options):
    """Send queries at once; return what each gets, and the batcher."""

    async def together():
        batcher = Batcher(respond, **options)
        task = asyncio.create_task(batcher.run())
        outcomes = await asyncio.gather(*map(batcher.lists, entries), return_exceptions=True)
        task.cancel()
        return outcomes, batcher

    return asyncio.run(together())


def test_what_arrives_together_is_one_batch_and_each_gets_its_own():
    outcomes, batcher = answered([entry(number, 1 + number % 3) for number in range(9)])
    assert outcomes == [[[number]] * (1 + number % 3) for number in range(9)]
    assert batcher.batches == 1


def test_a_batch_is_bounded_and_a_query_is_not_split():
    sizes = []

    def respond(entries):
        sizes.append([len(entry.histories) for entry in entries])
        return echo(entries)

    answered([entry(1, 3), entry(2, 4), entry(3, 1), entry(4, 9), entry(5, 1)], respond, most=7)
    assert sizes == [[3, 4], [1], [9], [1]]


def test_queries_that_arrive_during_a_batch_make_the_next_one():
    async def work():
        busy, sizes = threading.Event(), []

        def respond(entries):
            sizes.append(len(entries))
            busy.wait(10)
            return echo(entries)

        batcher = Batcher(respond, wait=0)
        task = asyncio.create_task(batcher.run())
        first = asyncio.create_task(batcher.lists(entry(0)))
        while not sizes:
            await asyncio.sleep(0.001)
        later = [asyncio.create_task(batcher.lists(entry(number))) for number in (1, 2, 3)]
        await asyncio.sleep(0.01)
        busy.set()
        await asyncio.gather(first, *later)
        task.cancel()
        return sizes

    assert asyncio.run(work()) == [1, 3]


def test_a_query_waits_no_longer_than_the_bound():
    async def work():
        batcher = Batcher(echo, wait=0.05)
        task = asyncio.create_task(batcher.run())
        loop = asyncio.get_running_loop()
        start = loop.time()
        await batcher.lists(entry(1))
        task.cancel()
        return loop.time() - start

    assert 0.04 < asyncio.run(work()) < 5


def test_a_fault_reaches_all_of_its_batch_and_the_next_batch_is_answered():
    def respond(entries):
        if len(entries) == 2:
            raise RuntimeError("broken")
        return [HttpRefusal(402, "spent") if entry.key == 3 else [[entry.key]] for entry in entries]

    outcomes, _ = answered([entry(1), entry(2), entry(3)], respond, most=2)
    assert [str(outcome) for outcome in outcomes] == ["broken", "broken", "spent"]


def test_outcomes_of_another_number_are_a_fault_of_their_batch_alone():
    faulty = iter([True, False])

    def respond(entries):
        return echo(entries)[next(faulty) :]

    async def one_after_the_other():
        batcher = Batcher(respond)
        task = asyncio.create_task(batcher.run())
        with pytest.raises(ValueError, match="0 outcomes for 1 queries"):
            await batcher.lists(entry(1))
        assert await batcher.lists(entry(2)) == [[2]]
        task.cancel()
        batcher.close()

    asyncio.run(one_after_the_other())


def test_a_full_queue_refuses_with_503():
    outcomes, _ = answered([entry(1, 4), entry(2, 3), entry(3, 2)], queued=6)
    assert outcomes[0] == [[1]] * 4
    assert (outcomes[1].status, outcomes[1].headers) == (503, {"Retry-After": "1"})
    assert outcomes[2] == [[3]] * 2


@pytest.mark.parametrize("answers_too", [0, 1])
def test_a_client_that_has_gone_is_left_out(answers_too):
    async def work():
        seen = []
        batcher = Batcher(lambda entries: seen.extend(entry.key for entry in entries) or echo(entries), wait=0.01)
        gone = asyncio.create_task(batcher.lists(entry(1)))
        others = [asyncio.create_task(batcher.lists(entry(2))) for _ in range(answers_too)]
        await asyncio.sleep(0)
        gone.cancel()
        task = asyncio.create_task(batcher.run())
        await asyncio.gather(*others)
        await asyncio.sleep(0.05)
        assert not task.done()
        task.cancel()
        return seen

    assert asyncio.run(work()) == [2] * answers_too


class OwnFault(BaseException): ...


@pytest.mark.parametrize(
    "fault", [ZeroDivisionError(), StopIteration(), OwnFault(), asyncio.CancelledError(), GeneratorExit(), SystemExit()]
)
def test_no_fault_of_a_batch_ends_the_answers_to_others(fault):
    def respond(entries):
        if entries[0].key == 1:
            raise fault
        return echo(entries)

    outcomes, batcher = answered([entry(1), entry(2)], respond, most=1, wait=0)
    assert isinstance(outcomes[0], ZeroDivisionError | RuntimeError)
    assert (outcomes[1], batcher.batches) == ([[2]], 2)
