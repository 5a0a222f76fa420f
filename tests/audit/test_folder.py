import json

import pytest

from recbole_gro import Config
from recbole_gro.audit.folder import open_audit_folder, settings_of_audit
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import one_at_a_time


@pytest.fixture
def config(tmp_path):
    return Config("GRU4Rec", "service", config_dict={"use_gpu": False, "output_dir": str(tmp_path / "out")})


def test_settings_depend_on_contents_and_not_on_the_folder(config, tmp_path):
    settings = settings_of_audit(config, {"k": 5}, {"catalogue": ["a", "b"]})
    config["output_dir"] = str(tmp_path / "other")
    assert settings_of_audit(config, {"k": 5}, {"catalogue": ["a", "b"], "histories": []}) == settings
    assert settings_of_audit(config, {"k": 5}, {"catalogue": ["b", "a"]}) != settings
    assert settings_of_audit(config, {"k": 5}, {"catalogue": ["a", "b"], "seeds": ["a"]}) != settings
    assert settings_of_audit(config, {"k": 6}, {"catalogue": ["a", "b"]}) != settings


def test_only_the_same_audit_is_resumed(config, tmp_path):
    with open_audit_folder(config, {"a": 1}) as folder:
        assert json.loads((folder / "audit.json").read_text()) == {"a": 1}
        with pytest.raises(UserError, match="another process runs in"), open_audit_folder(config, {"a": 1}):
            pass
    with open_audit_folder(config, {"a": 1}):
        pass
    with (
        pytest.raises(UserError, match=r"holds an audit with other settings \(a, b\)"),
        open_audit_folder(config, {"a": 2, "b": 1}),
    ):
        pass


def test_a_process_killed_before_it_wrote_its_settings_is_resumed(config, tmp_path):
    with one_at_a_time(tmp_path / "out" / "audit"):
        pass
    with open_audit_folder(config, {"a": 1}) as folder:
        assert (folder / "audit.json").exists()


def test_a_finished_audit_is_read_where_its_folder_cannot_be_written(config, tmp_path):
    with open_audit_folder(config, {"a": 1}) as folder:
        pass
    for name in ("run.log", "audit.lock"):  # which cannot be written then, by root too
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(tmp_path / "absent" / name)
    with pytest.raises(UserError, match="cannot be written"), open_audit_folder(config, {"a": 1}):
        pass
    (folder / "results.json").write_text("{}")
    with open_audit_folder(config, {"a": 1}) as opened:
        assert opened == folder


def test_other_folders_stay_as_they_are(config, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    with pytest.raises(UserError, match="is not an empty folder"), open_audit_folder(config, {"a": 1}):
        pass
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_folder_that_cannot_be_made_is_named(config):
    config["output_dir"] = "/proc/nowhere"
    with pytest.raises(UserError, match=r"^output_dir: /proc/nowhere cannot be made"), open_audit_folder(config, {}):
        pass
