"""Reference models: trained as the owner's model is, on the same data, at other seeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_gro.config.config import with_settings
from recbole_gro.config.recbole_defaults import TargetEpochSettings
from recbole_gro.config.settings import of_sections, plugin_keys
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.data.digests import data_fingerprint
from recbole_gro.defense import create_defense
from recbole_gro.defense.base import defenses
from recbole_gro.ownership.method import NoVerdict
from recbole_gro.ownership.training_data import changed_files, check_files
from recbole_gro.quick_start.references import UNDEFENDED
from recbole_gro.quick_start.stage_cache import StageCache
from recbole_gro.quick_start.stage_fingerprints import RUN_SETTINGS, Fingerprints
from recbole_gro.quick_start.stages import Stages
from recbole_gro.serving.saved_target import SavedTarget, load_target
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import make_folder
from recbole_gro.utils.log import console

MAY_DIFFER = {"seed", "use_gpu"}


def train_references(owner: SavedTarget, n: int, folder: Path) -> list[Path]:
    """Train models as the owner's was at the n seeds after its own, and return their checkpoints.

    Args:
        owner: its settings are those of the training, and say where the data are.
        n: number of models.
        folder: for FOLDER/seed-N/target.pth; models that it holds are not trained again.

    Raises:
        UserError: the data are not those that the owner's model was trained on, or a defense trained the owner's.
    """
    check_trainable(owner)
    files = []
    for number, seed in enumerate(range(owner.config["seed"] + 1, owner.config["seed"] + 1 + n), start=1):
        console.info(f"reference {number} of {n}: {owner.config['model']}, seed {seed}")
        config = with_settings(owner.config, seed=seed)
        loaders = build_loaders(config, build_dataset(config))
        check_files(owner, loaders[0]._dataset.data_digests)
        _check_tokens("data_path", loaders[0]._dataset.field2id_token[config["ITEM_ID_FIELD"]].tolist(), owner)
        out = folder / f"seed-{seed}"
        make_folder(out)
        Stages(config, loaders, StageCache(folder / "stages"), Fingerprints(config, UNDEFENDED), out).target()
        files.append(out / "target.pth")
    return files


def check_trainable(owner: SavedTarget) -> None:
    """Check that references for a model can be trained here.

    Raises:
        UserError: a defense trained it, or the data in its `data_path` are not those that it was trained on.
    """
    if (defense := owner.trained_by) is not None:
        raise UserError(
            f"references: the defense {defense} trained the owner's model, and models that are trained here have none; "
            f"train them with recbole-gro run --defense={defense} at other seeds, and give their target-{defense}.pth"
        )
    check_files(owner, data_fingerprint(owner.config))


def load_references(files: Sequence[str | Path], owner: SavedTarget) -> dict[str, SavedTarget]:
    """Return reference models by file, after a check that they differ from the owner's by their seed alone.

    Args:
        files: checkpoints of runs.
        owner: that they are compared with.

    Raises:
        UserError: a file is invalid or given twice.
        NoVerdict: a model was trained in another way, or on other data.
    """
    references: dict[str, SavedTarget] = {}
    seeds = {owner.config["seed"]: "the owner's model"}
    for file in map(str, files):
        references[file] = model = load_target(file)
        _check_tokens(f"reference {file}", model.item_tokens, owner)
        _check_settings(file, _training(model), _training(owner))
        if changed := changed_files(owner, model.data_digests):
            raise NoVerdict(
                f"reference {file} was trained on other data than the owner's model, by the digest of {changed}; "
                "references differ by their seed alone"
            )
        if (seed := model.config["seed"]) in seeds:
            raise NoVerdict(f"reference {file} has the seed of {seeds[seed]}, {seed}; each model needs one of its own")
        seeds[seed] = file
    return references


def _training(model: SavedTarget) -> dict[str, object]:
    settings = Fingerprints(model.config, UNDEFENDED).target_setting_values
    defense = model.trained_by or UNDEFENDED
    settings |= TargetEpochSettings.fingerprint_inputs(model.config) | {"defense": defense}
    if model.trained_by:
        if defense not in defenses:
            raise UserError(
                f"plugins: no module has the defense {defense}, which trained a model; give --plugins=[MODULE]"
            )
        read: Any = model.config.final_config_dict | model.settings  # a mapping, the student's too
        declared = defenses[defense].training_settings
        fixed: Mapping[str, object] = {}
        if declared is None:  # those of GRO follow from its settings
            made = create_defense(defense, read)
            declared, fixed = made.training_settings, made.fixed
        if declared is None:  # not declared: it may be any
            others = {name for part in RUN_SETTINGS for name in part.names} | of_sections("Attack", "Output")
            return settings | {name: read.get(name) for name in plugin_keys().keys() - others}
        settings |= {name: value for part in declared for name, value in part.fingerprint_inputs(read).items()} | dict(
            fixed
        )
    return settings


def _check_settings(file: str, given: Mapping[str, object], owners: Mapping[str, object]) -> None:
    for name in sorted({*given, *owners} - MAY_DIFFER):
        if given.get(name) != owners.get(name):
            raise NoVerdict(
                f"reference {file} was trained with {name}={given.get(name)!r}, the owner's model with "
                f"{owners.get(name)!r}; references differ by their seed alone"
            )


def unchecked_data(owner: SavedTarget, references: Mapping[str, SavedTarget]) -> str | None:
    """Return which models may have other training data, in one sentence; None where all are known to have the same.

    Args:
        owner: the model whose copies are looked for.
        references: that are given; those that are trained here read the data that the owner's checkpoint names.
    """
    without = [file for file, model in references.items() if not model.data_digests]
    if not owner.data_digests:
        which = "the owner's checkpoint holds"
    elif without:
        which = f"{', '.join(without)} {'holds' if len(without) == 1 else 'hold'}"
    else:
        return None
    return f"whether the references were trained on the owner's data was not checked: {which} no digest of the data"


def _check_tokens(what: str, tokens: list[str] | None, owner: SavedTarget) -> None:
    if tokens != owner.item_tokens:
        raise UserError(f"{what}: its items are not those of the owner's model; both take the same data")
