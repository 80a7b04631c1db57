"""What is said of the disk under the server."""

from pathlib import Path

from meshd.broker import disk

FAULT = "[1] [ERR] JetStream failed to store a msg: write 1.blk: no space left on device"
BEGUN = "[1] [INF] Starting nats-server"


def test_a_fault_is_the_last_one_since_the_server_began() -> None:
    assert disk.fault_in([BEGUN, FAULT, "[1] [INF] and so on"]) == FAULT
    assert disk.fault_in([FAULT, BEGUN, "[1] [INF] Server is ready"]) == ""
    assert disk.fault_in([]) == ""


def test_a_full_disk_is_named_with_its_place_and_what_the_server_said() -> None:
    said = disk.problem(Path("/srv/a/nats"), free=100 << 10, fault=FAULT)
    assert said.startswith("has no room on its disk: 100 KiB are free under /srv/a/nats, and it wants 4096")
    assert said.endswith(FAULT)
    assert disk.problem(Path("/srv/a"), free=disk.ROOM_BYTES_MIN, fault="") == ""
    assert "is started again" in disk.problem(Path("/srv/a"), free=disk.ROOM_BYTES_MIN, fault=FAULT)


def test_free_is_what_the_system_says(tmp_path: Path) -> None:
    assert disk.free_bytes(tmp_path) > 0
    assert disk.free_bytes(tmp_path / "gone") == disk.ROOM_BYTES_MIN
