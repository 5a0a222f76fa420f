"""Trials of a model as target, student and surrogate, on the first 60 users of ml-100k.

`recbole-gro check-model` runs them, and so does the test suite of the package's models.
"""

import csv
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import recbole
import torch
from recbole.utils import init_seed
from torch import Tensor, nn
from torch.nn import functional

from recbole_gro.attack import BlackBox, ExtractionTrainer, create_query_strategy, create_surrogate
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.config.config import Config
from recbole_gro.config.models import copied_model, sequential_models
from recbole_gro.config.properties import recbole_keys
from recbole_gro.config.settings import declared_keys
from recbole_gro.data import build_dataset, build_loaders, train_rows_of
from recbole_gro.defense import GROTrainer
from recbole_gro.quick_start.repeatable import TOLERANCE, rows_together_and_alone
from recbole_gro.quick_start.settings import OutputSettings
from recbole_gro.scoring import create_scorer
from recbole_gro.serving.saved_target import load_target
from recbole_gro.serving.service import Service
from recbole_gro.trainer.base import TargetTrainer
from recbole_gro.utils.errors import UserError, check_spelling

USERS = 60
LISTED = 20
LENGTH = 10  # MAX_ITEM_LIST_LENGTH
SETTINGS = {
    "MAX_ITEM_LIST_LENGTH": LENGTH,
    "served_k": LISTED,
    "topk": [10],
    "epochs": 3,
    "eval_step": 3,
    "train_batch_size": 256,
    "gro_epochs": 2,
    "query_sequences": 100,
    "surrogate_epochs": 8,
    "surrogate_learning_rate": 0.005,
    "surrogate_batch_size": 64,
    "surrogate_min_steps": 1,
    "surrogate_knows_features": True,
    "show_progress": False,
    "seed": 1,
}


def check_settings(given: Iterable[str]) -> None:
    """Check that settings of a model are known, and none of those that the trials set.

    Args:
        given: their names.

    Raises:
        UserError: one is not.
    """
    own = {*SETTINGS, *OutputSettings.names, "model", "dataset", "data_path", "config_files", "train_rows"}
    if both := sorted(own & {*given}):
        raise UserError(f"{both[0]}: check-model sets it itself; give settings of the model alone")
    check_spelling(given, own, recbole_keys() | declared_keys().keys())


class TrialFailed(Exception):
    """A trial that a model did not pass; the message states what was measured."""


def expect(condition: object, otherwise: str) -> None:
    """Raise TrialFailed with the message `otherwise` unless the condition holds."""
    if not condition:
        raise TrialFailed(otherwise)


def write_first_users(folder: Path) -> Path:
    """Write the first users of the ml-100k that ships with RecBole as dataset `first-users`; return the folder."""
    source = Path(recbole.__file__).parent / "dataset_example" / "ml-100k"
    as_text: dict[str, Any] = {"sep": "\t", "quoting": csv.QUOTE_NONE}
    interactions, items = (
        pd.read_csv(source / f"ml-100k.{kind}", dtype=str, keep_default_na=False, **as_text)
        for kind in ("inter", "item")
    )
    interactions = interactions[interactions["user_id:token"].astype(int) <= USERS]
    items = items[items["item_id:token"].isin(interactions["item_id:token"])]
    (folder / "first-users").mkdir(parents=True)
    for table, kind in ((interactions, "inter"), (items, "item")):
        table.to_csv(folder / "first-users" / f"first-users.{kind}", index=False, **as_text)
    return folder


class ModelTrials:
    """The trials of one model, as methods; each raises TrialFailed where the model does not pass.

    What several trials need (the trained target, a query log of its lists) is made once.

    Args:
        model: RecBole's name of a model, `module:Class`, or a class.
        data_path: folder that `write_first_users` returned.
        folder: for checkpoints.
        settings: keys that take precedence over those of the trials.

    Raises:
        UserError: an unknown model, or one that cannot serve lists.
    """

    def __init__(self, model: str | type, data_path: Path, folder: Path, **settings: Any):
        given = {**SETTINGS, "data_path": str(data_path), "checkpoint_dir": str(folder), **settings}
        self.config = Config(model, "first-users", config_dict=given)
        self.config["output_dir"] = str(folder)

    @cached_property
    def loaders(self) -> Any:
        """The loaders of training, validation and test rows."""
        return build_loaders(self.config, build_dataset(self.config))

    def _new_model(self, dataset: Any) -> nn.Module:
        return self.config.model_class(self.config, dataset).to(self.config["device"])

    @cached_property
    def trained(self) -> TargetTrainer:
        """The target's trainer after a short training, with the saved weights loaded."""
        init_seed(1, True)
        train, valid, _ = self.loaders
        model = self._new_model(train._dataset)
        with torch.random.fork_rng():
            Service(model, 1).recommend([[1]])  # names what is no score per item, which RecBole's evaluation would not
        trainer = TargetTrainer(self.config, model)
        trainer.fit(train, valid, verbose=False)
        trainer.load_saved()
        return trainer

    @cached_property
    def target(self) -> nn.Module:
        """The trained target, in evaluation mode."""
        return self.trained.model.eval()

    @cached_property
    def query_log(self) -> QueryLog:
        """Autoregressive queries to the target, and the lists that it returned."""
        black_box, generator = BlackBox(self.target, LISTED), torch.Generator().manual_seed(2)
        strategy = create_query_strategy("autoregressive")
        return strategy.query(black_box, self.config["query_sequences"], LENGTH, generator)

    @cached_property
    def histories(self) -> tuple[Tensor, Tensor]:
        """Synthetic histories [LENGTH, LENGTH], one of each length, and their lengths [LENGTH]."""
        lengths = torch.arange(1, LENGTH + 1)
        items = torch.randint(
            1, self.loaders[0]._dataset.item_num, (LENGTH, LENGTH), generator=torch.Generator().manual_seed(3)
        )
        items *= torch.arange(LENGTH) < lengths.unsqueeze(1)
        return items.to(self.config["device"]), lengths.to(self.config["device"])

    # as a target

    def training_lowers_the_loss(self) -> None:
        """Compare the training loss of the first epoch with that of the last."""
        first, *_, last = self.trained.train_loss_dict.values()
        expect(last < first, f"its loss went from {first:.4g} to {last:.4g} in training")

    def lists_hold_items_once(self) -> None:
        """Query the target with histories of every length and check the lists."""
        lists = BlackBox(self.target, LISTED).query(self.histories[0])
        expect(lists.shape == (LENGTH, LISTED), f"{LENGTH} lists of {LISTED} were expected, not {tuple(lists.shape)}")
        expect(all(len(set(row)) == LISTED for row in lists.tolist()), "a list holds an item twice")
        expect(int(lists.min()) >= 1, "a list holds the padding item 0")
        expect(int(lists.max()) < self.loaders[0]._dataset.item_num, "a list holds an id that is no item's")

    def scores_do_not_depend_on_other_rows(self) -> None:
        """Compare the scores of a batch with those of its rows one by one."""
        _expect_close(
            *rows_together_and_alone(self.target, *self.histories), "scores depend on the other rows of a batch"
        )

    def scores_do_not_depend_on_padding(self) -> None:
        """Compare the scores of padded histories with those of the same histories without padding."""
        scorer, (sequences, lengths) = create_scorer(self.target), self.histories
        padded = scorer.next_item_scores(functional.pad(sequences, (0, 3)), lengths)
        bare = [scorer.next_item_scores(sequences[i : i + 1, : i + 1], lengths[i : i + 1]) for i in range(LENGTH)]
        _expect_close(padded, torch.cat(bare), "scores depend on padding")

    def whole_sequences_score_as_prefixes(self) -> None:
        """Compare the scores at the positions of a training batch of whole sequences with those of its prefixes."""
        if train_rows_of(self.config) == "sequences":
            batch = next(iter(self.loaders[0]))
            expect(
                create_scorer(self.target).reads_no_later_item(batch),
                "scores after a prefix depend on the items that follow; train_rows=prefixes trains it",
            )

    def lists_differ_between_queries(self) -> None:
        """Query the target with single items and compare the lists."""
        lists = BlackBox(self.target, LISTED).query(torch.arange(1, 101).unsqueeze(1))
        expect(len(torch.unique(lists, dim=0)) > 1, "queries of one item all get the same list")

    def checkpoint_serves_the_same_lists(self) -> None:
        """Compare the lists of the target with those of its checkpoint, loaded again."""
        model_class = self.config.model_class
        own = None if model_class.__name__ in sequential_models() else model_class
        before = Service(self.target, LISTED).recommend(self.histories[0])
        after = load_target(self.trained.saved_model_file, own).recommend(self.histories[0], LISTED)
        expect(torch.equal(before, after), "its checkpoint, loaded again, serves other lists")

    # as a student

    def gro_lowers_the_losses(self) -> None:
        """Fine-tune a copy of the target with GRO, beside a student of the same model."""
        init_seed(4, True)
        train, valid, _ = self.loaders
        trainer = GROTrainer(self.config, copied_model(self.target))
        trainer.fit_gro(train, valid, verbose=False, saved=False)
        first, *_, last = trainer.train_loss_dict.values()
        expect(last < first, f"Eq. 6 went from {first:.4g} to {last:.4g} over the epochs of GRO")
        lists = BlackBox(trainer.model, LISTED).query(self.histories[0])
        expect(int(lists.min()) >= 1, "after GRO a list holds the padding item 0")

    # as a surrogate

    def training_raises_agreement(self) -> None:
        """Compare agreement with held-out lists before and after training on the query log."""
        init_seed(5, True)
        dataset = self.loaders[0]._dataset
        surrogate, config = create_surrogate(self.config, dataset.item_num, dataset)
        trainer = ExtractionTrainer(config, surrogate)
        queries, held_out = trainer.loaders(self.query_log)
        untrained = trainer.held_out_figures(held_out)["agreement@10"]
        trainer.fit(queries, held_out, verbose=False)
        trained = trainer.best_valid_result["agreement@10"]
        expect(
            trained > untrained,
            f"held-out agreement@10 went from {untrained:.1%} to {trained:.1%} in training; it may learn too little in "
            f"this short trial: a higher --learning_rate of the target, or a wider model, may show more",
        )


def _expect_close(one: Tensor, other: Tensor, otherwise: str) -> None:
    difference = float((one - other).detach().abs().max())
    expect(torch.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE), f"{otherwise} (by up to {difference:.2g})")


TRIALS_BY_ROLE: dict[str, list[Callable[[ModelTrials], None]]] = {
    "target": [
        ModelTrials.training_lowers_the_loss,
        ModelTrials.lists_hold_items_once,
        ModelTrials.scores_do_not_depend_on_other_rows,
        ModelTrials.scores_do_not_depend_on_padding,
        ModelTrials.whole_sequences_score_as_prefixes,
        ModelTrials.lists_differ_between_queries,
        ModelTrials.checkpoint_serves_the_same_lists,
    ],
    "student": [ModelTrials.gro_lowers_the_losses],
    "surrogate": [ModelTrials.training_raises_agreement],
}
