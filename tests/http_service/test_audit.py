"""A served model under `recbole-gro audit`."""

import pytest
import torch
import yaml
from audit.cases import TINY
from recbole.utils import init_seed

from recbole_gro import BlackBox, Config, QueryLog, create_attacker, load_target

pytest.importorskip("starlette")
pytest.importorskip("httpx")
pytest.importorskip("jmespath")

from recbole_gro.audit.run import run_audit

K = 5


def test_an_audit_gets_the_log_and_surrogate_of_an_attack_in_process(start, checkpoint_of, tmp_path, monkeypatch):
    checkpoint = checkpoint_of("GRU4Rec")
    target, client = load_target(checkpoint), start(checkpoint)
    monkeypatch.setenv("SERVED_KEY", client.key(budget=1000))
    (tmp_path / "items.txt").write_text("\n".join(target.item_tokens[1:]))
    description = {
        "url": f"http://127.0.0.1:{client.port}/v1/recommend",
        "headers": {"Authorization": "Bearer ${SERVED_KEY}"},
        "request": {"history": "{history}", "k": "{k}"},
        "items": "list",
        "catalogue": "items.txt",
        "k": K,
        "rate": 1000,
    }
    (tmp_path / "service.yaml").write_text(yaml.safe_dump(description))
    settings = {name: str(value) for name, value in (TINY | {"output_dir": tmp_path / "out"}).items()}
    results = run_audit(str(tmp_path / "service.yaml"), command_line=settings)

    given = {**TINY, "served_k": K, "topk": [1, 5], "output_dir": str(tmp_path / "in_process")}
    config = Config("GRU4Rec", "service", config_dict=given)
    init_seed(TINY["seed"], True)
    attacker = create_attacker("standard", config)
    log = attacker.query(BlackBox(target, K), torch.Generator().manual_seed(TINY["seed"]))
    surrogate = attacker.train_surrogate(log, len(target.item_tokens)).model.state_dict()
    stored = QueryLog.load(tmp_path / "out" / "queries-standard.npz")
    assert torch.equal(stored.sequences, log.sequences)
    assert torch.equal(stored.lists, log.lists.long())
    extracted = torch.load(tmp_path / "out" / "surrogate-standard.pth", weights_only=True)["state_dict"]
    assert all(torch.equal(extracted[name], weights) for name, weights in surrogate.items())
    assert client.spent() == results["lists"]["given_out"]
