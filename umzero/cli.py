"""The `umzero` command."""


def main() -> None:
    """Run the command line."""
