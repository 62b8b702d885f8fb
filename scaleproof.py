"""Find it small, prove it large: the public face and the command line of scaleproof."""


def main() -> None:
    """Run the command line."""
