"""What parts read of a Config, RecBole's or ours, as types for annotations."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias


class ConfigLike(Protocol):
    """The settings of a run, as a Config of RecBole's or ours has them.

    Attributes:
        model: name of the model.
        model_class: its class.
        dataset: name of the dataset.
        final_config_dict: all settings by name.
        external_config_dict: the given settings by name.
    """

    model: str
    model_class: type
    dataset: str
    final_config_dict: dict[str, Any]
    external_config_dict: dict[str, Any]

    def __getitem__(self, name: str, /) -> Any:
        """Return the value of a setting; None where it has none."""

    def __setitem__(self, name: str, value: Any, /) -> None:
        """Set a setting."""

    def __contains__(self, name: str, /) -> bool:
        """Return whether a setting is known."""


SettingsSource: TypeAlias = ConfigLike | Mapping[str, Any]  # all that typed settings are read from
