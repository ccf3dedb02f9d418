"""Text that others wrote, made safe for a log or a terminal."""


def one_line(text: str) -> str:
    """Replace what could steer a terminal or begin a new line: escapes, control characters, line ends."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
