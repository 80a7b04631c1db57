"""`meshctl sim`: the mesh in a virtual world, without a daemon.

Invariant: the same words and exit codes as `python -m simulations`, which this hands over to.
"""

import click


@click.command("sim", add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def sim(words: tuple[str, ...]) -> int:
    """Run scenarios: list, show NAME, run [NAME], sweep NAME, replay TRACE,
    explain TRACE EVENT, diff A B, shrink TRACE.

    Exit codes: 0 passed, 1 a rule was broken, 2 bad scenario, 50 not deterministic, 51 something never seen.
    """
    from simulations.command import main

    try:
        return main(words, program="meshctl sim")
    except SystemExit as ended:  # how its parser says that it only printed help
        return ended.code if isinstance(ended.code, int) else 0
