"""Starts the command line: ``melcli``, or ``python -m melcli``."""

from melcli.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
