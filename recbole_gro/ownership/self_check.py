"""The owner's check that a model shows its own marks: nobody is queried, and nothing is written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from recbole_gro.ownership.key import check_file_name, check_planted_key, check_secret_marks, read_key
from recbole_gro.ownership.method import NoVerdict, create_method
from recbole_gro.ownership.method_output import checked_probes
from recbole_gro.ownership.outcome import outcome
from recbole_gro.ownership.run import owners_model
from recbole_gro.ownership.suspect import Answers, list_length
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.random_state import global_state_kept


@global_state_kept()
def check_marks(
    owner: str,
    key: str,
    method: str,
    *,
    probes: int = 2000,
    k: int | None = None,
    data_path: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Say whether a marked model shows its marks in its own lists, as a verification would measure it.

    The model is run in this process. No results hold the key, which stays as good as it was, and no suspect is tested,
    so that the check takes no share of the level.

    Args:
        owner: checkpoint of the marked model.
        key: file with the key that it was trained with.
        method: name of a method whose key was planted in training, such as `aow`.
        probes: maximum number of histories.
        k: items of a list that count; None: 10.
        data_path: folder of the dataset's folder, for models that read data to be built.
        settings: of the method.

    Returns:
        `verdict` and `refused` as in results.json.

    Raises:
        UserError: invalid input, or a method whose key was not planted.
    """
    made = create_method(method, settings or {})
    if not made.key_was_planted:
        raise UserError(f"suspect: not set; the method {method} finds no marks that it could look for in {owner}")
    if type(probes) is not int or probes < 1:
        raise UserError(f"probes: {probes!r} is not allowed; it takes a whole number >= 1")
    read = list_length(k)
    check_file_name(key)
    model = owners_model(owner, data_path)
    check_secret_marks(owner, model)
    check_planted_key(key, method)
    try:
        made.check_owner(model)
        secret, _ = read_key(Path(key))
        n_items = len(model.item_tokens or ())
        chosen = checked_probes(method, made.probes(model, {}, secret, probes), probes, n_items)
    except NoVerdict as reason:
        return {"verdict": None, "refused": str(reason)}
    histories = [torch.tensor(row) for row in chosen.histories]
    # as of a suspect that is a checkpoint
    lists = model.recommend(torch.nn.utils.rnn.pad_sequence(histories, batch_first=True), min(read, n_items - 1))
    return outcome(made, chosen, Answers(lists=lists, sent_twice=0, repeated=0, changed=0, unknown=0.0, failed=0))
