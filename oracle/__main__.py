"""``python -m oracle``: the same as the command ``oracle``."""

from oracle.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
