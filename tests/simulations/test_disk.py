"""What a host remembers of its lives."""

from simulations.disk import Disk


def test_a_life_is_above_every_one_that_is_written_even_when_the_clock_is_not() -> None:
    disk = Disk()
    assert [disk.next_life(wall_ms) for wall_ms in (1_000, 2_000, 500)] == [1_000, 2_000, 2_001]


def test_an_image_that_is_put_back_knows_the_first_life_alone_and_a_lost_disk_none() -> None:
    disk = Disk()
    for wall_ms in (1_000, 2_000, 3_000):
        disk.next_life(wall_ms)
    disk.restore()
    assert disk.next_life(500) == 1_001
    disk.lose()
    assert disk.next_life(500) == 500


def test_an_image_from_before_the_only_life_knows_none() -> None:
    disk = Disk()
    disk.next_life(1_000)
    disk.restore()
    assert disk.next_life(500) == 500
