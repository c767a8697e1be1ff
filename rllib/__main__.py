"""``rllib`` and ``python -m rllib``."""


def main() -> None:
    """Run the command line."""
    from rllib.cli import app

    app(prog_name="rllib")


if __name__ == "__main__":
    main()
