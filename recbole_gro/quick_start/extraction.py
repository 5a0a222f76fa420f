"""The attack on one service, as a stage of a run: ask, train a copy, measure it."""

from pathlib import Path
from typing import Any

import torch

from recbole_gro.attack import Attacker, BlackBox, ExtractionTrainer, create_attacker, query_budget, query_length
from recbole_gro.attack.cached_black_box import CachedBlackBox
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.data.auxiliary_data import known_sequences
from recbole_gro.evaluator import evaluate_service
from recbole_gro.quick_start.seeding import on_test, say, start_stage, timed
from recbole_gro.report.run_report import settled_in_words
from recbole_gro.serving.service import Service


def attack(config, name, service, defense, loaders, served, seconds) -> dict[str, Any]:
    """Steal from a service and measure the copy; `served` holds the lists that agreement is measured against."""
    folder, kept = Path(config["output_dir"]), config["resume_dir"]
    asked_at_most = query_budget(config)
    asked_log = folder / f"asked-{name}.jsonl" if config["query_log"] else None
    if kept:
        black_box: BlackBox = CachedBlackBox(service, Path(kept) / f"queries-{name}", defense, asked_at_most, asked_log)
    else:
        black_box = BlackBox(service, budget=asked_at_most, asked_log=asked_log)
    attacker = create_attacker(config["attacker"], config)
    say(f"attack on {name}: {config['attacker']}: {attacker.summary}")
    say(f"attack on {name}: {config['query_strategy']}, {budget(config, attacker)} lists of {black_box.k}")
    with timed(seconds, "queries"):
        log = ask(config, attacker, black_box, loaders[0]._dataset)
        log.save(folder / f"queries-{name}.npz")
        known = known_to(config, attacker, loaders[0]._dataset)
        n_known = 0 if known is None else min(len(known), len(log.sequences))
    if n_known:
        say(f"attack on {name}: {n_known} of the {len(log.sequences)} sequences were histories of users")
    say(f"attack on {name}: trains a surrogate on them, at most {config['surrogate_epochs']} epochs")
    with timed(seconds, "surrogate"):
        trainer = steal(config, attacker, log, black_box.n_items, loaders[0]._dataset, f"surrogate-{name}")
    if attacker.settled:
        say(f"attack on {name}: settled on {settled_in_words(attacker.settled)}")
    with timed(seconds, "surrogate evaluation"):
        copy = Service(trainer.model, config["served_k"])
        metrics, _ = evaluate_service(config, copy, *loaders, reference=served)
    say(f"attack on {name}: the surrogate reaches {on_test(metrics)}")
    if not trainer.learned:
        say(f"attack on {name}: its loss on held-out queries is no better than before training; it learned nothing")
    elif trainer.still_learning:
        say(f"attack on {name}: it was still learning when its surrogate_epochs={config['surrogate_epochs']} were over")
    return {
        "surrogate": metrics,
        "surrogate_model": trainer.config["model"],
        "surrogate_epochs": len(trainer.train_loss_dict),
        "held_out": trainer.best_valid_result,
        "held_out_untrained": trainer.untrained_loss,
        "learned": trainer.learned,
        "still_learning": trainer.still_learning,
        "attacker": config["attacker"],
        "attacker_settled": attacker.settled,
        "sequences_asked": len(log.sequences),
        "sequences_known": n_known,
        "times_asked": attacker.times_asked,
        "lists_asked": black_box.lists_asked,
    }


def budget(config, attacker: Attacker) -> str:
    """The query budget in words and figures, as the attacker spends it."""
    again = "" if attacker.times_asked == 1 else f", every prefix {attacker.times_asked} times"
    return f"{attacker.n_sequences} sequences of {query_length(config)} items{again}, {query_budget(config)}"


def ask(config, attacker: Attacker, black_box: BlackBox, train) -> QueryLog:
    """What the attacker gets for his budget; the same draws for every service of a seed.

    Args:
        config: the target's.
        attacker: who asks; he is handed items of users only where he declares it, and those as a plain tensor.
        black_box: what is asked.
        train: the dataset that they come from, the training part.
    """
    known = known_to(config, attacker, train)
    generator = torch.Generator().manual_seed(start_stage(config, "queries"))
    return attacker.ask(black_box, generator, known, config["show_progress"])


def known_to(config, attacker: Attacker, train) -> torch.Tensor | None:
    """[U, L] what the attacker is handed of users' items, the same for every service of a seed; None: nothing."""
    if not attacker.known_share:
        return None
    draw = torch.Generator().manual_seed(start_stage(config, "known sequences"))
    return known_sequences(train, attacker.known_share, query_length(config), draw)


def steal(config, attacker: Attacker, log: QueryLog, n_items: int, items, stage: str) -> ExtractionTrainer:
    """The attacker's surrogate, trained on his query log, in its trainer.

    Args:
        config: the target's.
        attacker: who steals.
        log: what he asked.
        n_items: size of the id space.
        items: the dataset that a surrogate's item features come from, where he may see them.
        stage: names files and the progress bar.
    """
    seed = start_stage(config, "surrogate")
    return attacker.steal(log, n_items, items, stage, seed, config["show_progress"])
