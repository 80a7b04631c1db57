"""A small installation made on disk, with findings that are known."""

import base64
import hashlib
from pathlib import Path

import pytest

from meshd.demo.pieces import Installation

MIT = """MIT License

Permission is hereby granted, free of charge, to any person obtaining a copy of this software, to deal
in the Software without restriction. The above copyright notice and this permission notice shall be
included in all copies.
"""
BSD = """Redistribution and use in source and binary forms, with or without
modification, are permitted. Neither the name of the holder nor the names of its contributors may be used
to endorse or promote products derived from this software.
"""

CORE = """\
import json
import os
import pickle as p
import subprocess
from subprocess import run as start

import helper_lib
import shapes.area
import undeclared_thing
from declared_thing import part

try:
    import faster
except ImportError:
    faster = None


def simple():
    import inside
    return inside


class Shelf:
    def tangled(self, rows, mode):
        for row in rows:            # 1
            if row and mode:        # 2, 3
                yield row
            elif mode == 2:         # 4
                while row:          # 5
                    row = [x for x in row if x]  # 6, 7
        return None


def dangers(text):
    eval(text)
    p.loads(text)
    os.system(text)
    start(text, shell=True)
    subprocess.run(text, shell=False)
"""


def hash_of(text: str) -> str:
    """As RECORD writes it."""
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def install(site: Path, name: str, metadata: str, files: dict[str, str], altered: dict[str, str] | None = None) -> None:
    """Write a distribution as an installer would; `altered` files are written over after RECORD was made."""
    metadata_folder = f"{name.replace('-', '_')}-1.0.dist-info"
    files = {**files, f"{metadata_folder}/METADATA": f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{metadata}"}
    rows = [f"{path},{hash_of(text)},{len(text.encode())}" for path, text in files.items()]
    rows.append(f"{metadata_folder}/RECORD,,")
    for path, text in {**files, f"{metadata_folder}/RECORD": "\n".join(rows) + "\n", **(altered or {})}.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """site-packages with `Shapes` (findings), `helper-lib`, `declared-thing` and `Quiet` (none)."""
    site = tmp_path / "site"
    metadata_folder = "shapes-1.0.dist-info"
    install(
        site,
        "shapes",
        "License-Expression: MIT\nLicense-File: LICENSE\nRequires-Dist: declared_thing>=1; python_version>'3'\n",
        {
            "shapes/__init__.py": "",
            "shapes/area.py": CORE,
            "shapes/broken.py": "def (:\n",
            "shapes/kept.txt": "as it was",
            f"{metadata_folder}/licenses/LICENSE": MIT,
        },
        altered={"shapes/kept.txt": "as it is now"},
    )
    (site / "shapes/__init__.py").unlink()
    install(site, "helper-lib", "License: Apache 2.0\n", {"helper_lib.py": "VALUE = 1\n", "helper_lib2.py": ""})
    install(site, "declared-thing", "", {"declared_thing/__init__.py": "part = 1\n"})
    install(
        site,
        "quiet",
        "License: MIT\n",
        {
            "quiet.py": "def one():\n    return 1\n",
            "__pycache__/quiet.pyc": "compiled",
            "quiet-1.0.dist-info/LICENSE": BSD,
        },
    )
    return site


@pytest.fixture
def here(site: Path, tmp_path: Path) -> Installation:
    """That installation, with a standard library of three parts."""
    stdlib = tmp_path / "stdlib"
    for path, text in {
        "json/__init__.py": "def loads(text):\n    return exec(text)\n",
        "json/tool.py": "import json\n",
        "wave.py": "x = 1\n",
        "test/__init__.py": "",
        "site-packages/other.py": "",
        "no_part_of_it.py": "",
        "LICENSE.txt": "PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2",
    }.items():
        (stdlib / path).parent.mkdir(parents=True, exist_ok=True)
        (stdlib / path).write_text(text)
    return Installation(search=(str(site),), stdlib=stdlib)
