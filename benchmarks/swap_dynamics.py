"""What GRO's swap step does, epoch by epoch: one row of benchmarks/swap_dynamics.csv per lambda, seed and epoch.

    python benchmarks/swap_dynamics.py [--lambdas 0.3 1 2 4] [--seeds 1 2 3] [--picture FILE] [--KEY=VALUE ...]

GRO fine-tunes the converged target on ml-100k. A lambda and seed that are in the file are not run again. STEP_COLUMNS
are means over the training steps of an epoch, EPOCH_COLUMNS are measured on the validation users after it. `--picture`
draws the means over seeds of all that is in the file.
"""

import itertools
from pathlib import Path

import pandas as pd
import torch
from common import append, command, machine, missing, output_file, positive

from recbole_gro import Config, GROTrainer, Service, swap_targets
from recbole_gro.config.models import copied_model
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.evaluator import evaluate_service
from recbole_gro.evaluator.agreement import agreement
from recbole_gro.quick_start.seeding import start_stage
from recbole_gro.quick_start.stage_cache import StageCache
from recbole_gro.quick_start.stage_fingerprints import Fingerprints
from recbole_gro.quick_start.stages import Stages
from recbole_gro.utils.command_line import Parser, options_and_settings

HERE = Path(__file__).parent
STEP_COLUMNS = [
    "positions with g > 0",  # shares of the positions of lists, by the sign of the gradient of Eq. 4
    "positions with g < 0",
    "active positions",  # share whose swap target scores below the listed item: those with a swap loss
    "swap targets reached",  # share of those with g != 0 whose swap target ranks at the position or better
    "rank of the best item",  # of the student, in the target: median over lists
    "rank of the worst item",
    "swap targets per list",  # different items among those of a list that are to be swapped
    "target loss",
    "student loss",
    "swap loss",
    "swap gradient",  # norms, per list, of the gradients of lambda L_swap and of cross-entropy by the scores
    "loss gradient",
]
EPOCH_COLUMNS = [
    "target ndcg@10", "student agreement@10", "changed top 10", "entropy of top 10s, bits",
    "users with the most listed item",
]  # fmt: skip
COLUMNS = ["lambda", "seed", "epoch", *EPOCH_COLUMNS, *STEP_COLUMNS]
PANELS = {
    "target ndcg@10": "target NDCG@10, validation",
    "student agreement@10": "student's agreement@10 with the target",
    "changed top 10": "share of the top 10 that is new",
    "entropy of top 10s, bits": "entropy of the items in top 10s, bits",
    "active positions": "share of positions with a swap loss",
    "swap targets reached": "share of swap targets that are reached",
    "swap targets per list": "different swap targets per list",
    "swap gradient": "norm of the gradient of lambda L_swap, per list",
}


class ObservedGRO(GROTrainer):
    """GRO as published, which records STEP_COLUMNS of every step."""

    def __init__(self, config, model):
        super().__init__(config, model)
        self.terms, self.steps = [], []
        rule, term = self.swap_rule, self.swap_rule.term

        def observed(target_scores, served, student_scores, gradient):
            loss = term(target_scores, served, student_scores, gradient)
            self.steps.append(self.step_columns(target_scores, served, student_scores, gradient, loss))
            return loss

        rule.term = observed

    def stage_loss(self, interaction):
        losses = super().stage_loss(interaction)
        self.terms.append([float(loss.detach()) for loss in losses])
        return losses

    def step_columns(self, target_scores, served, student_scores, gradient, swap_loss):
        """Return STEP_COLUMNS of a batch, but for the three terms of Eq. 6."""
        scores, swapped, moved = target_scores.detach(), swap_targets(student_scores, served, gradient), gradient != 0
        active = moved & (scores.gather(1, served) > scores.gather(1, swapped))
        best, worst = student_scores[:, 1:].argmax(1) + 1, student_scores[:, 1:].argmin(1) + 1
        rank_of_best, rank_of_worst = (
            (scores[:, 1:] > scores.gather(1, item.unsqueeze(1))).sum(1, keepdim=True) + 1 for item in (best, worst)
        )
        rank = torch.where(gradient > 0, rank_of_best, rank_of_worst)
        reached = (rank <= torch.arange(1, served.shape[1] + 1))[moved]
        targets = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, torch.where(moved, swapped, 0), True)
        swap_gradient = torch.zeros_like(scores)
        if swap_loss.requires_grad:
            (swap_gradient,) = torch.autograd.grad(self.gro_lambda * swap_loss, target_scores, retain_graph=True)
        # of cross-entropy: softmax less one at the positive, whose own probability is small
        loss_gradient = (scores.softmax(1).square().sum(1) + 1).sqrt()
        return [
            float((gradient > 0).float().mean()), float((gradient < 0).float().mean()),
            float(active.float().mean()), float(reached.float().mean()),
            float(rank_of_best.float().median()), float(rank_of_worst.float().median()),
            float(targets[:, 1:].sum(1).float().mean()),
            len(scores) * float(swap_gradient.norm(dim=1).mean()), float(loss_gradient.mean()),
        ]  # fmt: skip

    def epoch_means(self):
        """Return the means of STEP_COLUMNS since the last call."""
        *before, swap_gradient, loss_gradient = torch.tensor(self.steps, dtype=torch.float64).mean(0).tolist()
        terms = torch.tensor(self.terms, dtype=torch.float64).mean(0).tolist()
        self.steps.clear(), self.terms.clear()
        return [*before, *terms, swap_gradient, loss_gradient]


def observe(gro_lambda, seed, settings, folder):
    """Return the rows of a lambda and seed."""
    config = Config(
        "BERT4Rec", config_dict={"show_progress": False, **settings, "gro_lambda": gro_lambda, "seed": seed}
    )
    config["output_dir"] = config["checkpoint_dir"] = str(folder)
    loaders = train, valid, _ = build_loaders(config, build_dataset(config))
    stages = Stages(config, loaders, StageCache(folder), Fingerprints(config, "none"), None)
    target = stages.target()
    _, undefended = stages.evaluation(Service(target, config["served_k"]))
    start_stage(config, "defense gro", train)
    trainer, rows = ObservedGRO(config, copied_model(target)), []
    trainer.eval_step = 1

    def validated(*_):
        metrics, lists = evaluate_service(config, Service(trainer.model, trainer.served_k), *loaders)
        _, of_student = evaluate_service(config, Service(trainer.student_scorer.model, trainer.served_k), *loaders)
        epoch = [
            metrics["valid"]["ndcg@10"], agreement(lists["valid"], of_student["valid"], [10])[10],
            1 - agreement(lists["valid"], undefended["valid"], [10])[10], *concentration(lists["valid"][:, :10]),
        ]  # fmt: skip
        values = [gro_lambda, seed, len(rows) + 1, *epoch, *trainer.epoch_means()]
        rows.append(dict(zip(COLUMNS, values, strict=True)))

    trainer.fit_gro(train, valid, verbose=False, saved=False, callback_fn=validated)
    return rows


def concentration(top):
    """Return the entropy in bits of the items that fill lists [users, k], and the share of users with the commonest."""
    counts = torch.bincount(top.flatten()).double()
    share = counts[counts > 0] / counts.sum()
    return [-float((share * share.log2()).sum()), float(counts.max() / len(top))]


def draw(file, picture):
    """Draw the means over seeds, epoch by epoch, one line per lambda."""
    from matplotlib.figure import Figure

    means = pd.read_csv(file).groupby(["lambda", "epoch"]).mean()
    figure = Figure(figsize=(18, 8), layout="constrained")
    for axes, (column, title) in zip(figure.subplots(2, 4).flat, PANELS.items(), strict=True):
        for gro_lambda, own in means.groupby(level=0):
            axes.plot(own.index.get_level_values("epoch"), own[column], label=f"lambda {gro_lambda:g}")
        if column == "swap gradient":
            loss = means["loss gradient"].groupby(level="epoch").mean()
            axes.plot(loss.index, loss, color="black", linestyle="--", label="cross-entropy")
        axes.set(title=title, xlabel="epoch")
    axes.legend()
    figure.savefig(picture, dpi=80)
    print(picture)


def main(words):
    parser = Parser(prog="swap_dynamics")
    parser.add_argument("--lambdas", type=float, nargs="+", default=[0.3, 1.0, 2.0, 4.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--file", type=output_file, default=HERE / "swap_dynamics.csv")
    parser.add_argument("--folder", type=Path, default=Path("swap-dynamics-work"), help="of the targets")
    parser.add_argument("--picture", type=output_file, help="also draw the means over seeds")
    parser.add_argument("--threads", type=positive)
    given, settings = options_and_settings(parser, words)
    if given.threads:
        torch.set_num_threads(given.threads)
    print(machine(), flush=True)
    wanted = [{"lambda": f"{value:g}", "seed": seed} for value, seed in itertools.product(given.lambdas, given.seeds)]
    for cell in missing(given.file, wanted):
        for row in observe(float(cell["lambda"]), cell["seed"], settings, given.folder):
            append(given.file, row, COLUMNS)
        print(row, flush=True)
    if given.picture:
        draw(given.file, given.picture)


if __name__ == "__main__":
    command(__file__, main)
