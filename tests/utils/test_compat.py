import io
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
import torch
from pipeline import untrained
from recbole.trainer import Trainer

from recbole_gro.data import build_dataset
from recbole_gro.utils import compat

CHECKOUT = Path(compat.__file__).parents[2]


def in_a_new_process(code, cwd):
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("enabled", [False, True])
def test_anomaly_detection_stays_as_the_user_set_it(tmp_path, enabled):
    code = (
        f"import torch; torch.autograd.set_detect_anomaly({enabled}); import recbole_gro; "
        "from recbole.model.sequential_recommender import SINE; print(torch.is_anomaly_enabled())"
    )
    assert in_a_new_process(code, tmp_path) == str(enabled)


def test_recboles_interaction_works_before_any_config_was_made(tmp_path):
    code = (
        "import recbole_gro; from recbole.data.interaction import Interaction; "
        "import numpy as np; np.float, np.int, np.bool, np.long, np.float_, np.complex_, np.unicode_; "
        "print(Interaction({'x': [1.0, 2.0]})['x'].dtype)"
    )
    assert in_a_new_process(code, tmp_path) == "torch.float32"


def test_recboles_own_dataset_is_read_without_its_warning_and_others_are_shown(tmp_path, tiny_data_path):
    settings = {
        "data_path": str(tiny_data_path), "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "train_neg_sample_args": None,
    }  # fmt: skip
    code = (
        "import sys; import warnings; from recbole.config import Config; from recbole.data import create_dataset; "
        "import recbole_gro; sys.argv = sys.argv[:1]; "
        f"config = Config('GRU4Rec', 'tiny', config_dict={settings}); warnings.simplefilter('error'); "
        "print(create_dataset(config).user_num > 1)\n"
        "import pandas; frame = pandas.DataFrame({'a': [1.0, None]})\n"
        "try: frame['a'].fillna(0, inplace=True)\n"
        "except FutureWarning: print('shown')"
    )
    assert in_a_new_process(code, tmp_path).splitlines() == ["True", "shown"]


def test_columns_of_sequences_are_read_without_pandas_warning_and_with_the_same_values(tmp_path):
    (tmp_path / "tags").mkdir()
    head = "user_id:token\titem_id:token\ttimestamp:float\tkinds:token_seq\tshape:float_seq\tform:float_seq\n"
    rows = [f"u{n % 3}\ti{n}\t{n}\t{'x y' if n % 2 else 'z'}\t{'1 3' if n % 2 else '2'}\t1 {n}" for n in range(12)]
    (tmp_path / "tags" / "tags.inter").write_text(head + "\n".join(rows) + "\n")
    settings = {
        "data_path": str(tmp_path), "load_col": None, "train_neg_sample_args": None, "normalize_field": ["shape"],
        "normalize_all": False, "discretization": {"form": {"method": "ED", "bucket": 2}},
        "numerical_features": ["shape", "form"],
    }  # fmt: skip
    code = (
        "import sys; import warnings; from recbole.config import Config; from recbole.data import create_dataset; "
        "import recbole_gro; sys.argv = sys.argv[:1]; "
        f"config = Config('GRU4Rec', 'tags', config_dict={settings}); warnings.simplefilter('error'); "
        "import numpy; import pandas; rows = create_dataset(config).inter_feat; "
        "kinds, shape = rows['kinds'][:2], rows['shape'][:2]; "
        "print([row.tolist() for row in kinds], [numpy.array(row[0]).tolist() for row in shape])\n"
        "try: pandas.Series([[1], [2]]).agg(len)\n"
        "except FutureWarning: print('shown')"
    )
    assert in_a_new_process(code, tmp_path).splitlines() == ["[[1], [2, 3]] [[0.5], [0.0, 1.0]]", "shown"]  # of 2; 1, 3


@pytest.mark.parametrize("metric", ["ItemCoverage", "GiniIndex", "AveragePopularity", "TailPercentage"])
def test_metrics_that_count_items_run_in_plain_recbole(make_loaders, tmp_path, monkeypatch, metric):
    monkeypatch.chdir(tmp_path)
    config, train, valid, test = make_loaders("NARM", metrics=["NDCG", metric])
    trainer = Trainer(config, untrained(config, train))
    trainer.fit(train, valid, verbose=False, saved=False)
    for _ in range(2):
        result = trainer.evaluate(test, load_best_model=False)
        assert any(name.startswith(metric.lower()) for name in result)


def test_item_coverage_is_the_share_of_items_listed(make_loaders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, train, _, test = make_loaders("NARM", metrics=["NDCG", "ItemCoverage"])
    trainer = Trainer(config, untrained(config, train))
    trainer.eval_collector.data_collect(train)
    result = trainer.evaluate(test, load_best_model=False)
    with torch.no_grad():
        scores = torch.cat([trainer.model.full_sort_predict(batch[0]) for batch in test])
    scores[:, 0] = -torch.inf
    listed = set(scores.topk(5).indices.flatten().tolist())
    assert result["itemcoverage@5"] == pytest.approx(len(listed) / trainer.model.n_items, abs=1e-4)


def test_no_tensorboard_writes_nothing(make_loaders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, train, _, _ = make_loaders("NARM")
    threads = threading.active_count()
    with compat.no_tensorboard():
        Trainer(config, untrained(config, train)).tensorboard.add_scalar("x", 1, 1)
    assert list(tmp_path.glob("*tensorboard*")) == []
    assert threading.active_count() == threads


def test_a_run_that_downloads_its_dataset_continues(make_config, tmp_path, monkeypatch):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        rows = "".join(f"u{n % 9}\tp{n // 9}\t{n}\n" for n in range(81))
        files.writestr("steam.inter", f"user_id:token\tproduct_id:token\ttimestamp:float\n{rows}")

    class Answer(io.BytesIO):
        def info(self):
            return {"Content-Length": len(self.getvalue())}

    monkeypatch.setattr("urllib.request.urlopen", lambda url: Answer(archive.getvalue()))
    names = {"load_col": {"inter": ["user_id", "product_id", "timestamp"]}, "data_path": str(tmp_path)}
    dataset = build_dataset(make_config(dataset="steam-not-merged", **names))
    assert len(dataset.inter_feat) == 81
