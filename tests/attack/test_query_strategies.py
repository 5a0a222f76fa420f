import pytest
import torch
from attack.cases import PaddedService, QueryStrategyCases, RuleService

from recbole_gro import BlackBox, QueryStrategy, UserError, create_query_strategy, register_query_strategy


class TestAutoregressive(QueryStrategyCases):
    name = "autoregressive"

    def test_next_item_is_in_the_list_before_it(self):
        log = self.query(n_sequences=50, length=8)
        followed = (log.lists[:, :-1] == log.sequences[:, 1:, None]).any(2)
        assert followed.all()

    def test_next_item_is_uniform_over_the_list(self):
        n = 4000
        log = self.query(n_sequences=n, length=2)
        place = (log.lists[:, 0] == log.sequences[:, 1:2]).int().argmax(1)
        share = torch.bincount(place, minlength=10) / n
        assert torch.allclose(share, torch.full((10,), 0.1), atol=5 * (0.1 * 0.9 / n) ** 0.5)

    def test_next_item_is_uniform_over_the_items_of_a_padded_list(self):
        log = self.query(n_sequences=30_000, length=2, service=PaddedService())
        place = (log.lists[:, 0] == log.sequences[:, 1:2]).int().argmax(1)
        left = (log.lists[:, 0] != 0).sum(1)
        for n in range(1, 11):
            share = torch.bincount(place[left == n], minlength=10) / (left == n).sum()
            assert torch.allclose(share[:n], torch.full((n,), 1 / n), atol=0.06)


class TestRandom(QueryStrategyCases):
    name = "random"

    def test_items_are_uniform_over_the_catalogue(self):
        n = 6000
        log = self.query(n_sequences=n // 3, length=3)
        share = torch.bincount(log.sequences.flatten(), minlength=31)[1:] / n
        assert torch.allclose(share, torch.full((30,), 1 / 30), atol=5 * (29 / 900 / n) ** 0.5)

    def test_sequences_do_not_depend_on_the_lists(self):
        generators = [torch.Generator().manual_seed(1) for _ in range(2)]
        boxes = BlackBox(RuleService(k=3)), BlackBox(RuleService(k=20))
        logs = [
            create_query_strategy("random").query(box, 5, 6, generator, False)
            for box, generator in zip(boxes, generators, strict=True)
        ]
        assert torch.equal(logs[0].sequences, logs[1].sequences)


class TestMixed(QueryStrategyCases):
    name = "mixed"

    def test_the_random_share_is_drawn_from_the_whole_catalogue(self):
        n = 8000
        log = self.query(n_sequences=n, length=2)
        listed = (log.lists[:, 0] == log.sequences[:, 1:2]).any(1).float().mean()
        # 10 of 30 items are listed: a random one is among them with probability 1/3
        assert float(listed) == pytest.approx(0.7 + 0.3 / 3, abs=0.02)

    @pytest.mark.parametrize("decay", [0.0, 1.0])
    def test_listed_items_are_drawn_by_rank(self, decay):
        n = 20_000
        strategy = create_query_strategy("mixed", {"query_random_share": 0.0, "query_rank_decay": decay})
        log = strategy.query(BlackBox(RuleService()), n, 2, torch.Generator().manual_seed(1))
        place = (log.lists[:, 0] == log.sequences[:, 1:2]).int().argmax(1)
        weights = torch.arange(1, 11) ** -decay
        share = torch.bincount(place, minlength=10) / n
        assert torch.allclose(share, weights / weights.sum(), atol=0.015)

    def test_the_extremes_are_the_other_strategies(self):
        generator = torch.Generator().manual_seed(1)
        random = create_query_strategy("mixed", {"query_random_share": 1.0}).query(
            BlackBox(RuleService()), 3000, 2, generator
        )
        share = torch.bincount(random.sequences[:, 1], minlength=31)[1:] / 3000
        assert torch.allclose(share, torch.full((30,), 1 / 30), atol=0.02)


class TestCoverage(QueryStrategyCases):
    name = "coverage"

    @pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 1.0])
    def test_random_sequences_end_when_the_share_is_covered(self, share):
        strategy = create_query_strategy("coverage", {"query_coverage": share})
        prefixes = strategy.prefixes(31, 100, 6, torch.Generator().manual_seed(2))
        n_random = int((prefixes[:, 1] != 0).sum())
        assert (prefixes[:n_random] != 0).all()
        assert (prefixes[n_random:, 1:] == 0).all()
        covered = [len(prefixes[:n].unique()) for n in (n_random, n_random - 1)]
        assert covered[0] >= share * 30
        assert share == 0 or covered[1] < share * 30

    def test_all_are_random_where_the_budget_ends_first(self):
        strategy = create_query_strategy("coverage")
        assert (strategy.prefixes(1001, 5, 6, torch.Generator().manual_seed(2)) != 0).all()

    def test_the_other_sequences_are_autoregressive(self):
        log = self.query(n_sequences=100)
        followed = (log.lists[:, :-1] == log.sequences[:, 1:, None]).any(2).all(1)
        assert 0.5 < followed.float().mean() < 1


# functions that tests name as query_choice


def last_listed(served, sequences, generator):
    return served.gather(1, ((served != 0).sum(1, keepdim=True) - 1)).squeeze(1)


def out_of_range(served, sequences, generator):
    return torch.full((len(served),), 31)


def fractions(served, sequences, generator):
    return torch.full((len(served),), 3.9)


def nothing(served, sequences, generator):
    return None


def names(served, sequences, generator):
    return ["item"] * len(served)


@pytest.mark.parametrize("name", ["autoregressive", "coverage", "mixed"])
def test_a_function_chooses_the_next_item(name):
    settings = {"query_choice": f"{__name__}:last_listed", "query_random_share": 0.0, "query_coverage": 0.0}
    log = create_query_strategy(name, settings).query(
        BlackBox(PaddedService()), 20, 5, torch.Generator().manual_seed(1)
    )
    assert torch.equal(
        log.sequences[:, 1:], last_listed(log.lists[:, :-1].flatten(0, 1).long(), None, None).view(20, 4)
    )


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("out_of_range", "must return one item id of 1 to 30 per sequence"),
        ("fractions", "must return one item id of 1 to 30 per sequence"),
        ("nothing", "must return one item id of 1 to 30 per sequence"),
        ("names", "must return one item id of 1 to 30 per sequence"),
        ("missing", "has no 'missing'"),
    ],
)
def test_an_invalid_choice_is_refused(choice, message):
    with pytest.raises(UserError, match=f"query_choice: .*{message}"):
        create_query_strategy("autoregressive", {"query_choice": f"{__name__}:{choice}"}).query(
            BlackBox(RuleService()), 2, 3, torch.Generator().manual_seed(1)
        )


class Own(QueryStrategy):
    """A strategy of a user; each case below replaces one of its methods."""


@pytest.mark.parametrize(
    ("returned", "wrong"),
    [
        (lambda served: torch.zeros(len(served), dtype=torch.long), "ids from 0 to 0"),
        (lambda served: served[:, 0] + 1000, "ids from 10[0-9]+ to 10[0-9]+"),
        (lambda served: served[:, :1], r"\[2, 1\] for 2 sequences"),
        (lambda served: served[0, 0], r"\[\] for 2 sequences"),
        (lambda served: served[:, 0].float(), r"float32 \[2\]"),
        (lambda served: served[:, 0] > 0, r"bool \[2\]"),
        (lambda served: [float("nan")] * len(served), "list"),
        (lambda served: None, "NoneType"),
    ],
)
def test_a_strategy_must_return_items(monkeypatch, returned, wrong):
    monkeypatch.setattr(Own, "next_items", lambda self, served, *_: returned(served))
    message = f"query_strategy: next_items of Own must return one item id of 1 to 30 per sequence; it returned {wrong}"
    with pytest.raises(UserError, match=message):
        Own({}).query(BlackBox(RuleService()), 2, 3, torch.Generator().manual_seed(1))


def test_a_strategy_cannot_change_the_sequences_that_are_queried_or_their_lists(monkeypatch):
    def next_items(self, served, sequences, n_items, generator):
        items = sequences[:, -1] % 30 + 1
        sequences.fill_(1)
        served.fill_(0)
        return items

    monkeypatch.setattr(Own, "next_items", next_items)
    log = Own({}).query(BlackBox(RuleService(k=5)), 4, 3, torch.Generator().manual_seed(1))
    assert torch.equal(log.sequences[:, 1:], log.sequences[:, :-1] % 30 + 1)
    assert log.sequences[:, 0].unique().numel() > 1
    assert log.lists.all()


def test_a_strategy_may_return_a_list_of_items(monkeypatch):
    monkeypatch.setattr(Own, "next_items", lambda self, served, *_: served[:, 0].int().tolist())
    log = Own({}).query(BlackBox(RuleService()), 2, 3, torch.Generator().manual_seed(1))
    assert torch.equal(log.sequences[:, 1:], log.lists[:, :-1, 0].long())


@pytest.mark.parametrize(
    ("returned", "wrong"),
    [
        (torch.zeros(2, 3, dtype=torch.long), "a sequence without a first item"),
        (torch.ones(2, 2, dtype=torch.long), r"\[2, 2\]"),
        (torch.full((2, 3), 31), "ids from 31 to 31"),
        (torch.full((2, 3), -1), "ids from -1 to -1"),
        (torch.ones(2, 3), r"float32 \[2, 3\]"),
        ("items", "str"),
    ],
)
def test_a_strategy_must_return_first_items(monkeypatch, returned, wrong):
    monkeypatch.setattr(Own, "prefixes", lambda self, *_: returned)
    with pytest.raises(UserError, match=rf"prefixes of Own must return item ids \[2, 3\] .*; it returned {wrong}"):
        Own({}).query(BlackBox(RuleService()), 2, 3, torch.Generator().manual_seed(1))


def test_the_error_for_an_unknown_strategy_names_the_registered_ones():
    names = "autoregressive, coverage, crawl, mimic, mixed, random"
    with pytest.raises(UserError, match=rf"unknown query strategy 'randon'.*'random'.*{names}"):
        create_query_strategy("randon")


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="'random' is registered already"):
        register_query_strategy("random")(print)


def test_the_example_chooses_listed_items(monkeypatch):
    monkeypatch.syspath_prepend("examples")
    strategy = create_query_strategy("autoregressive", {"query_choice": "next_item:choose"})
    log = strategy.query(BlackBox(PaddedService()), 20, 5, torch.Generator().manual_seed(1))
    assert (log.lists[:, :-1] == log.sequences[:, 1:, None]).any(2).all()
    assert len(log.sequences.unique()) == 30  # it prefers items that were not queried


class SometimesEmptyService(RuleService):
    """Serve no list after a sequence that ends in one of the first six items."""

    def recommend(self, sequences):
        return super().recommend(sequences) * (torch.as_tensor(sequences)[:, -1:] > 6)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("autoregressive", {}), ("mixed", {}), ("mixed", {"query_rank_decay": 1.0}), ("mimic", {}), ("coverage", {})],
)
def test_an_empty_list_does_not_end_a_sequence(name, settings):
    strategy = create_query_strategy(name, settings)
    log = strategy.query(BlackBox(SometimesEmptyService()), 60, 8, torch.Generator().manual_seed(1))
    assert bool((log.sequences > 0).all())
    assert torch.equal(log.lists[:, :, 0] == 0, log.sequences <= 6)


@pytest.mark.parametrize("name", ["random", "mimic"])
def test_a_choice_that_nothing_reads_is_refused(name):
    with pytest.raises(UserError, match=f"query_choice: {name} chooses all items itself"):
        create_query_strategy(name, {"query_choice": f"{__name__}:last_listed"})
