import multiprocessing
import stat
from pathlib import Path

import pytest

from recbole_gro import UserError, create_defense
from recbole_gro.defense.defense_key import FILE, VARIABLE, defense_key, possible_keys

LONG = "a secret that is long enough"


@pytest.fixture(autouse=True)
def _no_key_around(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


def config(folder=None, source="secret", **settings):
    return {"seed": 7, "defense_key": source, "output_dir": folder and str(folder), **settings}


def test_by_default_the_key_is_made_from_the_seed(monkeypatch, tmp_path):
    key = defense_key({"seed": 7})
    assert key == defense_key(config(tmp_path, "seed")) != defense_key({"seed": 8})
    monkeypatch.setenv(VARIABLE, LONG)
    assert defense_key({"seed": 7}) == key
    assert list(tmp_path.iterdir()) == []


def test_the_environment_gives_the_key_and_no_file_is_made(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, LONG)
    key = defense_key(config(tmp_path))
    assert key == defense_key(config(None, seed=9))
    assert len(key) == 32
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv(VARIABLE, LONG + ".")
    assert defense_key(config(tmp_path)) != key


def test_a_new_key_is_reported_and_an_old_one_is_not(tmp_path, caplog):
    defense_key(config(tmp_path))
    assert caplog.text.count(f"made a new key, {tmp_path / FILE}") == 1
    defense_key(config(tmp_path))
    assert caplog.text.count("made a new key") == 1


def test_a_key_is_made_once_and_readable_by_its_owner_alone(tmp_path):
    folder = tmp_path / "not" / "there yet"
    key = defense_key(config(folder))
    assert key == defense_key(config(folder, seed=9))
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600
    assert bytes.fromhex((folder / FILE).read_text()) == key
    assert defense_key(config(tmp_path)) != key


def note_key(folder, together, keys):
    together.wait(30)
    keys.put(defense_key(config(folder)))


def test_processes_that_make_a_key_at_the_same_time_end_with_the_same(tmp_path):
    fork = multiprocessing.get_context("fork")
    for attempt in range(5):
        together, keys = fork.Barrier(4), fork.Queue()
        workers = [fork.Process(target=note_key, args=(tmp_path / str(attempt), together, keys)) for _ in range(4)]
        for worker in workers:
            worker.start()
        made = {keys.get(timeout=30) for _ in workers}
        for worker in workers:
            worker.join(30)
        assert made == {defense_key(config(tmp_path / str(attempt)))}


def test_a_key_that_another_process_made_first_is_used(tmp_path, monkeypatch, caplog):
    key = defense_key(config(tmp_path))
    caplog.clear()
    # as for a process that checked before the other wrote the file
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert defense_key(config(tmp_path)) == key
    assert caplog.text == ""
    assert [file.name for file in tmp_path.iterdir()] == [FILE]


def test_a_key_of_the_environment_comes_before_that_of_the_file(monkeypatch, tmp_path):
    of_file = defense_key(config(tmp_path))
    monkeypatch.setenv(VARIABLE, LONG)
    assert defense_key(config(tmp_path)) != of_file


@pytest.mark.parametrize("rights", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_can_open_is_refused(tmp_path, rights):
    defense_key(config(tmp_path))
    (tmp_path / FILE).chmod(rights)
    with pytest.raises(UserError, match=rf"{FILE} is open to others \(mode {rights:03o}\); run chmod 600"):
        defense_key(config(tmp_path))


@pytest.mark.parametrize("content", [b"", b"abc", b"00" * 31, b"xy" * 32, b"\xff" * 64])
def test_a_file_that_holds_no_key_is_refused_without_showing_it(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    (tmp_path / FILE).chmod(0o600)
    with pytest.raises(UserError, match=f"{FILE} holds no key of 64 hexadecimal digits") as error:
        defense_key(config(tmp_path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["tail_shuffle", "tail_random", "random"])
@pytest.mark.parametrize("short", ["", "hunter2"])
def test_a_guessable_key_is_refused_before_anything_is_trained(monkeypatch, tmp_path, name, short):
    monkeypatch.setenv(VARIABLE, short)
    with pytest.raises(UserError, match=rf"{VARIABLE}: {len(short)} characters are too few") as error:
        create_defense(name, config(tmp_path, random_keyed=True))
    assert "hunter2" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("folder", [None, ""])
def test_a_key_that_cannot_be_stored_is_refused(folder):
    with pytest.raises(UserError, match=rf"defense_key: .*set output_dir, .*{VARIABLE}.* or defense_key=seed"):
        defense_key(config(folder))


def test_a_folder_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"defense_key: .*defense\.key can be neither read nor made: ") as error:
        defense_key(config(tmp_path / "file"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("secret", ["correct horse battery staple\n", " a secret between blanks "])
def test_a_variable_is_found_again_as_it_stands(monkeypatch, secret):
    monkeypatch.setenv(VARIABLE, secret)
    key = defense_key({"defense_key": "secret"})
    assert key in possible_keys(secret.encode())  # the bytes of the variable, in a file
    assert key in possible_keys(f"{secret}\n".encode())  # as printenv writes it
