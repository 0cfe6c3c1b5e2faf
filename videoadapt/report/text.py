"""Names in pictures."""


def plain(text: str) -> str:
    """For matplotlib, which takes what stands between dollars for a formula."""
    return text.replace("$", r"\$")
