"""The folder of a run."""

import errno
import importlib
import json
from pathlib import Path

import pytest
from conftest import write_inter

from recbole_gro import UserError, register_defense
from recbole_gro.config import own_modules
from recbole_gro.quick_start.run_folder import finished_results, new_run_folder, open_run_folder, settings_of_run


def test_a_named_folder_is_made(make_config, tmp_path):
    folder = new_run_folder(make_config(output_dir=str(tmp_path / "a" / "b")))
    assert folder.is_dir()


def test_folders_without_a_name_never_collide(make_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = {new_run_folder(make_config()) for _ in range(3)}
    assert len(folders) == 3
    assert all(str(folder).startswith("runs/tiny-BERT4Rec-") for folder in folders)


def test_runs_that_start_at_once_have_folders_of_their_own(make_config, tmp_path, monkeypatch):
    def makes_it_first(folder, *mode, **named):
        if folder.name.startswith("tiny-BERT4Rec") and not others:  # another run, between a look at it and its making
            others.append(folder)
            mkdir(folder, parents=True)
        mkdir(folder, *mode, **named)

    mkdir, others = Path.mkdir, []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "mkdir", makes_it_first)
    folder = new_run_folder(make_config())
    assert others
    assert folder not in others
    assert folder.is_dir()


def test_a_file_in_place_of_the_folder_is_reported(make_config, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="taken cannot be written"):
        new_run_folder(make_config(output_dir=str(tmp_path / "taken")))


@pytest.mark.parametrize("below", ["", "run"])
def test_a_link_to_nothing_in_place_of_the_folder_is_reported(make_config, tmp_path, below):
    (tmp_path / "link").symlink_to("absent")
    with pytest.raises(UserError, match=r"cannot be written: .*link is a link to absent, which does not exist$"):
        new_run_folder(make_config(output_dir=str(tmp_path / "link" / below)))


def test_a_folder_opens_again_for_the_same_settings_alone(make_config, tmp_path):
    folder = tmp_path / "run"
    for _ in range(2):
        with open_run_folder(make_config(output_dir=str(folder))) as (opened, _):
            assert opened == folder
    assert json.loads((folder / "run.json").read_text())["seed"] == 7
    refused = r"holds a run of other settings \(seed: 7 there, 8 now\); .* to resume it$"
    with pytest.raises(UserError, match=refused), open_run_folder(make_config(output_dir=str(folder), seed=8)):
        pass


def test_a_folder_is_open_for_one_process_at_a_time(make_config, tmp_path):
    with open_run_folder(make_config(output_dir=str(tmp_path / "run"))):
        again = open_run_folder(make_config(output_dir=str(tmp_path / "run")))
        with pytest.raises(UserError, match=r"^output_dir: another process runs in .*run; wait for its end"), again:
            pass


@pytest.mark.parametrize("saved", [True, False])
def test_an_interrupt_says_how_to_resume_where_there_is_a_folder(make_config, tmp_path, saved):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt) as caught, open_run_folder(make_config(output_dir=str(folder)), saved):
        raise KeyboardInterrupt
    expected = [f"the same command with --output_dir={folder} resumes this run"] if saved else []
    assert getattr(caught.value, "__notes__", []) == expected


def test_stages_of_its_own_are_removed_at_the_end(make_config, tmp_path):
    with open_run_folder(make_config(output_dir=str(tmp_path / "run"))) as (folder, cache):
        assert cache.folder == folder / "stages"
        cache.once("target", "abc", lambda _: {})
        assert cache.folder.exists()
    assert not cache.folder.exists()


def test_shared_stages_stay(make_config, tmp_path):
    config = make_config(output_dir=str(tmp_path / "run"), stages_dir=str(tmp_path / "stages"))
    with open_run_folder(config) as (_, cache):
        cache.once("target", "abc", lambda _: {})
    assert (tmp_path / "stages" / "target-abc.pth").exists()


def test_a_run_that_is_not_saved_leaves_no_folder(make_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_run_folder(make_config(), saved=False) as (folder, _):
        assert folder.is_dir()
    assert not folder.exists()
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("number", "raised"), [(errno.ENOSPC, UserError), (errno.EACCES, PermissionError)])
def test_a_full_disk_is_reported_with_its_file_and_other_errors_pass(make_config, tmp_path, number, raised):
    config = make_config(output_dir=str(tmp_path / "run"))
    line = r"^file\.pth cannot be written: full$" if raised is UserError else "full"
    with pytest.raises(raised, match=line), open_run_folder(config):
        raise OSError(number, "full", "file.pth")


@pytest.mark.parametrize("finished", [True, False])
def test_output_that_a_finished_run_no_longer_writes_is_named(make_config, tmp_path, caplog, finished):
    folder = tmp_path / "run"
    for n, given in enumerate([{}, {"access_log": True}, {"access_log": True}]):
        caplog.clear()
        with open_run_folder(make_config(output_dir=str(folder), **given)):
            pass
        line = f"access_log: without effect, since the run in {folder} has finished; name a new output_dir"
        assert (line in caplog.messages) == (finished and n == 1)
        if finished:
            (folder / "results.json").write_text("{}")
        if n == 1:
            (folder / "access-none.jsonl").touch()  # as where the run logged its queries


def test_another_secret_key_is_another_run(make_config, tmp_path, monkeypatch):
    def opened():
        return open_run_folder(make_config(output_dir=str(tmp_path / "run"), defense_key="secret"))

    monkeypatch.setenv("RECBOLE_GRO_DEFENSE_KEY", "first secret of many")
    for _ in range(2):
        with opened():
            pass
    assert "first secret" not in (tmp_path / "run" / "run.json").read_text()
    for other in ("second secret of many", None):
        monkeypatch.delenv("RECBOLE_GRO_DEFENSE_KEY")
        if other:
            monkeypatch.setenv("RECBOLE_GRO_DEFENSE_KEY", other)
        with pytest.raises(UserError, match=r"holds a run of other settings \(RECBOLE_GRO_DEFENSE_KEY: "), opened():
            pass
        monkeypatch.setenv("RECBOLE_GRO_DEFENSE_KEY", "first secret of many")


def test_a_key_that_a_run_does_not_read_is_no_setting_of_it(make_config, tmp_path, monkeypatch):
    monkeypatch.delenv("RECBOLE_GRO_DEFENSE_KEY", raising=False)
    for _ in range(2):
        with open_run_folder(make_config(output_dir=str(tmp_path / "run"), defense_key="seed")) as (folder, _):
            assert "RECBOLE_GRO_DEFENSE_KEY" not in json.loads((folder / "run.json").read_text())
        monkeypatch.setenv("RECBOLE_GRO_DEFENSE_KEY", "first secret of many")


def test_results_are_there_once_a_run_has_finished(tmp_path):
    assert finished_results(tmp_path) is None
    (tmp_path / "results.json").write_text('{"defenses": []}')
    assert finished_results(tmp_path) == {"defenses": []}


@pytest.mark.parametrize("content", ["", '{"a": ', "\x00"])
def test_damaged_results_are_named(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(UserError, match=r"results\.json is damaged; delete it, and run the command again"):
        finished_results(tmp_path)


def test_other_data_under_the_same_name_are_other_settings(make_config, tmp_path):
    settings = []
    for histories in ({"ann": "abcdefgh", "bob": "bcdea"}, {"ann": "abcdefgh", "bob": "cbdea"}):
        config = make_config("NARM", data_path=str(write_inter(tmp_path, histories)), served_k=5)
        settings.append(settings_of_run(config))
    one, other = settings
    assert [name for name in one if one[name] != other[name]] == ["data"]


def test_edited_code_of_a_users_part_is_another_run(make_config, tmp_path, monkeypatch, own_parts):
    file = tmp_path / "own_defense_of_a_user.py"
    file.write_text(
        "from recbole_gro import Defense\n\n\nclass Own(Defense):\n    def shown(self, ranked): return ranked.flip(1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    register_defense("own_defense")(importlib.import_module(file.stem).Own)
    config = {"output_dir": str(tmp_path / "run"), "defense": ["own_defense"]}
    for _ in range(2):
        with open_run_folder(make_config(**config)):
            pass
    file.write_text(file.read_text() + "\n\nSTRENGTH = 2\n")
    own_modules._sources.clear()  # as of a new process
    message = r"holds a run of other settings \(code of own_defense_of_a_user: "
    with pytest.raises(UserError, match=message), open_run_folder(make_config(**config)):
        pass
