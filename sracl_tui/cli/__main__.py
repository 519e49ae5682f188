"""`python -P -m sracl_tui.cli`: how a child process starts the command."""

from sracl_tui.cli.main import main

if __name__ == "__main__":
    main()
