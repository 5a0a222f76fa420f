import pytest

from recbole_gro.cli.main import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: --target, --log"),
        (["--target=none.pth", "--log=x"], "checkpoint none.pth: no such file"),
        (["--target=none.pth", "--log=x", "detector"], "argument 'detector' is invalid"),
    ],
)
def test_invalid_words_end_in_one_line(capsys, words, message):
    assert main(["detect", *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_options_and_settings_reach_the_work(monkeypatch):
    import recbole_gro.http_service.detect as module

    given = []
    monkeypatch.setattr(module, "run_detect", lambda *arguments: given.append(arguments))
    words = ["--target=t.pth", "--log=l.db", "--benign=b.inter", "--output=o", "--detector=[mmd,prada]"]
    assert main(["detect", *words]) == 0
    assert given == [("t.pth", "l.db", "b.inter", "o", {"detector": "[mmd,prada]"})]
