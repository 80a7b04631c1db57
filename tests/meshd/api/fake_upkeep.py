"""An operator's side of the node of plain values: what it is told to say, it says; what it is asked, it keeps."""

from typing import Any

import msgspec

from meshd.api import diagnosis_schemas, schemas
from meshd.api.view_schemas import OneView, Sighting, Subject, Views
from protocol.errors import MeshError


def a_diagnosis(**changes: Any) -> diagnosis_schemas.Diagnosis:
    """A node on which all is well, with one peer."""
    diagnosis = diagnosis_schemas.Diagnosis(
        version="0.1.0",
        directory="/var/lib/meshd",
        nats="127.0.0.1:4222",
        server_version="2.15.0",
        store_problem="",
        streams=(diagnosis_schemas.StreamView("KV_xyz-tasks", "", 1, 1, 12, 4_000, 536_870_912),),
        peers=(
            diagnosis_schemas.Surveyed(
                "b", "b" * 32, answered=True, rtt_ms=1.2, skew_ms=3, agrees=True, alive=2, version="0.1.0"
            ),
        ),
        alive=2,
        lag_ms=0.4,
        inbox_waiting=0,
        inbox_max=16_384,
        writes_waiting=0,
        writes_max=8_192,
        exposed=(),
        agents=(),
        manifests=(),
        probe_again_ms=125.0,
        probe_origin="default",
    )
    return msgspec.structs.replace(diagnosis, **changes)


class FakeUpkeep:
    """See `meshd.api.backend.Upkeep`."""

    def __init__(self) -> None:
        self.diagnosis = a_diagnosis()
        self.settings_ = (
            schemas.SettingView(
                "tasks.lease_s", 5.0, "file /etc/meshd.toml:7", 3.0, "s", "a number from 0.3 to 600", "how long"
            ),
            schemas.SettingView(
                "node.name", "a", "flag --name", "", "", "up to 32 of a-z 0-9 _ -", "name of this node"
            ),
        )
        self.levels: list[str] = []
        self.steered: list[tuple[str, bool]] = []
        self.held_by: tuple[str, ...] = ()
        self.gone = ("c",)
        self.views_ = Views(
            (OneView("01", ("a", "b"), 3, ours=True), OneView("02", ("c",), 2, ours=False)),
            (
                Subject("d", "d" * 32, (Sighting("alive", 7), Sighting("dead", 7))),
                Subject("e", "e" * 32, (Sighting("alive", 7), Sighting("alive", 7))),
            ),
            silent=("f",),
        )

    async def views(self, *, is_all: bool) -> Views:
        return self.views_ if is_all else msgspec.structs.replace(self.views_, subjects=self.views_.subjects[:1])

    def settings(self) -> schemas.Settings:
        return schemas.Settings(self.settings_)

    def set_log_level(self, level: str) -> schemas.LogLevel:
        self.levels.append(level)
        return schemas.LogLevel(level)

    async def steer(self, name: str, *, draining: bool) -> schemas.Steered:
        self.steered.append((name, draining))
        return schemas.Steered(name, name * 32, draining, self.held_by)

    async def remove(self, name: str) -> schemas.Removed:
        if name not in self.gone:
            raise MeshError("still_alive", peer=name, state="alive")
        return schemas.Removed(name, name * 32, removed_on=("a",), silent=("b",))

    async def diagnose(self) -> diagnosis_schemas.Diagnosis:
        return self.diagnosis
