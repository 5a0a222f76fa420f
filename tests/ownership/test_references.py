import shutil

import pytest
from ownership.runs import trained

from recbole_gro.ownership.method import Refusal
from recbole_gro.ownership.references import load_references, train_references
from recbole_gro.serving.saved_target import load_target
from recbole_gro.utils.errors import UserError


@pytest.fixture
def owner(make_loaders, tmp_path):
    return load_target(trained(make_loaders, tmp_path))


def test_models_of_other_seeds_are_references(owner, make_loaders, tmp_path):
    files = [trained(make_loaders, tmp_path, seed) for seed in (2, 3)]
    assert list(load_references(files, owner)) == files


def test_trained_references_are_references_and_are_not_trained_twice(owner, tmp_path, caplog):
    with caplog.at_level("INFO"):
        files = train_references(owner, 2, tmp_path / "references")
    lines = [line for line in caplog.messages if line.startswith("reference ")]
    assert lines == ["reference 1 of 2: NARM, seed 2", "reference 2 of 2: NARM, seed 3"]
    assert [file.parent.name for file in files] == ["seed-2", "seed-3"]
    loaded = load_references(files, owner)
    lists = [model.recommend([[1, 2, 3]], 20).tolist() for model in (owner, *loaded.values())]
    assert len({str(row) for row in lists}) == 3
    before = [file.stat().st_mtime_ns for file in files]
    assert train_references(owner, 2, tmp_path / "references") == files
    assert [file.stat().st_mtime_ns for file in files] == before


@pytest.mark.parametrize(
    ("seed", "settings", "message"),
    [
        (2, {"learning_rate": 0.5}, "was trained with learning_rate=0.5, the owner's model with 0.001"),
        (2, {"epochs": 2}, "was trained with epochs=2, the owner's model with 1"),
        (2, {"target_epoch": "last"}, "was trained with target_epoch='last', the owner's model with 'best'"),
        (1, {}, "has the seed of the owner's model, 1"),
    ],
)
def test_a_model_that_differs_by_more_than_its_seed_is_refused(owner, make_loaders, tmp_path, seed, settings, message):
    file = trained(make_loaders, tmp_path / "other", seed, **settings)
    with pytest.raises(Refusal, match=message):
        load_references([file], owner)


def test_a_reference_that_is_given_twice_is_refused(owner, make_loaders, tmp_path):
    file = trained(make_loaders, tmp_path, 2)
    copy = tmp_path / "copy.pth"
    shutil.copy(file, copy)
    with pytest.raises(Refusal, match=f"reference {copy} has the seed of {file}, 2"):
        load_references([file, copy], owner)


def test_a_reference_with_other_items_is_named(owner, make_loaders, write_dataset, tmp_path):
    folder = write_dataset({f"u{user}": [f"x{(user + step) % 20}" for step in range(6)] for user in range(20)})
    file = trained(make_loaders, tmp_path, 2, data_path=str(folder))
    with pytest.raises(UserError, match="its items are not those of the owner's model"):
        load_references([file], owner)
