import pytest
import torch

from recbole_gro import Defense, Service, UserError, create_defense, load_target
from recbole_gro.http_service.recommender import Recommender

HISTORIES = [[1 + (3 * row + place) % 30 for place in range(1 + row % 9)] for row in range(24)]


def recommender(file, defense="none", **settings):
    target = load_target(file)
    for name, value in settings.items():
        target.config[name] = value
    return Recommender(target, create_defense(defense, target.config))


def alone(made, k):
    return [made.answer([history], k)[0] for history in HISTORIES]


@pytest.fixture
def noisy(checkpoint_of):
    """A model whose scores have noise of 1e-5, another one in a batch of another size."""
    made = recommender(checkpoint_of("GRU4Rec"))
    predict = made.model.full_sort_predict

    def with_noise(interaction):
        scores = predict(interaction)
        draw = torch.Generator().manual_seed(len(scores))
        noise = torch.rand(scores.shape[1], generator=draw)  # the same for all rows
        return scores + 1e-5 * noise

    made.model.full_sort_predict = with_noise
    # scores closer to each other than the noise
    made.model.dense.weight.data *= 1e-3
    made.model.dense.bias.data *= 1e-3
    return made


def test_batches_do_not_change_lists_where_the_noise_exceeds_the_gaps(noisy):
    right = alone(noisy, 10)
    noisy.noise = 0.0
    assert noisy.answer(HISTORIES, 10) != right
    noisy.noise = noisy._measured_noise()
    assert noisy.answer(HISTORIES, 10) == right


def test_the_noise_of_a_sound_model_is_a_few_bits(checkpoint_of):
    for model in ("GRU4Rec", "BERT4Rec"):
        assert 0 < recommender(checkpoint_of(model)).noise < 1e-4


@pytest.mark.parametrize(("noise", "calls"), [(0.0, 1), (1.0, 25)])
def test_histories_within_the_noise_are_scored_again(checkpoint_of, monkeypatch, noise, calls):
    made, sizes = recommender(checkpoint_of("GRU4Rec")), []
    recommend = Service.recommend
    monkeypatch.setattr(Service, "recommend", lambda self, rows: sizes.append(len(rows)) or recommend(self, rows))
    made.noise = noise
    made.answer(HISTORIES, 10)
    assert sizes == [24] + [1] * (calls - 1)


def test_a_decoy_is_decided_by_the_lowest_scores_too(checkpoint_of):
    file = checkpoint_of("GRU4Rec")
    plain, decoy = recommender(file), recommender(file, "tail_decoy", head_k=2)
    scores = torch.arange(31.0).repeat(2, 1)
    scores[1, 3] = scores[1, 2] + 1e-9  # far below the first 12
    plain.noise = decoy.noise = 1e-6
    assert plain._doubtful(scores, 12).tolist() == [False, False]
    assert decoy._doubtful(scores, 12).tolist() == [False, True]
    assert decoy._doubtful(scores, 2).tolist() == [False, False]  # its head alone is wanted


class Own(Defense):
    """Reads what it likes."""


def test_an_unknown_defense_gets_every_history_alone(checkpoint_of):
    target, sizes = load_target(checkpoint_of("GRU4Rec")), []

    class Counting(Own):
        def answer(self, ranked, query):
            sizes.append(len(ranked))
            return ranked

    Recommender(target, Counting(target.config)).answer(HISTORIES, 10)
    assert sizes == [1] * 24


def test_a_defense_acts_on_whole_lists_whatever_k(checkpoint_of):
    made = recommender(checkpoint_of("GRU4Rec"), "reverse")
    whole = made.answer(HISTORIES, 12)
    assert made.answer(HISTORIES, 3) == [row[:3] for row in whole]


def test_a_checkpoint_without_tokens_is_refused(checkpoint_of):
    target = load_target(checkpoint_of("GRU4Rec"))
    target.item_tokens = None
    with pytest.raises(UserError, match="holds no item tokens"):
        Recommender(target, create_defense("none", target.config))
