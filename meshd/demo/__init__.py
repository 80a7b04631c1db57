"""What `meshctl demo` works on: an audit of the Python that is installed here, shared out over a mesh.

    environment_audit (python agent)  lists the pieces, submits one task for each
      └─ consolidation  adds the answers up into one report
    package_audit (stdio agent)       audits one piece: a program of its own that speaks the pipe
      ├─ pieces    what there is: distributions and the standard library, and the files of each
      ├─ records   files against the hashes that their distribution recorded
      ├─ licences  which licence a text is, and whether it is the one that was declared
      └─ syntax    imports, dangerous calls and complexity of one source file

Nothing here knows the daemon: only `meshd.sdk` and the standard library are imported.
"""
