"""Check a proven result in exact arithmetic: ``python scripts/check_proof.py FILE`` (as `arml.proofs.__main__`)."""

import sys

from arml.proofs.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
