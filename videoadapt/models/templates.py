"""Prompt templates for zero-shot tests: a class name goes into ``{}``.

Those of image sets and of actions follow CLIP's prompt notebook; ``imagenet`` is its full ensemble of eighty;
``diving48`` and ``ddsm``, which it does not have, are ours.
"""

from collections.abc import Sequence

from videoadapt.errors import UserError, nearest

_PHOTO = ("a photo of a {}.", "a photo of the {}.")
_ACTION = tuple(
    f"{picture} {deed}."
    for picture in ("a photo of", "a video of", "a example of", "a demonstration of")
    for deed in (
        "{}",
        "a person {}",
        "a person using {}",
        "a person doing {}",
        "a person during {}",
        "a person performing {}",
        "a person practicing {}",
    )
)
_CIFAR = (
    *_PHOTO,
    "a blurry photo of a {}.",
    "a low contrast photo of a {}.",
    "a good photo of a {}.",
    "a photo of a small {}.",
    "a photo of a big {}.",
)
_SATELLITE = ("a centered satellite photo of {}.", "a centered satellite photo of a {}.")
_NUMBER = ('a photo of the number: "{}".',)
TEMPLATES: dict[str, tuple[str, ...]] = {
    "photo": _PHOTO[:1],
    "action": _ACTION,
    "k400": _ACTION,
    "hmdb51": _ACTION,
    "ssv2": _ACTION,
    "diving48": ("a video of a diver performing {}.", "a photo of a person diving: {}."),
    "cifar10": _CIFAR,
    "cifar100": _CIFAR,
    "food101": ("a photo of {}, a type of food.",),
    "aircraft": ("a photo of a {}, a type of aircraft.", "a photo of the {}, a type of aircraft."),
    "pets": ("a photo of a {}, a type of pet.",),
    "flowers102": ("a photo of a {}, a type of flower.",),
    "cars": (*_PHOTO, "a photo of my {}.", "i love my {}!", "a photo of my dirty {}.", "a photo of my clean {}."),
    "dtd": tuple(f"a photo of {word} {{}} {what}." for word in ("a", "the") for what in ("texture", "pattern")),
    "mnist": _NUMBER,
    "svhn": _NUMBER,
    "sun397": _PHOTO,
    "caltech101": _PHOTO,
    "eurosat": _SATELLITE,
    "resisc45": _SATELLITE,
    "ddsm": ("a mammogram showing {}.", "an x-ray image showing {}."),
}


def templates(wanted: str | Sequence[str]) -> list[str]:
    """The templates of a name, or those given, each of which must have a place for the class name."""
    if wanted == "imagenet":
        import open_clip  # slow to import

        return [template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
    if isinstance(wanted, str):
        if wanted not in TEMPLATES:
            raise UserError(f"model.zero_shot: no templates '{wanted}'; {nearest(wanted, [*TEMPLATES, 'imagenet'])}")
        return list(TEMPLATES[wanted])
    if bad := next((text for text in wanted if text.count("{}") != 1), None if wanted else ""):
        raise UserError(f"model.zero_shot: template '{bad}' needs one {{}} for the class name")
    return list(wanted)
