"""References: lists that say what the accuracy and the agreement of a surrogate are worth."""

from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from recbole_gro.attack import create_surrogate
from recbole_gro.attack.settings import SurrogateSettings
from recbole_gro.config.config_like import SettingsSource
from recbole_gro.config.settings import Settings
from recbole_gro.config.values import as_names
from recbole_gro.evaluator import POPULARITY, OwnHistoryService, PopularityService
from recbole_gro.quick_start.seeding import start_stage
from recbole_gro.quick_start.settings import ReferenceSettings
from recbole_gro.serving.service import Service
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.item_lists import are_ids, fault_of_lists
from recbole_gro.utils.log import console
from recbole_gro.utils.registry import Registry

if TYPE_CHECKING:
    from recbole_gro.quick_start.stage_fingerprints import Fingerprints
    from recbole_gro.quick_start.stages import Stages

UNDEFENDED = "none"  # the defense whose lists references are compared with
UNTRAINED = "untrained"
OUTPUT = "defense: "  # whose lists a service refuses, whoever made its output

_references: Registry[type["Reference"]] = Registry("reference")
register_reference = _references.register


class Reference:
    """Lists for the validation and test rows, measured like those of a surrogate.

    Args:
        name: as registered.

    Attributes:
        meaning: in one sentence, for reports.
        settings: classes of settings that it reads besides those of target, service and evaluation; None: not declared.
        is_service: whether it stands for a service, beside targets, and not for a surrogate.
        needs_attack: whether it means nothing without a surrogate beside it.
        needs_target: whether it means nothing without its agreement with the undefended target.
        per_architecture: whether it is measured for each architecture that an attack selected as its surrogate's.
    """

    meaning: ClassVar[str]
    settings: ClassVar[tuple[type[Settings], ...] | None] = None
    is_service = needs_attack = needs_target = per_architecture = False

    def __init__(self, name: str):
        self.name = name

    def service(self, stages: "Stages") -> Service:
        """Return the service whose lists they are, for the stages of the undefended target."""
        raise NotImplementedError

    def evaluation(self, stages: "Stages") -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return metrics and lists [rows, k], both by split, for the stages of the undefended target."""

        def service() -> Service:
            start_stage(stages.config, f"reference {self.name}")  # its draws do not depend on what ran before
            made, k = self.service(stages), stages.config["served_k"]
            if not isinstance(made, Service):
                raise _refused(
                    self.name, f"service returned {type(made).__name__}; a Service of lists of {k} is expected"
                )
            if made.k != k:
                raise _refused(self.name, f"its lists have {made.k} items; {k}, as those of the targets (served_k)")
            return made

        return stages.measure("reference", stages.prints.references[self.name], service)

    def trained(self, prints: "Fingerprints") -> dict[str, str]:
        """Return {stage: fingerprint} of what it trains, for the fingerprints of the undefended target."""
        return {}


def measured(reference: Reference, stages: "Stages") -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return metrics and lists [rows, k] of a reference, both by split, for the stages of the undefended target.

    Raises:
        UserError: what a reference of a user's own returns is neither, or has other rows or lists of another length.
    """
    try:
        found = reference.evaluation(stages)
    except UserError as error:
        if not str(error).startswith(f"{OUTPUT}its lists"):
            raise
        raise _refused(reference.name, str(error).removeprefix(OUTPUT)) from error
    k, (_, *measured_on) = stages.config["served_k"], stages.loaders
    shapes = {split: (len(data._dataset), k) for split, data in zip(("valid", "test"), measured_on, strict=True)}
    is_pair = isinstance(found, tuple) and len(found) == 2
    if not is_pair or not all(isinstance(part, dict) and shapes.keys() <= part.keys() for part in found):
        raise _refused(reference.name, "evaluation returns no metrics and lists, two dicts by split, valid and test")
    for split, lists in found[1].items():
        if not are_ids(lists) or tuple(lists.shape) != shapes.get(split):
            wanted = " x ".join(map(str, shapes.get(split, ())))
            raise _refused(reference.name, f"its {split} lists are no tensor of {wanted} item ids")
        if fault := fault_of_lists(lists, stages.loaders[0]._dataset.item_num):
            raise _refused(reference.name, f"its {split} lists {fault}")
    return found


def _refused(name: str, reason: str) -> UserError:
    return UserError(f"references: {name}: {reason}")


def is_packaged(reference: Reference) -> bool:
    """Say whether a reference is one of this package's, which need no check before a run."""
    return type(reference).__module__ == __name__


def create_references(config: SettingsSource) -> dict[str, Reference]:
    """Return the references of a config, by name.

    Raises:
        UserError: no reference of a name, or one without the sentence that reports have.
    """
    made = {name: _references[name](name) for name in as_names(ReferenceSettings.of(config).references)}
    for name, reference in made.items():
        if not isinstance(getattr(reference, "meaning", None), str):
            raise _refused(name, "its class has no meaning; it takes a sentence for reports")
    return made


@register_reference("independent")
class Independent(Reference):
    """The target's architecture, trained on the same data with the next seed: the target of that seed's run."""

    meaning = (
        "the target's architecture trained on the same data with another seed, without any list of the target; "
        "agreement above it is knowledge of this very target; the seed is the next one, so that over consecutive seeds "
        "most of these models are themselves targets, and the deviation is not one over unrelated pairs"
    )
    settings = ()
    needs_attack = needs_target = True

    def evaluation(self, stages: "Stages") -> tuple[dict[str, Any], dict[str, Tensor]]:
        other = stages.with_next_seed()
        console.info(f"reference {self.name}: the target of seed {other.config['seed']}")
        other.seconds = stages.seconds
        return other.undefended()

    def trained(self, prints: "Fingerprints") -> dict[str, str]:
        return {"target": prints.with_next_seed().training}


@register_reference(UNTRAINED)
class Untrained(Reference):
    """A surrogate before its first epoch, of the architecture that the attack selected, for queries of `query_length`.

    A surrogate of an attack whose name sets another length starts from other weights.
    """

    meaning = (
        "a surrogate before its first epoch, for queries of query_length items, also beside attacks whose name sets "
        "another length; what an attack gained is what its surrogate has beyond this one"
    )
    settings = (SurrogateSettings,)
    needs_attack = per_architecture = True

    def service(self, stages: "Stages") -> Service:
        items = stages.train._dataset
        start_stage(stages.config, "surrogate")
        return Service(create_surrogate(stages.config, items.item_num, items)[0], stages.config["served_k"])


@register_reference("own_history")
class OwnHistory(Reference):
    """The items of each row, latest first."""

    meaning = "each user's latest MAX_ITEM_LIST_LENGTH items, latest first, without repeats; high where items repeat"
    settings = ()

    def service(self, stages: "Stages") -> Service:
        return OwnHistoryService(stages.new_model(), stages.config["served_k"])


@register_reference(POPULARITY)
class Popularity(Reference):
    """The most frequent items of the training data, the same list for every row."""

    meaning = "the most frequent items of the training data, the same list for every user"
    settings = ()
    is_service = True

    def service(self, stages: "Stages") -> Service:
        return PopularityService(
            stages.new_model(), stages.config["served_k"], stages.train._dataset.interaction_counter
        )
