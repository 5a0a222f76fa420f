"""What GRO does to the lists, epoch by epoch: one row of benchmarks/effect_analysis.csv per epoch of each lambda.

    python benchmarks/effect_analysis.py [--settings lambda-0.3 base lambda-2 lambda-4 decoys] [--threads 1]
        [--KEY=VALUE ...]

Settings are those of effect.yaml; ml-100k, BERT4Rec, seed 1, from the same converged target as effect.py's rows. A
setting that is in the file is not run again. The columns `active`, `realised`, .. are means over the training steps of
the epoch, the others are seen on the lists of the validation users after it. effect_report.py draws them.
"""

from pathlib import Path

import torch
from common import append, command, machine, missing, output_file, positive
from effect import HERE, concentration, make_config, read_settings, undefended
from gro_knobs import KnobbedGRO

from recbole_gro import Service, swap_targets
from recbole_gro.config.models import copied_model
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.evaluator import evaluate_service
from recbole_gro.evaluator.agreement import agreement
from recbole_gro.quick_start.seeding import start_stage
from recbole_gro.quick_start.stage_cache import StageCache
from recbole_gro.utils.command_line import Parser, options_and_settings

STEP_COLUMNS = [
    "rows with g > 0", "rows with g < 0", "rows with g = 0",
    "active",  # share of rows whose swap target lies below the listed item: those with a gradient
    "realised",  # share of rows with g != 0 whose swap target ranks at the row's place or better
    "rank of the best", "rank of the worst",  # in the target, of the student's best and worst item: median over lists
    "swap targets a list",  # different items among those of a list
    "swap targets a batch",
    "pull on the worst",  # gradient of lambda L_swap by the target's score of the student's worst item, upwards
    "push on the worst",  # that of the target's loss, downwards
    "swap gradient", "loss gradient",  # norms, a list, of the gradients of lambda L_swap and the target's loss by T
]  # fmt: skip
EPOCH_COLUMNS = [
    "target ndcg@10", "target loss", "student loss", "swap loss", "student agreement@10",
    "changed top 10", "changed top 100", "entropy of top 10s, bits", "users with the most listed item",
]  # fmt: skip
COLUMNS = ["setting", "epoch", "lambda", *EPOCH_COLUMNS, *STEP_COLUMNS]


class AnalysedGRO(KnobbedGRO):
    """Record the swap step of every batch and the lists after every epoch."""

    def __init__(self, config, model, loaders, before):
        super().__init__(config, model)
        self.loaders, self.before = loaders, before
        self.steps, self.epochs_seen = [], []
        rule, term = self.swap_rule, self.swap_rule.term

        def watched(target_scores, served, student_scores, gradient):
            loss = term(target_scores, served, student_scores, gradient)
            self.steps.append(self.look(target_scores, served, student_scores, gradient, loss))
            return loss

        rule.term = watched

    def look(self, scores, served, student_scores, gradient, loss):
        """Return STEP_COLUMNS of a batch; its positives are not known here, so the target's push is its softmax."""
        swapped = swap_targets(student_scores, served, gradient)
        values, moved = scores.detach(), gradient != 0
        best, worst = student_scores[:, 1:].argmax(1) + 1, student_scores[:, 1:].argmin(1) + 1
        ranks = [(values[:, 1:] > values.gather(1, item.unsqueeze(1))).sum(1) + 1 for item in (best, worst)]
        active = moved & (values.gather(1, served) > values.gather(1, swapped))
        by_row = torch.arange(1, served.shape[1] + 1)
        rank = torch.where(gradient > 0, ranks[0].unsqueeze(1), ranks[1].unsqueeze(1))
        chance = values.softmax(1)
        found = [float((gradient > 0).float().mean()), float((gradient < 0).float().mean())]
        found += [1 - sum(found), float(active.float().mean()), float((rank <= by_row)[moved].float().mean())]
        found += [float(place.float().median()) for place in ranks]
        pairs = torch.zeros_like(values, dtype=torch.bool).scatter_(1, swapped, True)
        stays = torch.zeros_like(pairs).scatter_(1, served, True)
        found += [float((pairs & ~stays).sum(1).float().mean()), int((pairs & ~stays).any(0).sum())]
        if not loss.requires_grad:
            return [*found, 0.0, 0.0, 0.0, 0.0]
        (pull,) = torch.autograd.grad(self.gro_lambda * loss, scores, retain_graph=True)
        pull *= len(scores)
        found += [float(-pull.gather(1, worst.unsqueeze(1)).mean()), float(chance.gather(1, worst.unsqueeze(1)).mean())]
        # of cross-entropy: softmax less one at the positive, whose own chance is small
        return [*found, float(pull.norm(dim=1).mean()), float((chance.square().sum(1) + 1).sqrt().mean())]

    def validated(self, *_):
        """Measure the lists and the student after an epoch."""
        metrics, lists = evaluate_service(self.config, Service(self.model, self.served_k), *self.loaders)
        _, copies = evaluate_service(self.config, Service(self.student_scorer.model, self.served_k), *self.loaders)
        seen = concentration(lists["valid"], self.before["valid"])
        changed = 1 - agreement(lists["valid"], self.before["valid"], [self.served_k])[self.served_k]
        fidelity = agreement(lists["valid"], copies["valid"], [10])[10]
        epoch = [metrics["valid"]["ndcg@10"], *self.terms, fidelity, seen["changed top 10"], changed]
        epoch += [seen[key] for key in EPOCH_COLUMNS[-2:]]
        steps = torch.tensor(self.steps, dtype=torch.float64).mean(0).tolist()
        self.steps.clear()
        self.epochs_seen.append([len(self.epochs_seen) + 1, self.gro_lambda, *epoch, *steps])


def analyse(name, settings, folder):
    """Return the rows of a setting."""
    config = make_config(settings, 1, folder)
    loaders = train, valid, _ = build_loaders(config, build_dataset(config))
    target, before, _ = undefended(config, loaders, StageCache(folder))
    start_stage(config, "defense gro", train)
    trainer = AnalysedGRO(config, copied_model(target), loaders, before)
    trainer.eval_step = 1
    trainer.fit_gro(train, valid, verbose=False, saved=False, callback_fn=trainer.validated)
    return [dict(zip(COLUMNS, [name, *row], strict=True)) for row in trainer.epochs_seen]


def main(words):
    named = read_settings(HERE / "effect.yaml")
    parser = Parser(prog="effect_analysis")
    parser.add_argument(
        "--settings", nargs="+", default=["lambda-0.3", "base", "lambda-2", "lambda-4", "decoys"], choices=named
    )
    parser.add_argument("--file", type=output_file, default=HERE / "effect_analysis.csv")
    parser.add_argument("--folder", type=Path, default=Path("effect-work"))
    parser.add_argument("--threads", type=positive)
    given, own = options_and_settings(parser, words)
    if given.threads:
        torch.set_num_threads(given.threads)
    print(machine(), flush=True)
    for cell in missing(given.file, [{"setting": name} for name in given.settings]):
        for row in analyse(cell["setting"], {**named[cell["setting"]], **own}, given.folder):
            append(given.file, row, COLUMNS)
        print(row, flush=True)


if __name__ == "__main__":
    command(__file__, main)
