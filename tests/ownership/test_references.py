import re
import shutil

import pytest
import torch
from conftest import SMALL, WIDTHS
from ownership.runs import trained

from recbole_gro import Defense, Settings, key, register_defense, run_recbole_gro
from recbole_gro.config.models import copied_model
from recbole_gro.data.digests import file_digest
from recbole_gro.defense.base import defenses
from recbole_gro.ownership.method import NoVerdict
from recbole_gro.ownership.references import check_trainable, load_references, train_references, unchecked_data
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
    with pytest.raises(NoVerdict, match=message):
        load_references([file], owner)


def test_a_reference_that_is_given_twice_is_refused(owner, make_loaders, tmp_path):
    file = trained(make_loaders, tmp_path, 2)
    copy = tmp_path / "copy.pth"
    shutil.copy(file, copy)
    with pytest.raises(NoVerdict, match=f"reference {copy} has the seed of {file}, 2"):
        load_references([file, copy], owner)


def test_a_reference_with_other_items_is_named(owner, make_loaders, write_dataset, tmp_path):
    folder = write_dataset({f"u{user}": [f"x{(user + step) % 20}" for step in range(6)] for user in range(20)})
    file = trained(make_loaders, tmp_path, 2, data_path=str(folder))
    with pytest.raises(UserError, match="its items are not those of the owner's model"):
        load_references([file], owner)


def without_digests(file):
    """Take the digests of the data from a checkpoint, as of an earlier version."""
    checkpoint = torch.load(file, weights_only=True)
    del checkpoint["catalogue"]["data_digests"]
    torch.save(checkpoint, file)
    return file


def test_a_checkpoint_holds_the_digests_of_its_data(owner, tiny_data_path):
    assert owner.data_digests == {"tiny.inter": file_digest(tiny_data_path / "tiny" / "tiny.inter")}


def test_a_reference_of_other_data_is_refused_though_items_and_settings_are_equal(
    owner, make_loaders, other_data, tmp_path
):
    file = trained(make_loaders, tmp_path, 2, data_path=str(other_data))
    message = f"reference {file} was trained on other data than the owner's model, by the digest of tiny.inter; ref"
    with pytest.raises(NoVerdict, match=re.escape(message)):
        load_references([file], owner)


def test_no_reference_is_trained_on_other_data(make_loaders, other_data, tmp_path):
    file = trained(make_loaders, tmp_path)
    owner = load_target(file, data_path=str(other_data))
    message = f"data_path: tiny in {other_data / 'tiny'} is not the data that the owner's model was trained on, by "
    for refused in (lambda: check_trainable(owner), lambda: train_references(owner, 5, tmp_path / "references")):
        with pytest.raises(UserError, match=re.escape(message)):
            refused()
    assert not (tmp_path / "references").exists()


def test_references_without_a_digest_of_their_data_are_usable_and_named(make_loaders, other_data, tmp_path):
    files = [trained(make_loaders, tmp_path, seed) for seed in (1, 2, 3)]
    owner, references = load_target(files[0]), load_references(files[1:], load_target(files[0]))
    assert unchecked_data(owner, references) is None
    without_digests(files[2])
    unchecked = unchecked_data(owner, load_references(files[1:], owner))
    assert unchecked == (
        f"whether the references were trained on the owner's data was not checked: {files[2]} holds no digest of the "
        "data"
    )
    earlier = load_target(without_digests(files[0]), data_path=str(other_data))
    check_trainable(earlier)
    assert "the owner's checkpoint holds no digest" in str(unchecked_data(earlier, references))


@pytest.fixture
def defended(tiny_data_path, tmp_path):
    """The checkpoint of a NARM that GRO fine-tuned: `defended(seed=2, gro_lambda=0.5)`."""

    def make(seed, **settings):
        out = tmp_path / "-".join(map(str, (seed, *settings)))
        given = {**SMALL, **WIDTHS["NARM"], "data_path": str(tiny_data_path), "output_dir": str(out), "seed": seed}
        given |= {"defense": "gro", "attack": False, "references": [], "gro_epochs": 1, "reproducibility": True}
        run_recbole_gro("NARM", "tiny", config_dict=given | settings)
        return str(out / "target-gro.pth")

    return make


def test_references_of_a_defended_owner_were_trained_by_the_same_defense(defended, make_loaders, tmp_path):
    owner = load_target(defended(1))
    assert owner.trained_by == "gro"
    assert list(references := load_references([alike := defended(2)], owner)) == [alike]
    assert unchecked_data(owner, references) is None
    for file, message in (
        (trained(make_loaders, tmp_path, 3), "was trained with defense='none', the owner's model with 'gro'"),
        (defended(4, gro_lambda=0.5), "was trained with gro_lambda=0.5, the owner's model with 1.0"),
        (defended(5, student_model="GRU4Rec"), "was trained with student_model='GRU4Rec', the owner's model with None"),
    ):
        with pytest.raises(NoVerdict, match=message):
            load_references([file], owner)
    with pytest.raises(UserError, match=r"^references: the defense gro trained the owner's model, .* target-gro\.pth"):
        train_references(owner, 5, tmp_path / "references")
    assert not (tmp_path / "references").exists()


def test_references_of_gro_decoys_may_differ_in_what_it_fixes(defended):
    small = {"defense": "gro_decoys", "gro_epochs": 2, "gro_steps": 1, "gro_head_k": 4}
    one, other = (defended(n, **small, gro_lambda=float(n)).replace("-gro.", "-gro_decoys.") for n in (1, 2))
    assert list(load_references([other], load_target(one))) == [other]


def test_a_defense_that_declares_nothing_or_is_unknown_bears_no_references(defended, own_parts):
    class StrengthSettings(Settings):
        own_strength: float = key(0.0, "float", "strength")

    @register_defense("undeclared")
    class Undeclared(Defense):
        def protect(self, target, train_data, valid_data, show_progress=False):
            return copied_model(target)

    owner, other, alike = (
        defended(seed, defense="undeclared", own_strength=strength).replace("-gro.", "-undeclared.")
        for seed, strength in ((1, 0.0), (2, 9.0), (3, 0.0))
    )
    assert list(load_references([alike], load_target(owner))) == [alike]
    with pytest.raises(NoVerdict, match=r"was trained with own_strength=9\.0, the owner's model with 0\.0"):
        load_references([other], load_target(owner))
    del defenses._entries["undeclared"]
    with pytest.raises(UserError, match=r"^plugins: no module has the defense undeclared, which trained a model; give"):
        load_references([alike], load_target(owner))


def test_an_undefended_model_says_so(make_loaders, defended, tmp_path):
    assert load_target(trained(make_loaders, tmp_path)).trained_by is None
    with pytest.raises(NoVerdict, match="was trained with defense='gro', the owner's model with 'none'"):
        load_references([defended(2)], load_target(trained(make_loaders, tmp_path)))
