"""The settings as the API and the command show them: each with its value and where that came from.

Invariant: in the order of their declaration, every one of them. Neighbours: `config` keeps the
origins; a command without a daemon shows what a start would use by this.
"""

from collections.abc import Mapping

from meshd.api import schemas
from meshd.config import Given
from meshd.settings import rows


def shown(origins: Mapping[str, Given]) -> schemas.Settings:
    """All settings; `origins` has every key."""
    return schemas.Settings(
        tuple(
            schemas.SettingView(
                key=row.key,
                value=origins[row.key].value,
                origin=origins[row.key].origin,
                default=row.default,
                unit=row.unit,
                rule=row.rule,
                help=row.help,
            )
            for row in rows()
        )
    )
