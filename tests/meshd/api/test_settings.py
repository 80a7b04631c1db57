"""Settings as they are shown: all of them, each with where its value came from."""

from meshd.api.settings import shown
from meshd.config import load
from meshd.settings import rows


def test_every_setting_is_shown_with_its_value_unit_and_origin() -> None:
    settings = shown(load(environ={"MESHD_TASKS__LEASE_S": "4.5"}).origins).settings
    assert [each.key for each in settings] == [row.key for row in rows()]
    lease = next(each for each in settings if each.key == "tasks.lease_s")
    assert (lease.value, lease.origin, lease.unit) == (4.5, "environment MESHD_TASKS__LEASE_S", "s")
