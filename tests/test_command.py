import pytest
from pipeline import TINY_RUN, files_below

from recbole_gro.command import main, parse
from recbole_gro.errors import UserError
from recbole_gro.keys import plugin_keys


@pytest.fixture
def command(tiny_data_path, tmp_path, monkeypatch, capsys):
    """Run the command on tiny data: `code, printed, errors = command("--served_k=3")`."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = main(["-d", "tiny", f"--data_path={tiny_data_path}", *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_help_lists_every_key_with_type_default_and_meaning(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for key in plugin_keys().values():
        assert f"--{key.name}  ({key.type}; default {key.default})" in text
        assert key.meaning in text


def test_whole_run(command, tmp_path):
    settings = [f"--{key}={value}" for key, value in TINY_RUN.items() if key != "load_col"]
    code, printed, _ = command(
        "-m", "NARM", *settings, "--embedding_size=8", "--output_dir=here", "--defense=[none, reverse]",
        "--load_col={'inter': ['user_id', 'item_id', 'timestamp']}",
    )  # fmt: skip
    assert code == 0
    assert "| reverse |" in printed
    assert "results.json" in files_below(tmp_path / "here")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "model: not set"),
        (["-m", "BERT5Rec"], "unknown model 'BERT5Rec'. Did you mean 'BERT4Rec'?"),
        (["-m", "BPR"], "BPR is a general model"),
        (["-m", "LightGBM"], "model"),
        (["-m", "NARM", "--gro_lamda=1"], "unknown key 'gro_lamda'; did you mean 'gro_lambda'?"),
        (["-m", "NARM", "--learning_rte=1"], "did you mean 'learning_rate'?"),
        (["-m", "NARM", "--defense=gor"], "unknown defense 'gor'. Did you mean 'gro'?"),
        (["-m", "NARM", "--query_strategy=autoregresive"], "Did you mean 'autoregressive'?"),
        (["-m", "NARM", "--config_files=grow.yaml"], "did you mean gro.yaml?"),
        (["-m", "NARM", "--served_k=5000"], "served_k: 5000 is too long for a catalogue of 30 items; at most 29"),
        (["-m", "NARM", "--served_k=many"], "served_k: 'many' is not allowed; it takes a whole number >= 2"),
        (["-m", "NARM", "--surrogate_model=Pop"], "Pop is a general model"),
        (["-m", "NARM", "--surrogate_config=absent.yaml"], "absent.yaml"),
        (["-m", "NARM", "--epochs=abc"], "epochs: 'abc' is not allowed; it takes a number"),
        (["-m", "NARM", "--seed=abc"], "seed: 'abc' is not allowed"),
        (["--gro_lamda=1"], "did you mean 'gro_lambda'?"),
        (["-m", "NARM", "--load_col=[user_id, item_id]"], "dataset tiny"),
        (["-m", "NARM", "--nproc=2"], "nproc: 2 is not supported"),
        (["-m", "NARM", "--served_k", "5"], "argument '--served_k' is not understood"),
        (["-m", "NARM", "--topk=[1, 500]"], "topk: position 500 lies past the served list"),
        (["-m", "NARM", "--train_rows=windows"], "windows are for masked models"),
        (["-m", "NARM", "-d", "no-such-data"], "no-such-data"),
        (["-m", "NARM", "--user_inter_num_interval=[900,inf)"], "dataset tiny"),
        (["-m", "NARM", "--metrics=[Hitt]"], "There is no metric named 'Hitt'"),
        (["-m", "NARM", "--output_dir=/proc/nowhere"], "output_dir: /proc/nowhere cannot be written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_ends_in_one_line_and_leaves_nothing(command, tmp_path, words, expected):
    catalogue_fits = any(word.startswith("--served_k") for word in words)
    code, _, errors = command(*words, *([] if catalogue_fits else ["--served_k=20"]), "--show_progress=False")
    assert code == 2
    assert len(errors.strip().splitlines()) == 1
    assert errors.startswith("recbole-gro: error: ")
    assert expected in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["-m"], ["-m", "NARM", "--config_files"]], ids=" ".join)
def test_an_option_without_its_value_ends_in_one_line(command, words):
    code, printed, errors = command(*words)
    assert (code, printed) == (2, "")
    assert len(errors.strip().splitlines()) == 1


def test_a_folder_in_use_is_left_alone(command, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    code, _, errors = command("-m", "NARM", "--served_k=20", "--output_dir=mine")
    assert code == 2
    assert errors == (
        "recbole-gro: error: output_dir: mine is not empty; name a new folder, so that no earlier run is lost\n"
    )
    assert files_below(tmp_path) == ["mine", "mine/notes.txt"]


def test_a_bad_config_file_is_named(command, tmp_path):
    (tmp_path / "mine.yaml").write_text("served_k: [1\n")
    code, _, errors = command("-m", "NARM", "--config_files=mine.yaml")
    assert code == 2
    assert "mine.yaml: not valid yaml" in errors
    (tmp_path / "mine.yaml").write_text("just words\n")
    assert "`key: value` lines are wanted" in command("-m", "NARM", "--config_files=mine.yaml")[2]


def test_settings_and_options_are_told_apart():
    call, settings = parse(["-m", "NARM", "--config_files=a.yaml b.yaml", "--gro_lambda=0.1", "--x={'a': 1}"])
    assert call == {"model": "NARM", "dataset": None, "config_file_list": ["a.yaml", "b.yaml"]}
    assert settings == {"gro_lambda": "0.1", "x": "{'a': 1}"}


def test_a_setting_given_twice_is_refused():
    with pytest.raises(UserError, match="twice"):
        parse(["--gro_lambda=1", "--gro_lambda=2"])


def test_stopping_by_hand_is_no_traceback(monkeypatch, capsys):
    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr("recbole_gro.quick_start.run_recbole_gro", interrupted)
    assert main(["-m", "NARM"]) == 130
    assert capsys.readouterr().err.strip() == "recbole-gro: stopped"
