import os
import subprocess
import sys
from pathlib import Path

import pytest
from audit.cases import TINY, Recommender, service_file, words

import recbole_gro
from recbole_gro.audit.run import NOTICE
from recbole_gro.cli.main import main

pytest.importorskip("httpx")
pytest.importorskip("jmespath")


@pytest.fixture(autouse=True)
def _token(monkeypatch):
    monkeypatch.setenv("AUDIT_TOKEN", "token")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"url": None}, "service.yaml: url: not set"),
        ({"url": "ftp://here"}, "service.yaml: url: it starts with http"),
        ({"url": "http:///path"}, "service.yaml: url: it starts with http"),
        ({"url": "http://["}, "service.yaml: url: it starts with http"),
        ({"url": "http://here:x/"}, "service.yaml: url: it has characters that cannot be sent"),
        *(
            ({"url": f"http://{host}/r"}, "service.yaml: url: its host is no name of a host: each part between dots")
            for host in ("shop..example", ".example", "a" * 64 + ".example", "xn--", "xn--a")
        ),
        ({"url": "http://\u00e9..x/r"}, "service.yaml: url: it has characters that cannot be sent"),
        ({"catalogue": None, "seeds": ["a", "\ud800x"]}, "service.yaml: seeds: item '\\ud800x' has a lone surrogate"),
        ({"request": {"histories": "{histories}", "of": "\ud800"}}, "service.yaml: request: not JSON: 'utf-8' codec"),
        ({"ulr": "http://here"}, "service.yaml: unknown key 'ulr'. Did you mean 'url'?"),
        ({"rate": 0}, "service.yaml: rate: 0 is not allowed; it takes a number 0.0001 to 1000000"),
        ({"concurrency": "x"}, "service.yaml: concurrency: 'x' is not allowed"),
        *(
            (changed, f"service.yaml: {place}: environment variable NOT_SET_HERE is not set")
            for changed, place in (
                ({"url": "http://${NOT_SET_HERE}/"}, "url"),
                ({"headers": {"X-Key": "${NOT_SET_HERE}"}}, "headers: X-Key"),
                ({"request": {"histories": "{histories}", "k": "{k}", "of": ["${NOT_SET_HERE}"]}}, "request: of"),
            )
        ),
        ({"headers": {"X-Key": "\u20ac"}}, "service.yaml: headers: it has characters that cannot be sent"),
        *(
            ({"headers": {name.lower(): value}}, f"service.yaml: headers: {name} is set for each request by itself")
            for name, value in (("Content-Length", "52"), ("Transfer-Encoding", "chunked"), ("Accept-Encoding", "br"))
        ),
        ({"headers": ["a"]}, "service.yaml: headers: ['a'] is not allowed"),
        ({"request": {"k": "{k}"}}, "service.yaml: request: each history must be in it once"),
        ({"request": "{'no': json}"}, "service.yaml: request: not JSON"),
        ({"items": "a[?"}, "service.yaml: items: not a JMESPath expression"),
        ({"catalogue": "none.txt"}, "none.txt: No such file"),
        ({"catalogue": None}, "service.yaml: catalogue: not set"),
        ({"k": 24}, "catalogue: it has 24 items, lists of k=24 take 25 or more; lower k"),
        ({"item_type": "int"}, "service.yaml: item_type: item 'item-1' is no whole number"),
    ],
)
def test_invalid_descriptions_end_in_one_line_and_nothing_is_written(tmp_path, capsys, changed, message):
    file = service_file(tmp_path, "http://127.0.0.1:9/", **changed)
    assert main(["audit", f"--black_box={file}", *words(output_dir=tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "socks://user:pass-word@127.0.0.1:9"),
        ("HTTPS_PROXY", "proxy.example:pass-word"),
        ("NO_PROXY", "[::1],pass-word"),
        ("SSL_CERT_FILE", "pass-word.pem"),
    ],
)
def test_a_proxy_or_certificates_that_httpx_does_not_take_end_in_one_line(tmp_path, monkeypatch, capsys, name, value):
    monkeypatch.setenv(name, value)
    file = service_file(tmp_path, "https://127.0.0.1:9/")
    assert main(["audit", f"--black_box={file}", *words(output_dir=tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "service.yaml: httpx takes no proxy or certificates as the environment has them" in error
    assert name in error
    assert error.count("\n") == 1
    assert "pass-word" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--query_sequences=1"], "query_sequences: 1 is not allowed"),
        (["--query_sequenzes=2"], "unknown key 'query_sequenzes'"),
        (["--rate=8"], "service.yaml, the description of the service; set it there"),
        (["--timeout=8"], "timeout: a key of "),
        (["--headers={'a': 'b'}"], "headers: a key of "),
        (["--attacker=oracle"], "attacker: oracle needs histories of users"),
        (["--attacker=few_shot"], "attacker: few_shot needs histories of users"),
        (["--attacker=nobody"], "unknown attacker 'nobody'"),
        (["--histories=none.inter"], "none.inter: No such file"),
        (
            ["--topk=[1,20]", "--histories=none.inter"],
            "topk: position 20 is beyond the lists (k=5 of the service's description); lower topk or raise k",
        ),
        (
            ["--topk=6", "--histories=none.inter"],
            "topk: position 6 is beyond the lists (k=5 of the service's description); lower topk or raise k",
        ),
        (["--topk=x", "--histories=none.inter"], "topk: 'x' is not allowed"),
        (["--served_k=3"], "served_k: the length of lists is k"),
        (["--data_path=/nowhere"], "data_path: an audit reads no dataset"),
        (["--black_box=nothing"], "black_box: 'nothing' is neither a yaml file nor module:function"),
        (["--black_box=no_module:f"], "black_box: no_module:f: No module named 'no_module'"),
        (["--black_box=none.yaml"], "black_box: none.yaml: no such file"),
        (["--k=0"], "service.yaml: k: 0 is not allowed; it takes a whole number >= 2"),
        (["--k=-3"], "service.yaml: k: -3 is not allowed; it takes a whole number >= 2"),
        (["--catalogue="], "argument --catalogue: it is empty"),
        (["--black_box=gro.yaml"], "black_box: gro.yaml: no such file"),
        (["--k=five"], "argument --k: invalid int value: 'five'"),
    ],
)
def test_invalid_arguments_end_in_one_line_and_nothing_is_written(tmp_path, capsys, given, message):
    file = service_file(tmp_path, "http://127.0.0.1:9/")
    settings = {name: value for name, value in TINY.items() if not given[0].startswith(f"--{name}=")}
    rest = [f"--{name}={value}" for name, value in settings.items()]
    box = [] if given[0].startswith("--black_box=") else [f"--black_box={file}"]
    assert main(["audit", *box, *rest, f"--output_dir={tmp_path / 'out'}", *given]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_key_of_a_description_on_the_command_line_is_one_of_the_file_that_was_given(tmp_path, monkeypatch, capsys):
    file = Path(service_file(tmp_path, "http://127.0.0.1:9/")).rename(tmp_path / "shop.yaml")
    (tmp_path / "described_shop.py").write_text("def recommend(histories):\n    return []\n")
    monkeypatch.chdir(tmp_path)
    for box, message in (
        ([f"--black_box={file}"], f"rate: a key of {file}, the description of the service; set it there"),
        (
            ["--black_box=described_shop:recommend", "--catalogue=items.txt", "--k=5"],
            "rate: a key of the yaml file that describes a service over HTTP; described_shop:recommend is a function",
        ),
    ):
        assert main(["audit", *box, "--rate=8", *words(output_dir=tmp_path / "out")]) == 2
        assert message in (error := capsys.readouterr().err)
        assert error.count("\n") == 1


def test_a_budget_without_a_list_for_the_catalogue_is_named(tmp_path, capsys):
    file = service_file(tmp_path, "http://127.0.0.1:9/", catalogue=None, seeds=["item-1", "item-2"])
    assert main(["audit", f"--black_box={file}", *words(output_dir=tmp_path / "out", query_sequences=3)]) == 2
    message = "query_sequences: no list is left to collect the catalogue with; raise it"
    assert message in (error := capsys.readouterr().err)
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_first_line_says_whose_services_it_is_for(tmp_path, capsys):
    with Recommender(lambda number, histories: (401, {}, "no")) as recommender:
        file = service_file(tmp_path, recommender.url)
        assert main(["audit", f"--black_box={file}", *words(output_dir=tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == NOTICE
    assert 'the service refuses this account (status 401, not authorized: "no")' in captured.err
    assert captured.err.count("\n") == 1


def test_quiet_shows_the_table_alone_and_a_finished_audit_shows_it_again(tmp_path, capsys):
    with Recommender() as recommender:
        file = service_file(tmp_path, recommender.url)
        given = ["audit", f"--black_box={file}", *words(output_dir=tmp_path / "out"), "--attacker=[standard,head]"]
        shown = [(main([*given, *more]), capsys.readouterr().out) for more in (["--quiet"], ["--quiet"], [])]
    assert [status for status, _ in shown] == [0, 0, 0]
    first, again, loud = (text for _, text in shown)
    assert first == again
    assert first.strip() in loud
    lines = first.splitlines()
    assert [line.split("|")[1].split()[0] for line in lines[2:4]] == ["standard", "head"]  # marks may follow
    assert sum("*" in line for line in lines[2:4]) == 1
    assert "lists of random items would agree on 20.8 %" in first


def test_the_extra_is_imported_by_this_subcommand_alone():
    code = "import sys, recbole_gro.cli.main, recbole_gro.cli.audit; print({'httpx', 'jmespath'} & {*sys.modules})"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(recbole_gro.__file__).parents[1]), *sys.path])}
    assert subprocess.check_output([sys.executable, "-c", code], text=True, env=environment).strip() == "set()"
