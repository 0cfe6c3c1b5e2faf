"""Prompt templates for zero-shot tests: a class name goes into ``{}``.

Those of the data sets are CLIP's own (its prompt notebook); ``imagenet`` is its full ensemble of eighty.
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
TEMPLATES: dict[str, tuple[str, ...]] = {
    "photo": _PHOTO[:1],
    "action": _ACTION,  # of Kinetics, HMDB51, Something-Something and their like
    "diving": ("a video of a diver performing {}.", "a photo of a person diving: {}."),
    "cifar": (
        *_PHOTO,
        "a blurry photo of a {}.",
        "a low contrast photo of a {}.",
        "a good photo of a {}.",
        "a photo of a small {}.",
        "a photo of a big {}.",
    ),
    "food": ("a photo of {}, a type of food.",),
    "aircraft": ("a photo of a {}, a type of aircraft.", "a photo of the {}, a type of aircraft."),
    "pets": ("a photo of a {}, a type of pet.",),
    "flowers": ("a photo of a {}, a type of flower.",),
    "cars": (*_PHOTO, "a photo of my {}.", "i love my {}!", "a photo of my dirty {}.", "a photo of my clean {}."),
    "texture": (
        "a photo of a {} texture.",
        "a photo of a {} pattern.",
        "a photo of a {} thing.",
        "a photo of a {} object.",
    ),
    "digit": ('a photo of the number: "{}".',),
    "scene": _PHOTO,
    "satellite": ("a centered satellite photo of {}.", "a centered satellite photo of a {}."),
    "medical": ("this is a photo of {}", "an x-ray image showing {}."),
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
