"""Where state lies: the variable of ours, then the platform's."""

from pathlib import Path

import pytest

from meshd.where import default_dir


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({"HOME": "/h", "MESHD_DIR": "/x", "XDG_STATE_HOME": "/s"}, "linux", "/x"),
        ({"HOME": "/h", "XDG_STATE_HOME": "/s"}, "linux", "/s/meshd"),
        ({"HOME": "/h", "XDG_STATE_HOME": "not/absolute"}, "linux", "/h/.local/state/meshd"),
        ({"HOME": "/h", "MESHD_DIR": ""}, "linux", "/h/.local/state/meshd"),
        ({"HOME": "/h", "XDG_STATE_HOME": "/s"}, "darwin", "/h/Library/Application Support/meshd"),
    ],
)
def test_the_first_place_that_is_named_is_taken(environ: dict[str, str], platform: str, expected: str) -> None:
    assert default_dir(environ, platform=platform) == Path(expected)
