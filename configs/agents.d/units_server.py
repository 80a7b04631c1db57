#!/usr/bin/env python3
"""An example of an MCP server: needs nothing but the standard library; most are written with a package for it.

One JSON-RPC message a line, as the Model Context Protocol has it: initialize, tools/list, tools/call.
"""

import json
import sys

METRES = {"m": 1.0, "km": 1_000.0, "mi": 1_609.344, "ft": 0.3048}
UNIT = {"enum": sorted(METRES)}
CONVERT = {
    "name": "convert",
    "description": "Convert a length from one unit to another.",
    "inputSchema": {
        "type": "object",
        "properties": {"value": {"type": "number"}, "from": UNIT, "to": UNIT},
        "required": ["value", "from", "to"],
    },
    "outputSchema": {"type": "object", "properties": {"value": {"type": "number"}}, "required": ["value"]},
}


def answer(method, params):
    """The result of one request, or None for a method that is not known."""
    if method == "initialize":
        about = {"name": "units", "version": "1"}
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": about}
    if method == "tools/list":
        return {"tools": [CONVERT]}
    if method == "tools/call":
        given = params["arguments"]
        value = given["value"] * METRES[given["from"]] / METRES[given["to"]]
        return {"content": [{"type": "text", "text": str(value)}], "structuredContent": {"value": value}}
    return None


for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue  # a notification wants no answer
    result = answer(message["method"], message.get("params"))
    unknown = {"code": -32601, "message": "no such method"}
    reply = {"jsonrpc": "2.0", "id": message["id"], **({"error": unknown} if result is None else {"result": result})}
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()
