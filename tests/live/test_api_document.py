"""The API against its document: schemathesis asks a running daemon what the document allows, and what it forbids."""

import json
from pathlib import Path

import pytest

from tests.live.hosts import SCRIPTS, Host, told
from tests.test_operations import unserved

pytestmark = pytest.mark.live

# An answer is of a status, a type and a form that the document names; nothing that it forbids is accepted; no token,
# no answer. Left out: that whatever fits the document is accepted, since a manifest or a name may fit and be wrong.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "use_after_free",
    "ignored_auth",
)
# Streams do not end; to stop or drain the node would end the test, and calls wait for agents there are none of.
LEFT_OUT = r"/v1/events|/follow$|/v1/stop|/drain$|/v1/audit/follow"


async def test_the_daemon_answers_as_its_document_says(tmp_path: Path) -> None:
    host = Host(tmp_path, "a")
    host.agent()
    try:
        await host.start()
        address = json.loads((host.dir / "api.json").read_text())
        command = [str(SCRIPTS / "schemathesis"), "--no-color", "run", f"{address['url']}/openapi.json"]
        command += ["--header", f"Authorization: Bearer {address['token']}", "--checks", ",".join(CHECKS)]
        command += ["--exclude-path-regex", LEFT_OUT, "--max-examples", "10", "--seed", "7", "--request-timeout", "20"]
        command += ["--generation-database", "none", "--suppress-health-check", "all"]
        said = await told(["env", "-C", str(tmp_path), *command])
        assert said.code == 0, said.out + said.err
        assert " generated" in said.out
        assert unserved(await host.metrics()) == []
        assert host.complaints() == []
    finally:
        await host.close()
