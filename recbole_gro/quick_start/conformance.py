"""Whether a model works as target, student and surrogate, tried out on the first 60 users of ml-100k.

    recbole-gro check-model SASRec my_module:MyModel

The same trials are the test suite of the package's models, and docs/models.md is their table.
"""

import argparse
import contextlib
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import recbole
import torch
from recbole.utils import init_seed
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from recbole_gro.attack import BlackBox, ExtractionTrainer, create_query_strategy, create_surrogate
from recbole_gro.config.config import Config
from recbole_gro.config.models import CANNOT_SERVE, copied_model, reference_to, sequential_models
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.defense import GROTrainer
from recbole_gro.report import document
from recbole_gro.scoring import AnonymousUserScorer, MaskedScorer, create_scorer
from recbole_gro.serving.saved_target import load_target
from recbole_gro.serving.service import Service
from recbole_gro.trainer.base import TargetTrainer
from recbole_gro.utils.command_line import exit_code
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.random_state import global_state_kept

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
    "surrogate_knows_features": True,
    "show_progress": False,
    "seed": 1,
}


class Failed(Exception):
    """A trial that a model did not pass; the message says what was seen."""


def expect(condition: object, otherwise: str) -> None:
    """Raise Failed unless the condition holds."""
    if not condition:
        raise Failed(otherwise)


def first_users(folder: Path, users: int = USERS) -> Path:
    """Write the first users of the ml-100k that ships with RecBole as dataset `first-users` below `folder`."""
    source = Path(recbole.__file__).parent / "dataset_example" / "ml-100k"
    target = folder / "first-users"
    target.mkdir(parents=True)
    seen = set()
    with open(source / "ml-100k.inter") as read, open(target / "first-users.inter", "w") as write:
        write.write(next(read))
        for line in read:
            user, item, *_ = line.split("\t")
            if int(user) <= users:
                seen.add(item)
                write.write(line)
    with open(source / "ml-100k.item") as read, open(target / "first-users.item", "w") as write:
        write.write(next(read))
        write.writelines(line for line in read if line.split("\t", 1)[0] in seen)
    return folder


class Trial:
    """One model's trials. What several of them need (the trained target, its answers) is made once.

    Args:
        model: RecBole's name of a model, `module:Class`, or a class.
        data_path: folder that `first_users` wrote.
        folder: where checkpoints go.
        settings: keys of the model over those of the trials.
    """

    def __init__(self, model: str | type, data_path: Path, folder: Path, **settings):
        given = {**SETTINGS, "data_path": str(data_path), "checkpoint_dir": str(folder), **settings}
        self.config = Config(model, "first-users", config_dict=given)
        self.config["output_dir"] = str(folder)

    @cached_property
    def loaders(self):
        return build_loaders(self.config, build_dataset(self.config))

    @cached_property
    def target(self):
        """The model after a short training, and the losses of its epochs."""
        init_seed(1, True)
        train, valid, _ = self.loaders
        trainer = TargetTrainer(self.config, self.config.model_class(self.config, train._dataset))
        trainer.fit(train, valid, verbose=False)
        trainer.load_saved()
        return trainer.model.eval(), trainer.train_loss_dict, trainer.saved_model_file

    @cached_property
    def queries(self):
        """What an attacker asked the target, and was answered."""
        box = BlackBox(self.target[0], LISTED)
        ask = create_query_strategy("autoregressive")
        return ask(box, self.config["query_sequences"], LENGTH, torch.Generator().manual_seed(2), False)

    def synthetic(self) -> tuple[Tensor, Tensor]:
        """Histories of every length, [B, LENGTH] and [B]."""
        lengths = torch.arange(1, LENGTH + 1)
        items = torch.randint(1, self.target[0].n_items, (LENGTH, LENGTH), generator=torch.Generator().manual_seed(3))
        return items * (torch.arange(LENGTH) < lengths.unsqueeze(1)), lengths

    # as a target

    def training_lowers_its_loss(self) -> None:
        losses = list(self.target[1].values())
        expect(losses[-1] < losses[0], f"its loss went from {losses[0]:.4g} to {losses[-1]:.4g} in training")

    def a_black_box_answers_with_lists(self) -> None:
        sequences, _ = self.synthetic()
        lists = BlackBox(self.target[0], LISTED).query(sequences)
        n_items = self.loaders[0]._dataset.item_num
        expect(lists.shape == (LENGTH, LISTED), f"asked for {LENGTH} lists of {LISTED} it gave {tuple(lists.shape)}")
        expect(all(len(set(row)) == LISTED for row in lists.tolist()), "a list names an item twice")
        expect(int(lists.min()) >= 1, "a list holds the padding item 0")
        expect(int(lists.max()) < n_items, "a list holds what is no item, such as the mask token")

    def scores_do_not_depend_on_other_rows(self) -> None:
        scorer, (sequences, lengths) = create_scorer(self.target[0]), self.synthetic()
        together = scorer.next_item_scores(sequences, lengths)
        alone = torch.cat([scorer.next_item_scores(sequences[i : i + 1], lengths[i : i + 1]) for i in range(LENGTH)])
        _expect_close(together, alone, "scores depend on the other rows of a batch")

    def scores_do_not_depend_on_padding(self) -> None:
        scorer, (sequences, lengths) = create_scorer(self.target[0]), self.synthetic()
        wide = scorer.next_item_scores(functional.pad(sequences, (0, 3)), lengths)
        bare = [scorer.next_item_scores(sequences[i : i + 1, : i + 1], lengths[i : i + 1]) for i in range(LENGTH)]
        _expect_close(wide, torch.cat(bare), "scores depend on padding")

    def one_item_queries_differ(self) -> None:
        lists = BlackBox(self.target[0], LISTED).query(torch.arange(1, 101).unsqueeze(1))
        expect(len(torch.unique(lists, dim=0)) > 1, "queries of one item all get the same list")

    def its_checkpoint_serves_the_same_lists(self) -> None:
        model, _, file = self.target
        own = None if self.config.model_class.__name__ in sequential_models() else self.config.model_class
        sequences, _ = self.synthetic()
        before = Service(model, LISTED).recommend(sequences)
        after = load_target(file, own).recommend(sequences, LISTED)
        expect(torch.equal(before, after), "its checkpoint, loaded again, serves other lists")

    # as a student

    def gro_lowers_its_losses(self) -> None:
        init_seed(4, True)
        train, valid, _ = self.loaders
        trainer = GROTrainer(self.config, copied_model(self.target[0]))
        trainer.fine_tune(train, valid, verbose=False, saved=False)
        losses = list(trainer.train_loss_dict.values())
        expect(losses[-1] < losses[0], f"Eq. 6 went from {losses[0]:.4g} to {losses[-1]:.4g} over the epochs of GRO")
        lists = BlackBox(trainer.model, LISTED).query(self.synthetic()[0])
        expect(int(lists.min()) >= 1, "after GRO a list holds the padding item 0")

    # as a surrogate

    def a_copy_agrees_more_than_an_untrained_one(self) -> None:
        init_seed(5, True)
        n_items = self.loaders[0]._dataset.item_num
        surrogate, config = create_surrogate(self.config, n_items, self.loaders[0]._dataset)
        surrogate_trainer = ExtractionTrainer(config, surrogate)
        queries, held_out = surrogate_trainer.loaders(self.queries)
        untrained = surrogate_trainer.held_out_figures(held_out)["agreement@10"]
        surrogate_trainer.fit(queries, held_out, verbose=False)
        trained = surrogate_trainer.best_valid_result["agreement@10"]
        expect(
            trained > untrained,
            f"of held-out top tens a trained copy has {trained:.1%}, an untrained one {untrained:.1%}",
        )


def _expect_close(one: Tensor, other: Tensor, otherwise: str) -> None:
    difference = float((one - other).detach().abs().max())
    expect(torch.allclose(one, other, rtol=1e-4, atol=1e-4), f"{otherwise} (by up to {difference:.2g})")


ROLES: dict[str, list[Callable[[Trial], None]]] = {
    "target": [
        Trial.training_lowers_its_loss,
        Trial.a_black_box_answers_with_lists,
        Trial.scores_do_not_depend_on_other_rows,
        Trial.scores_do_not_depend_on_padding,
        Trial.one_item_queries_differ,
        Trial.its_checkpoint_serves_the_same_lists,
    ],
    "student": [Trial.gro_lowers_its_losses],
    "surrogate": [Trial.a_copy_agrees_more_than_an_untrained_one],
}


def remark(trial: Trial) -> str:
    """What there is to know about a model that works."""
    said = []
    if isinstance(create_scorer(trial.target[0]), AnonymousUserScorer):
        said.append("scores with the user's embedding: every list is for one unknown user, the mean of the known ones")
    if trial.config["selected_features"]:
        fields = ", ".join(trial.config["selected_features"])
        said.append(f"reads item features ({fields}); as surrogate with surrogate_knows_features=True")
    if isinstance(create_scorer(trial.target[0]), MaskedScorer):
        said.append("a mask after the last item; RecBole's own evaluation drops the oldest item for it")
    return "; ".join(said)


def try_out(model: str | type, data_path: Path) -> dict[str, str]:
    """The model's row of the table: `works`, or why not, for each role, and a remark.

    Raises:
        UserError: there is no such model.
    """
    if model in CANNOT_SERVE:
        return {**dict.fromkeys(ROLES, "no"), "remark": CANNOT_SERVE[str(model)]}
    row = {}
    with tempfile.TemporaryDirectory() as folder, _quiet():
        trial = Trial(model, data_path, Path(folder))
        for role, checks in ROLES.items():
            try:
                for check in checks:
                    check(trial)
                row[role] = "works"
            except (Failed, UserError) as error:
                row[role] = f"no: {error}"
        row["remark"] = remark(trial)
        row["name"] = reference_to(trial.config.model_class)
    return row


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """RecBole's log held back; FEARec prints, too."""
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(None):
            yield
    finally:
        logging.disable(logging.NOTSET)


def markdown_table(rows: dict[str, dict[str, str]]) -> str:
    """Return the table of docs/models.md, one row per model."""
    head = ["model", *ROLES, "remark"]
    lines = [[name, *(row[column] for column in head[1:])] for name, row in rows.items()]
    return "\n".join(document.markdown_table(head, lines, len(head)))


@global_state_kept()
def main(arguments: list[str] | None = None) -> int:
    """Try out the models named, or all of RecBole's; print the table, and put it into a page with --write.

    The exit code is 1 where a model that was named does not work in some role.
    """
    parser = argparse.ArgumentParser(prog="recbole-gro check-model", description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*", help="RecBole's names or module:Class; none given: all of RecBole's")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between the page's table marks")
    given = argparse.Namespace()
    rows: dict[str, dict[str, str]] = {}

    def work(words: list[str]) -> None:
        parser.parse_args(words, given)
        with tempfile.TemporaryDirectory() as folder:
            data_path = first_users(Path(folder))
            for model in tqdm(given.models or sorted(sequential_models()), desc="models", unit="model"):
                rows[model] = try_out(model, data_path)

    if code := exit_code("recbole-gro check-model", work, arguments):
        return code
    print(markdown_table(rows))
    if given.write:
        before, _, rest = given.write.read_text(encoding="utf-8").partition("<!-- table -->")
        _, _, after = rest.partition("<!-- end -->")
        page = f"{before}<!-- table -->\n{markdown_table(rows)}\n<!-- end -->{after}"
        given.write.write_text(page, encoding="utf-8")
    works = all(row[role] == "works" for row in rows.values() for role in ROLES)
    return 0 if works or not given.models else 1


if __name__ == "__main__":
    sys.exit(main())
