"""The commands `meshd` and `meshctl`.

    meshctl ─▶ (one file a noun) ─▶ session ─▶ client ─▶ the daemon's API
                                       └─▶ output, exits

`meshctl` reads nothing of a noun before it is asked for, and imports neither NATS nor the HTTP
library: it starts in the time of the interpreter. `session` holds the options every command takes;
`daemon` is the other command, `meshd`, and the only part that runs a node.
"""
