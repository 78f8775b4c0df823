"""The command line as `python -m rnnlab`."""

from rnnlab.commands.cli import main

if __name__ == "__main__":
    main()
