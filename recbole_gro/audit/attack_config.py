"""The config of an audit's attack: which settings it takes, and which it refuses."""

from typing import Any

from recbole.utils.argument_list import dataset_arguments, evaluation_arguments

from recbole_gro.attack import attacks_of, create_attacker, query_budget
from recbole_gro.audit.description import KEYS, Description
from recbole_gro.config.config import Config
from recbole_gro.config.files import value_of
from recbole_gro.config.loss_settings import ExtractionLossSettings
from recbole_gro.config.properties import recbole_keys
from recbole_gro.config.recbole_defaults import TrainingSettings, ValidationSettings
from recbole_gro.config.settings import declared_keys, of_sections, refuse_unread
from recbole_gro.data.settings import DataSettings
from recbole_gro.detection.settings import READER, DetectionSettings
from recbole_gro.utils.errors import UserError

SURROGATE = "GRU4Rec"  # where no setting names another architecture
DATASET = "service"  # a config names a dataset; none is read
COLLECTED = 10  # a catalogue is collected with at most one in so many lists of the budget
# settings that an audit does not read: of a target's data and training, and of other work of a run
OF_A_TARGET = {
    *(*DataSettings.names, *TrainingSettings.names, *ValidationSettings.names),
    *("learning_rate", "loss_type", "train_batch_size", "train_neg_sample_args", "valid_metric_bigger"),
}
OF_A_RUN = {
    *("access_log", "attack", "attacker_known_share", "config_files", "eval_batch_size", "metrics", "references"),
    *("stages_dir", "surrogate_knows_features", "worker", "workers"),
}
READ = {"field_separator", "USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD", "MAX_ITEM_LIST_LENGTH", "topk"}
OF_A_DATASET = {
    *(*dataset_arguments, *evaluation_arguments, "discretization", "numerical_features", "shuffle", "transform"),
} - READ
# RecBole's settings of knowledge graphs, of its launcher and of files that neither an audit nor a run uses
OF_NEITHER = {
    *(name for name in dataset_arguments if "ENTITY" in name or "RELATION" in name or "entity" in name),
    *("alias_of_relation_id", "entity_kg_num_interval", "relation_kg_num_interval", "kg_reverse_r"),
    *("nproc", "world_size", "ip", "port", "offset", "group_offset", "config_file", "require_pow", "repeatable"),
    *("save_dataset", "save_dataloaders", "dataset_save_path", "dataloaders_save_path", "checkpoint_dir"),
}
# settings that are read with test histories alone
OF_HISTORIES = {"exclude_seen", "topk", "USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD", "field_separator", "encoding"}


def attack_config(service: Description, settings: dict[str, Any], histories: bool = False) -> Config:
    """Return the config of the attack: no dataset is read, and lists are as long as the service's.

    Args:
        service: description of the service.
        settings: of the attack, values as text.
        histories: whether the owner gave test histories.

    Raises:
        UserError: an invalid setting, or one that an audit does not read.
    """
    if "served_k" in settings:
        raise UserError("served_k: the length of lists is k of the service's description")
    known = recbole_keys() | declared_keys().keys()
    if of_service := [name for name in settings if name in KEYS and name not in known]:
        if service.function:
            raise UserError(
                f"{of_service[0]}: a key of the yaml file that describes a service over HTTP; {service.name} is a "
                "function"
            )
        raise UserError(f"{of_service[0]}: a key of {service.name}, the description of the service; set it there")
    refuse_unread(settings, DetectionSettings.names, "recbole-gro audit", READER)
    refuse_unread(
        settings,
        of_sections("Defense") - set(ExtractionLossSettings.names),  # which a surrogate trains with too
        "recbole-gro audit",
        "the provider's side, such as recbole-gro run,",
    )
    refuse_unread(settings, OF_A_TARGET, "recbole-gro audit", "recbole-gro run, which trains a target,")
    refuse_unread(settings, OF_A_RUN, "recbole-gro audit", "recbole-gro run")
    for name in settings:
        if name in OF_NEITHER:
            raise UserError(f"{name}: recbole-gro audit does not read it; leave it out")
        if name in ("dataset", "data_path"):
            raise UserError(f"{name}: an audit reads no dataset; --histories=FILE gives test histories")
        if name in OF_HISTORIES and not histories:
            raise UserError(
                f"{name}: an audit reads it with test histories alone; add --histories=FILE or leave it out"
            )
    refuse_unread(settings, OF_A_DATASET, "recbole-gro audit", "recbole-gro run, which reads a dataset,")
    k = service["k"]
    positions = value_of("topk", str(settings.get("topk")))
    for position in positions if isinstance(positions, list | tuple) else [positions]:
        if isinstance(position, int) and position > k:
            raise UserError(
                f"topk: position {position} is beyond the lists (k={k} of the service's description); "
                f"lower topk or raise k"
            )
    given = {"served_k": k, "topk": [n for n in (1, 5, 10) if n <= k], "dataset": DATASET}
    config = Config(None if "model" in settings else SURROGATE, config_dict=given, command_line=settings)
    for name in attacks_of(config):
        attacker = create_attacker(name, config)
        if attacker.auxiliary_share or attacker.sequence_source:
            raise UserError(f"attacker: {name} needs histories of users, which an audit does not have")
    if service.catalogue is None and query_budget(config) < COLLECTED:
        raise UserError("query_sequences: no list is left to collect the catalogue with; raise it")
    return config
