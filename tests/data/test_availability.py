"""A dataset that does not exist, and RecBole's packaged ml-100k beside a user's."""

import shutil
from pathlib import Path

import pytest
import recbole

from recbole_gro import Config, run_recbole_gro
from recbole_gro.data import build_dataset
from recbole_gro.data.availability import check_obtainable, passed_over
from recbole_gro.utils.errors import UserError


def config_of(dataset, **settings):
    return Config("BERT4Rec", dataset, config_dict={"show_progress": False, **settings})


def test_a_misspelt_name_is_reported_with_the_nearest(tmp_path):
    with pytest.raises(UserError, match=r"ml-10k is not in .*, and RecBole downloads none .* did you mean ml-100k\?"):
        build_dataset(config_of("ml-10k", data_path=str(tmp_path)))
    own = tmp_path / "our-shop"
    own.mkdir()
    (own / "our-shop.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n")
    with pytest.raises(UserError, match=r"did you mean our-shop\?"):
        check_obtainable(config_of("our-shpo", data_path=str(tmp_path)))


def test_a_name_like_no_other_is_reported_with_where_files_are_searched(tmp_path):
    with pytest.raises(UserError, match=r"--data_path=FOLDER reads FOLDER/NAME/NAME\.inter"):
        check_obtainable(config_of("qqqqqqqqqq", data_path=str(tmp_path)))


def test_what_recbole_downloads_is_left_to_it(tmp_path):
    check_obtainable(config_of("ml-1m", data_path=str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_a_users_own_ml_100k_takes_precedence_over_recboles(tmp_path):
    shutil.copytree(Path(recbole.__file__).parent / "dataset_example" / "ml-100k", tmp_path / "ml-100k")
    first_500 = (tmp_path / "ml-100k" / "ml-100k.inter").read_text().splitlines(keepends=True)[:501]
    (tmp_path / "ml-100k" / "ml-100k.inter").write_text("".join(first_500))
    config = config_of("ml-100k", data_path=str(tmp_path))
    assert build_dataset(config).inter_num < 1000
    assert passed_over(config) == ""


def test_reading_recboles_own_in_place_of_a_users_is_reported(tmp_path):
    config = config_of("ml-100k", data_path=str(tmp_path))
    assert f"{tmp_path / 'ml-100k'} does not exist" in passed_over(config)
    assert passed_over(config_of("ml-100k")) == ""


def test_a_missing_interaction_file_is_named_and_a_broken_download_too(tmp_path):
    for name in ("our-shop", "ml-1m"):
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=r"dataset our-shop: there is no file .*our-shop\.inter$"):
        check_obtainable(config_of("our-shop", data_path=str(tmp_path)))
    with pytest.raises(UserError, match=r"ml-1m\.inter; delete the folder to download it again"):
        check_obtainable(config_of("ml-1m", data_path=str(tmp_path)))


@pytest.mark.parametrize("suffix", ["inter", "item"])
def test_a_folder_or_a_broken_link_in_place_of_a_file_is_named(tiny_data_path, tmp_path, suffix):
    shutil.copytree(tiny_data_path / "tiny", tmp_path / "tiny")
    file = tmp_path / "tiny" / f"tiny.{suffix}"
    file.unlink(missing_ok=True)
    file.symlink_to("elsewhere")
    with pytest.raises(UserError, match=rf"dataset tiny: .*tiny\.{suffix} is a link to elsewhere, which does not"):
        run_recbole_gro("BERT4Rec", "tiny", config_dict={"data_path": str(tmp_path)}, saved=False)
    file.unlink()
    file.mkdir()
    with pytest.raises(UserError, match=rf"dataset tiny: .*tiny\.{suffix} is a folder, where a file of rows is"):
        run_recbole_gro("BERT4Rec", "tiny", config_dict={"data_path": str(tmp_path)}, saved=False)
