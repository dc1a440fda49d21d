"""``python -m training``."""

from training.cli.cli import main

if __name__ == "__main__":
    main()
