"""``python -m arml warmup``: compile everything that is compiled, once for this version of the code."""

from __future__ import annotations

import argparse


def main() -> None:
    """Carry out the command that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m arml", description="Provably robust metric learning.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("warmup", help="compile everything that is compiled, once for this version of the code")
    parser.parse_args()
    # Imported late: it loads torch, which a wrong command need not wait for.
    from arml.warmup import warm_up

    seconds = warm_up()
    print(f"arml: compiled in {seconds:.0f} s" if seconds else "arml: everything was compiled already")


if __name__ == "__main__":
    main()
