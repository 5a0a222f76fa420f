import errno
import json
import multiprocessing
import os
import random
import time
import zlib
from pathlib import Path

import pytest
import torch
from pipeline import files_below

from recbole_gro import QueryLog, UserError
from recbole_gro.utils.files import load_state, one_at_a_time, plain_state, save_state, undamaged, written


def disk_full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_query_log(file):
    QueryLog(torch.ones(2, 3, dtype=torch.long), torch.ones(2, 3, 4, dtype=torch.long)).save(file)


@pytest.mark.parametrize("write", [lambda file: save_state(file, {"a": 2}), write_query_log])
def test_a_full_disk_is_reported_in_one_line_and_leaves_the_earlier_file(tmp_path, monkeypatch, write):
    file = tmp_path / "weights.pth"
    save_state(file, {"a": 1})
    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(UserError) as error:
        write(file)
    assert str(error.value) == f"{file} cannot be written: No space left on device"
    assert files_below(tmp_path) == ["weights.pth"]
    assert load_state(file) == {"a": 1}


def test_a_file_exists_only_when_it_is_complete(tmp_path):
    file = tmp_path / "words"
    with written(file) as stream:
        stream.write(b"half")
        assert files_below(tmp_path) == ["words.part"]
    assert file.read_bytes() == b"half"
    assert files_below(tmp_path) == ["words"]


def test_what_is_no_plain_data_is_refused(tmp_path):
    torch.save(Path, tmp_path / "code.pth")
    (tmp_path / "cut.pth").write_bytes(b"PK")
    for name in ("code.pth", "cut.pth", "absent.pth"):
        with pytest.raises(UserError, match=f"{name} is damaged or not a file of this run") as error:
            load_state(tmp_path / name)
        assert "\n" not in str(error.value)
        assert "weights_only" not in str(error.value)  # which torch advises to set to False
        assert str(error.value).endswith(": No such file or directory") == (name == "absent.pth")
        found = ": it holds a pathlib.Path, which is neither a plain value nor a tensor"
        assert str(error.value).endswith(found) == (name == "code.pth")


def test_a_changed_bit_is_never_read_as_other_contents(tmp_path):
    state = {"weights": torch.randn(40, 5), "names": [f"i{item}" for item in range(20)], "seconds": 1.5}
    save_state(tmp_path / "whole.pth", state)
    whole, flipped = (tmp_path / "whole.pth").read_bytes(), tmp_path / "flipped.pth"
    draw, refused = random.Random(1), 0
    for _ in range(300):
        content = bytearray(whole)
        content[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        flipped.write_bytes(content)
        try:
            found = load_state(flipped, remedy="delete it")
        except UserError as error:
            refused += str(error).startswith(f"{flipped} is damaged or not a file of this run; delete it")
        else:  # a bit that says nothing, such as of a time or of the space between two entries
            assert found.keys() == state.keys()
            assert torch.equal(found.pop("weights"), state["weights"])
            assert found == {name: value for name, value in state.items() if name != "weights"}
    assert refused > 200


def test_a_tensor_that_is_marked_as_a_folder_is_not_read_as_whatever_is_in_memory(tmp_path):
    save_state(tmp_path / "a.pth", {"weights": torch.randn(40, 5)})
    content = bytearray((tmp_path / "a.pth").read_bytes())
    name = content.rindex(b"data/0")
    entry = content.rindex(b"PK\x01\x02", 0, name)
    content[entry + 38] |= 0x10
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.pth is damaged or not a file of this run"):
        load_state(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("value", "reason"),
    [(lambda: 0, "PicklingError Can't pickle <function"), (Path("a"), r"pathlib\.\w+$")],
)
def test_a_state_that_cannot_be_saved_and_loaded_is_refused(value, reason):
    state = {"draws": [1, torch.ones(2)], "name": None}
    assert plain_state(state, "state_dict") is state
    with pytest.raises(UserError, match=f"^state_dict holds other than plain values and tensors: {reason}"):
        plain_state({"f": value}, "state_dict")


def lock_often(file, log, number, together):
    together.wait(30)
    for _ in range(40):
        with one_at_a_time(file):
            for said in ("in", "out"):
                with open(log, "a") as lines:
                    lines.write(f"{number} {said}\n")
                time.sleep(0.0005)


def test_one_process_at_a_time_holds_a_lock(tmp_path):
    file, log = tmp_path / "below" / "stage.pth", tmp_path / "log"
    fork = multiprocessing.get_context("fork")
    together = fork.Barrier(3)
    workers = [fork.Process(target=lock_often, args=(file, log, number, together)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 3
    lines = log.read_text().splitlines()
    assert len(lines) == 3 * 40 * 2
    assert all(lines[i].replace("in", "out") == lines[i + 1] for i in range(0, len(lines), 2))


def test_a_lock_that_cannot_be_made_is_named():
    with (
        pytest.raises(UserError, match=r"^/proc/nowhere/stage\.lock cannot be written: "),
        one_at_a_time("/proc/nowhere/stage"),
    ):
        pass


def test_a_lock_ends_with_an_error_too(tmp_path):
    with pytest.raises(KeyboardInterrupt), one_at_a_time(tmp_path / "a"):
        raise KeyboardInterrupt
    with one_at_a_time(tmp_path / "a", wait=False):
        assert files_below(tmp_path) == ["a.lock"]


def hold(file, held):
    with one_at_a_time(file):
        held.set()
        time.sleep(60)


def test_a_lock_ends_with_its_process_and_refuses_who_does_not_wait(tmp_path):
    fork = multiprocessing.get_context("fork")
    held = fork.Event()
    worker = fork.Process(target=hold, args=(tmp_path / "a", held))
    worker.start()
    assert held.wait(30)
    with pytest.raises(TimeoutError), one_at_a_time(tmp_path / "a", wait=False):
        pass
    worker.kill()
    worker.join(30)
    with one_at_a_time(tmp_path / "a", wait=False):
        pass


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), EOFError(), zlib.error("x"), RuntimeError("x")])
def test_a_damaged_file_is_one_line_with_its_remedy(error):
    with pytest.raises(UserError) as raised, undamaged("a.json", "delete it"):
        raise error
    assert str(raised.value) == "a.json is damaged; delete it"


def test_a_file_of_json_that_is_nested_too_deeply_is_damaged():
    with pytest.raises(UserError, match=r"^a\.json is damaged; delete it$"), undamaged("a.json", "delete it"):
        json.loads("[" * 100_000)


def test_a_file_that_cannot_be_read_is_not_called_damaged(tmp_path):
    with (
        pytest.raises(UserError, match=r"cannot be read: Is a directory$"),
        undamaged(tmp_path, "delete it"),
    ):
        tmp_path.read_text()


def test_a_message_of_the_block_stays(tmp_path):
    with pytest.raises(UserError, match=r"^epochs: wrong$"), undamaged("a.json", "delete it"):
        raise UserError("epochs: wrong")
