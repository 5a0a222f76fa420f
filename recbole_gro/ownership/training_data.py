"""Whether data are those that the owner's model was trained on, by the digests that its checkpoint holds."""

from collections.abc import Mapping

from recbole_gro.serving.saved_target import SavedTarget
from recbole_gro.utils.errors import UserError


def changed_files(owner: SavedTarget, digests: Mapping[str, str] | None) -> str:
    """Return the data files that differ from those of the owner's model; empty where digests lack on either side.

    Args:
        owner: the model whose copies are looked for.
        digests: of the files of other data, by name.
    """
    own = owner.data_digests
    if not own or not digests:
        return ""
    return ", ".join(name for name in sorted({*own, *digests}) if own.get(name) != digests.get(name))


def check_files(owner: SavedTarget, digests: Mapping[str, str]) -> None:
    """Check that the files that its settings name are those that the owner's model was trained on.

    Args:
        owner: the model whose copies are looked for.
        digests: of the files, by name.

    Raises:
        UserError: a file differs.
    """
    if changed := changed_files(owner, digests):
        config = owner.config
        raise UserError(
            f"data_path: {config['dataset']} in {config['data_path']} is not the data that the owner's model was "
            f"trained on, by the digest of {changed}; give the folder of its data"
        )
