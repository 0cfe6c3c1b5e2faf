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
_CIFAR = tuple(
    f"a photo of {article} {{}}." if word == "" else f"a {word} photo of {article} {{}}."
    for article in ("a", "the")
    for word in ("", "blurry", "black and white", "low contrast", "high contrast", "bad", "good")
) + tuple(f"a photo of {article} {size} {{}}." for article in ("a", "the") for size in ("small", "big"))
_CALTECH = tuple(
    text.replace("_", article) + "."
    for article in ("a", "the")
    for text in (
        "a photo of _ {}",
        "a painting of _ {}",
        "_ plastic {}",
        "a sculpture of _ {}",
        "a sketch of _ {}",
        "a tattoo of _ {}",
        "_ toy {}",
        "a rendition of _ {}",
        "_ embroidered {}",
        "_ cartoon {}",
        "_ {} in a video game",
        "_ plushie {}",
        "_ origami {}",
        "art of _ {}",
        "graffiti of _ {}",
        "a drawing of _ {}",
        "a doodle of _ {}",
    )
)
_CAR = ("a photo of a {}.", "a photo of the {}.", "a photo of my {}.", "i love my {}!")
_SATELLITE = tuple(f"a centered satellite photo of {article}{{}}." for article in ("", "a ", "the "))
_AERIAL = tuple(
    f"{picture} of {article}{{}}."
    for article in ("", "a ", "the ")
    for picture in (
        "satellite imagery",
        "aerial imagery",
        "satellite photo",
        "aerial photo",
        "satellite view",
        "aerial view",
    )
)
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
    "cars": _CAR + tuple(f"a photo of my {word} {{}}." for word in ("dirty", "clean", "new", "old")),
    "dtd": tuple(
        f"a photo of {article} {{}} {what}."
        for article in ("a", "the")
        for what in ("texture", "pattern", "thing", "object")
    ),
    "mnist": _NUMBER,
    "svhn": _NUMBER,
    "sun397": _PHOTO,
    "caltech101": _CALTECH,
    "eurosat": _SATELLITE,
    "resisc45": _AERIAL,
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
