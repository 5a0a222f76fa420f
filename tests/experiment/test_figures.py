import pytest
from experiment.synthetic import cell, experiment_of, grid

from recbole_gro.experiment import figures
from recbole_gro.experiment.figures import pictures
from recbole_gro.experiment.summary import gather

DEFENSES = ["none", "random", "gro"]
MODELS = ["BERT4Rec", "NARM"]


@pytest.fixture
def drawn(monkeypatch):
    """Return the figures of `pictures` by name, before they become png."""
    monkeypatch.setattr(figures, "png", lambda figure: figure)

    def draw(plan, cells=None, k=10):
        return pictures(plan, gather(plan, cells or grid(plan, users=50)), k)

    return draw


def lines(axes):
    """Return {label: (x, y)} of the lines of a panel."""
    return {bars.get_label(): tuple(map(list, bars.lines[0].get_data())) for bars in axes.containers}


def test_the_cut_off_is_on_the_x_axis_as_in_figures_2_and_3_of_the_paper(drawn):
    plan = experiment_of({"defense": DEFENSES})
    (figure,) = drawn(plan).values()
    assert [axes.get_title() for axes in figure.axes] == [
        "target, HR@k, test, %",
        "target, NDCG@k, test, %",
        "surrogate, HR@k, test, %",
        "surrogate, NDCG@k, test, %",
    ]
    settings = gather(plan, grid(plan, users=50))
    shown = lines(figure.axes[3])
    assert list(shown) == DEFENSES
    for setting in settings:
        x, y = shown[setting.values["defense"]]
        assert x == [1, 5, 10, 20, 50, 100]
        assert y == pytest.approx([100 * setting.spread("ndcg", "surrogate", k).mean for k in x])
    assert {axes.get_xscale() for axes in figure.axes} == {"log"}
    assert figure.axes[0].get_ylim() == figure.axes[2].get_ylim()


@pytest.mark.parametrize(
    ("key", "values", "scale", "places"),
    [
        ("gro_lambda", [0.1, 0.001, 1.0], "log", [0.001, 0.1, 1.0]),
        ("gro_lambda", [0, 0.1, 1.0], "linear", [0, 0.1, 1.0]),
        ("query_sequences", [1000, 3000, 5000], "linear", [1000, 3000, 5000]),
        ("surrogate_model", MODELS, "linear", [0, 1]),
        ("query_length", [None, 20], "linear", [0, 1]),
    ],
)
def test_a_key_is_on_the_x_axis_as_in_figures_4_and_5_of_the_paper(drawn, key, values, scale, places):
    (figure,) = drawn(experiment_of({key: values, "defense": DEFENSES[:2]}, figure=key, seeds=[1, 2])).values()
    for axes in figure.axes:
        assert axes.get_xscale() == scale
        assert {label: x for label, (x, _) in lines(axes).items()} == {"none": places, "random": places}
        assert [tick.get_text() for tick in axes.get_xticklabels()] == [str(value) for value in values]


def test_a_defense_has_the_same_style_where_others_are_missing(drawn):
    plan = experiment_of({"surrogate_model": MODELS, "defense": DEFENSES})
    cells = [one for one in grid(plan, users=50) if one.values != {"surrogate_model": "NARM", "defense": "random"}]
    both = drawn(plan, cells)
    assert list(both) == ["surrogate_model BERT4Rec", "surrogate_model NARM"]
    full, part = ({bars.get_label(): bars.lines[0] for bars in figure.axes[0].containers} for figure in both.values())
    assert list(part) == ["none", "gro"]
    for name in part:
        assert part[name].get_color() == full[name].get_color()
        assert part[name].get_marker() == full[name].get_marker()


@pytest.mark.parametrize(("seeds", "bars"), [([1], False), ([1, 2], True)])
def test_error_bars_are_over_seeds(drawn, seeds, bars):
    (figure,) = drawn(experiment_of({"defense": DEFENSES}, seeds=seeds)).values()
    assert all(line.has_yerr == bars for axes in figure.axes for line in axes.containers)


def test_a_surrogate_above_its_target_is_within_the_axes(drawn):
    plan = experiment_of({"defense": ["reverse"]})
    (figure,) = drawn(plan, [cell({"defense": "reverse"}, seed, quality=(0.1, 0.6)) for seed in plan.seeds]).values()
    for axes in figure.axes:
        (line,) = axes.containers
        bottom, top = axes.get_ylim()
        assert bottom == 0
        assert max(segment[:, 1].max() for segment in line.lines[2][0].get_segments()) < top


@pytest.mark.parametrize("seeds", [[1], [1, 2]])
def test_arms_are_drawn_against_the_target_in_a_figure_per_adversary(drawn, seeds):
    vary = {"adversary": {"paper": {}, "mixed": {}}, "arm": {"none": {}, "GRO": {}}}
    plan = experiment_of(vary, "target", seeds, against={"arm": ["none"]})
    both = drawn(plan)
    assert list(both) == ["adversary paper", "adversary mixed"]
    settings = [of for of in gather(plan, grid(plan, users=50)) if of.values["adversary"] == "mixed"]
    for metric, axes in zip(("hit", "ndcg"), both["adversary mixed"].axes, strict=True):
        means = [[100 * of.spread(metric, side, 10).mean for side in ("target", "surrogate")] for of in settings]
        assert lines(axes) == {
            name: (pytest.approx([x]), pytest.approx([y])) for name, (x, y) in zip(vary["arm"], means, strict=True)
        }
        assert all((bars.has_xerr, bars.has_yerr) == (len(seeds) > 1,) * 2 for bars in axes.containers)


@pytest.mark.parametrize("vary", [{}, {"gro_lambda": [0.1, 1.0]}])
def test_an_experiment_without_defenses_has_a_figure(drawn, vary):
    (figure,) = drawn(experiment_of(vary, seeds=[1])).values()
    assert len(figure.axes[0].containers) == max(1, len(vary.get("gro_lambda", [])))
